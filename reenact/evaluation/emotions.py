"""The emotions protocol: every portrait shows each emotion at half and at full intensity.

A portrait is a still or the first frame of a clip. It is driven by `Drive.emotion`, action units
and landmarks at once, as by the keys of `reenact live`. A classifier that has not seen the person
(`recognition`) reads the emotion from the output. The baseline `copy`, which shows no emotion,
gives the noise level of that reading.

`recognised` and `recognised_half` are the share of the seven emotions that are recognised as
requested, at full and at half intensity. `identity` and `identity_half` are distances to the
person: to other frames of a clip (so `copy` is not at 0), or to the still itself (so it is).
`identity_neutral`, `identity_subtle` and `identity_moderate` are the same at the levels of Wang
2025, Tables II and III; the last level there, intense, is `identity`. `acd` is MoCoGAN's average
content distance: the mean identity distance of all pairs of pictures in a run from neutral to the
full emotion. `acd_i` is the mean distance of these pictures to the still (Otberdout 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import numpy as np

from reenact.errors import SourceError
from reenact.evaluation.clips import CLIP_FPS, check_clip, crop_target, read_clip, read_landmarks
from reenact.evaluation.contact_sheet import SheetRow
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.metrics import (
    Figures,
    average_content_distance,
    content_distance_to,
    mean_of,
)
from reenact.evaluation.perceptual import PerceptualMetrics
from reenact.evaluation.recognition import shipped_recogniser
from reenact.expression.emotions import EMOTIONS, LEVELS, acted_deviations, acted_units
from reenact.face.geometry import (
    crop_transform,
    estimate_pose,
    square_to_crop,
    to_face_frame,
    transform_points,
)
from reenact.face.topology import N_LANDMARKS
from reenact.imaging import crop_image, resized_square
from reenact.live.drives import still_expression
from reenact.progress import progress_bar
from reenact.sinks.video_file import write_video
from reenact.sources.image_file import read_image
from reenact.storage import atomic_write
from reenact.targets.clip_files import clips_in, load_landmarks, person_of
from reenact.types import Array, Drive, Image, Renderer, Target

PROTOCOL: Final = "emotions"

INTENSITIES: Final = (0.5, 1.0)

_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp")
_CRF: Final = 12
"""Encoder quality (CRF) of labelled clips: high, so that nothing is blurred."""

_OTHER_FRAMES: Final = 5
"""Frames of a clip from which the identity is computed."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A face that is to show emotions.

    Attributes:
        target: one-shot target at the renderer's size.
        rest: (478, 3) its shape as read by the reader, face frame, iod; None if none is found.
        descriptor: its identity; None without a face or the optional dependency.
        person: identity from other frames of the clip; for a still, from the still.
    """

    target: Target
    rest: Array | None
    descriptor: Array | None
    person: Array | None


def find_portraits(folder: Path, limit: int | None = None, pattern: str = "*") -> list[Path]:
    """Return the matching clips and pictures that have landmarks beside them, sorted by name.

    Raises:
        SourceError: there are none, or one or its landmarks are damaged.
    """
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}.")
    pictures = [one for one in folder.iterdir() if one.suffix.lower() in _PICTURES]
    found = clips_in(folder) + pictures
    named = [one for one in found if fnmatch(one.stem, pattern)]
    chosen = sorted(one for one in named if one.with_suffix(".npz").is_file())[:limit]
    if not chosen:
        raise SourceError(f"{folder} has no clip or picture with its landmarks, NAME.npz.")
    for one in chosen:
        if one.suffix == ".mp4":
            check_clip(one)
        else:
            _landmarks(one)
            _picture(one)
    return chosen


def _landmarks(path: Path) -> Array:
    """Return the landmarks of a picture, (478, 3) px, or of a clip's first frame with a face."""
    if path.suffix == ".mp4":
        of_clip, usable = read_landmarks(path)
        return np.asarray(of_clip[usable[0]])
    landmarks = load_landmarks(path.with_suffix(".npz"))
    if landmarks.shape != (N_LANDMARKS, 3) or not np.isfinite(landmarks).all():
        raise SourceError(f"{path.stem}.npz does not hold the (478, 3) landmarks of a picture.")
    return landmarks


def _picture(path: Path) -> Image:
    picture = read_image(path)
    if picture.shape[0] != picture.shape[1]:
        raise SourceError(f"{path.name} is not a square crop of a face.")
    return picture


def read_portrait(path: Path, size_px: int, reader: FaceReader) -> Portrait:
    """Make a portrait of a clip's first frame, or of a square picture.

    Raises:
        SourceError: a file is damaged, or a picture is not square.
    """
    others: list[tuple[Image, Array]] = []
    points = _landmarks(path)
    if path.suffix == ".mp4":
        clip = read_clip(path)
        frames = clip.usable[np.linspace(0, len(clip.usable) - 1, _OTHER_FRAMES + 1).astype(int)]
        picture = clip.images[frames[0]]
        others = [(clip.images[one], clip.landmarks[one]) for one in frames[1:]]
    else:
        picture = _picture(path)
    to_size = square_to_crop((0, 0, picture.shape[0]), size_px)
    points = reader.refine(picture, np.ascontiguousarray(points, np.float32))
    points = transform_points(points, to_size)
    target = crop_target(path.stem, resized_square(picture, size_px), points, "")
    seen = reader.track(target.references[0])
    descriptor = None if seen is None else reader.describe(target.references[0], seen)
    person = reader.person(others) if others else descriptor
    rest = None if seen is None else to_face_frame(seen, estimate_pose(seen))
    return Portrait(target, rest, descriptor, None if descriptor is None else person)


def photo_target(path: Path, size_px: int, renderer: str, reader: FaceReader) -> Target:
    """Make the target of a photo. Raises SourceError if it shows no face."""
    photo = read_image(path)
    points = reader.track(photo)
    if points is None:
        raise SourceError(f"{path} shows no face.")
    points = reader.refine(photo, points)
    affine = crop_transform(points, size_px)
    crop = crop_image(photo, affine, size_px)
    return crop_target(path.stem, crop, transform_points(points, affine), renderer)


def emotion_drive(target: Target, emotion: str, intensity: float) -> Drive:
    """Return the drive of a target at rest that shows one emotion."""
    number = EMOTIONS.index(emotion)
    pose = estimate_pose(target.neutral)
    deviation = acted_deviations()[number]
    moved = (np.float32(intensity) * deviation) @ pose.rotation.T * np.float32(pose.scale)
    units = acted_units()[number]
    return Drive(
        landmarks=target.neutral + moved,
        expression=replace(still_expression(), deviation=deviation, action_units=units),
        emotion=np.eye(len(EMOTIONS), dtype=np.float32)[number],
        intensity=intensity,
    )


def run(
    renderers: Mapping[str, Renderer],
    portraits: Sequence[Path],
    size_px: int,
    reader: FaceReader,
    perceptual: PerceptualMetrics,
    *,
    labelled: Path | None = None,
) -> tuple[dict[str, dict[str, Figures]], list[SheetRow]]:
    """Measure every renderer on every portrait.

    Args:
        renderers: renderers by name.
        portraits: clips and pictures, see `find_portraits`.
        size_px: side at which they are drawn.
        reader: reads the faces.
        perceptual: receives each still and its seven emotions, for FID and Inception Score.
        labelled: folder that receives a labelled clip for each still and renderer.

    Returns:
        The figures by renderer and portrait, and the rows of the contact sheet.
    """
    figures: dict[str, dict[str, Figures]] = {name: {} for name in renderers}
    rows = []
    for path in progress_bar(portraits, desc="faces", unit="face"):
        portrait = read_portrait(path, size_px, reader)
        still = portrait.target.references[0]
        for name, renderer in renderers.items():
            renderer.prepare(replace(portrait.target, renderer=name))
            drawn: dict[tuple[str, float], Image] = {}
            for emotion in EMOTIONS:
                for intensity in INTENSITIES:
                    renderer.reset()
                    drive = emotion_drive(portrait.target, emotion, intensity)
                    drawn[emotion, intensity] = renderer.render(drive)
            shown = [drawn[emotion, 1.0] for emotion in EMOTIONS]
            if labelled is not None:
                _write_labelled(labelled / f"{path.stem}__{name}.mp4", shown, reader)
            own = perceptual.compare(name, [still] * (len(shown) - 1), shown[1:])
            levels = identity_by_level(portrait, renderer, reader)
            figures[name][path.stem] = _figures(portrait, drawn, reader) | levels | own
            rows.append(SheetRow(f"{path.stem}, {name}", [still, *shown]))
    return figures, rows


def identity_by_level(portrait: Portrait, renderer: Renderer, reader: FaceReader) -> Figures:
    """Return the identity distance at each level of intensity except the last, as `identity_…`.

    The renderer is prepared with the portrait's target. The figures are None without the optional
    dependency.
    """
    figures: Figures = {}
    for level, intensity in list(LEVELS.items())[:-1]:
        found = []
        for emotion in EMOTIONS[1:] if portrait.person is not None else ():
            renderer.reset()
            picture = renderer.render(emotion_drive(portrait.target, emotion, intensity))
            points = reader.track(picture)
            if points is not None:
                distance = reader.identity(portrait.person, picture, points)
                found += [] if distance is None else [distance]
        figures[f"identity_{level}"] = mean_of(found)
    return figures


def _write_labelled(path: Path, shown: Sequence[Image], reader: FaceReader) -> None:
    """Write pictures of all emotions as a clip with landmarks and labels for training."""
    points = [reader.track(one) for one in shown]
    nowhere = np.full((478, 3), np.nan, np.float32)
    landmarks = np.stack([nowhere if one is None else one for one in points])
    with atomic_write(path.with_suffix(".npz")) as partial, partial.open("wb") as file:
        labels = np.arange(len(EMOTIONS), dtype=np.int8)
        np.savez_compressed(file, landmarks=landmarks.astype(np.float16), emotions=labels)
    write_video(path, shown, CLIP_FPS, _CRF)


def sheet_columns() -> list[str]:
    """Return the column headings of the contact sheet."""
    return ["still", *EMOTIONS]


def _figures(
    portrait: Portrait, drawn: dict[tuple[str, float], Image], reader: FaceReader
) -> Figures:
    told: dict[float, list[float]] = {one: [] for one in INTENSITIES}
    distances: dict[float, list[float]] = {one: [] for one in INTENSITIES}
    found, steps, from_still = [], [], []
    recogniser = shipped_recogniser(person_of(portrait.target.name))
    for emotion in EMOTIONS[1:]:
        run_of = [portrait.descriptor]
        for intensity in INTENSITIES:
            picture = drawn[emotion, intensity]
            points = reader.track(picture)
            found.append(float(points is not None))
            right = False
            if points is not None and portrait.rest is not None:
                deviation = own_shape(points, portrait.rest) - portrait.rest
                right = recogniser.emotion(deviation) == emotion
            told[intensity].append(float(right))
            if points is not None:
                distance = reader.identity(portrait.person, picture, points)
                distances[intensity] += [] if distance is None else [distance]
                run_of.append(reader.describe(picture, points))
        known = [one for one in run_of if one is not None]
        if len(known) == len(INTENSITIES) + 1:
            steps.append(average_content_distance(known))
            from_still.append(content_distance_to(known[0], known[1:]))
    return {
        "recognised": mean_of(told[1.0]),
        "recognised_half": mean_of(told[0.5]),
        "identity": mean_of(distances[1.0]),
        "identity_half": mean_of(distances[0.5]),
        "acd": mean_of(steps),
        "acd_i": mean_of(from_still),
        "tracked": mean_of(found),
    }
