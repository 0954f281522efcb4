"""Aligned faces of clips with expression labels.

Frames in which the head is nearly frontal are aligned the way the live path aligns a target
(`rendering.aligned_face`) and kept in memory as small pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from reenact.errors import ReenactError
from reenact.evaluation.recognition import ClipExpressions, read_expressions
from reenact.expression.emotions import emotion_intensity
from reenact.face.geometry import transform_points
from reenact.face.topology import ACTION_UNITS
from reenact.imaging import crop_image
from reenact.rendering.aligned_face import to_frame
from reenact.targets.clip_files import clips_in, decode_clip, person_of
from reenact.training.faces.acted import act
from reenact.training.people import PeopleData, recipe_settings
from reenact.types import Array

_SMILES: Final = [ACTION_UNITS.index(name) for name in ("smile_right", "smile_left")]


@recipe_settings
class FaceData(PeopleData):
    """The data of a recipe; see `people.PeopleData` for the people.

    Attributes:
        size_px: S, side of the aligned faces.
        batch_size: faces per step of a network.
        frames: maximum number of frames of each clip; half of them evenly spread, half those with
            the strongest expression.
        max_angle: maximum rotation of the head, degrees.
        acted_frames: frames of each training clip that are also drawn with all emotions
            (`faces.acted`; ours).
    """

    size_px: PositiveInt = 128
    batch_size: PositiveInt = 16
    frames: PositiveInt = 60
    max_angle: PositiveFloat = 25.0
    acted_frames: NonNegativeInt = 0


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """The chosen frames of one clip.

    Attributes:
        identity: the person.
        pictures: uint8 (F, S, S, 3) RGB.
        turns: (F, 3) rotation vectors of the heads, degrees.
        units, emotions, intensity: labels, see `training.labels`.
        sources: number of frames, from the first, that may be the source of a pair; None: all.
        points: (F, 478, 3) px of the pictures; None: unknown.
    """

    identity: str
    pictures: NDArray[np.uint8]
    turns: Array
    units: Array
    emotions: Array
    intensity: Array
    sources: int | None = None
    points: Array | None = None


def lifts_right(units: Array) -> bool:
    """Return True if the person's right corner of the mouth is lifted more than the left one."""
    right, left = units[_SMILES]
    return bool(right > left)


def load_labelled(folder: Path, data: FaceData) -> list[LabelledClip]:
    """Read the clips of a folder. Raises ReenactError if there are none, or one is damaged."""
    clips = []
    for video, found, kept in _in_front(folder, data):
        level = emotion_intensity(found.units)
        spread = kept[np.linspace(0, len(kept) - 1, data.frames // 2 + 1).astype(int)[:-1]]
        strong = kept[np.argsort(-level[kept])[: data.frames // 2 + 1]]
        chosen = np.unique(np.concatenate([spread, strong]))
        images, size = decode_clip(video), data.size_px
        affines = [to_frame(found.points[row], size) for row in chosen.tolist()]
        pictures = [
            crop_image(images[found.frames[row]], affine, size)
            for row, affine in zip(chosen.tolist(), affines, strict=True)
        ]
        points = map(transform_points, found.points[chosen], affines)
        clips.append(
            LabelledClip(
                person_of(video.stem),
                np.stack(pictures),
                found.turns[chosen],
                found.units[chosen],
                found.weights[chosen],
                level[chosen],
                points=np.stack(list(points)),
            )
        )
    if not clips:
        raise ReenactError(f"{folder} has no clips (NAME.mp4 with NAME.npz) of frontal faces.")
    return clips


def load_acted(folder: Path, data: FaceData, people: Collection[str]) -> list[LabelledClip]:
    """Draw frames of these people's clips with all emotions; each frame becomes a clip of its own.

    Half of the frames are evenly spread, half have the weakest expression. Raises ReenactError if
    a clip is damaged.
    """
    clips: list[LabelledClip] = []
    for video, found, kept in _in_front(folder, data):
        identity = person_of(video.stem)
        if identity not in people:
            continue
        calm = kept[np.argsort(emotion_intensity(found.units[kept]), kind="stable")]
        spread = kept[np.linspace(0, len(kept) - 1, data.acted_frames // 2 + 1).astype(int)[:-1]]
        chosen = np.unique(np.concatenate([spread, calm[: (data.acted_frames + 1) // 2]]))
        images, rng = decode_clip(video), np.random.default_rng(len(clips))
        for row in chosen.tolist():
            acted = act(images, found, row, data.size_px, rng)
            turns = np.repeat(found.turns[row][None], len(acted.pictures), axis=0)
            clips.append(
                LabelledClip(
                    identity,
                    acted.pictures,
                    turns,
                    acted.units,
                    acted.emotions,
                    acted.intensity,
                    sources=1,
                    points=acted.points,
                )
            )
    return clips


def _in_front(
    folder: Path, data: FaceData
) -> Iterator[tuple[Path, ClipExpressions, NDArray[np.intp]]]:
    """Yield each clip, its expressions, and the rows with a nearly frontal head."""
    for video in clips_in(folder):
        found = read_expressions(video.with_suffix(".npz"))
        if found is not None:
            kept = np.flatnonzero(np.abs(found.turns).max(axis=1) < data.max_angle)
            if len(kept):
                yield video, found, kept
