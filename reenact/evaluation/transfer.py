"""The transfer protocol: A's expression on B, compared with B's own picture of it (Fan 2023, §V).

Each person is drawn from a neutral picture with each emotion that they show. The landmarks are what
Φ (eq. 1) fuses from other people who show the same emotion. In a labelled data set every labelled
picture is a ground truth. In clips without labels, action units replace the labels
(`recognition.clear_labels`): the ground truth is the frame with the strongest emotion, and the
source frame is the one with the nearest action units. The head pose is that of the ground truth,
because the paper's pictures are all frontal.

The contact sheet follows Fig. 3 and 4: sources in the first row, targets in the first column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SourceError
from reenact.evaluation.clips import Clip, crop_target, read_clip, resized
from reenact.evaluation.contact_sheet import SheetRow
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, landmark_distance, mean_of
from reenact.evaluation.recognition import ClipExpressions, clear_labels, read_expressions
from reenact.evaluation.self_reenactment import PreparedClip, compare_pictures, tracked_figures
from reenact.expression.emotions import EMOTIONS
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, square_to_crop, to_image, transform_points
from reenact.imaging import resized_square
from reenact.models.fusion_network import FusionNetwork, shipped_network
from reenact.progress import progress_bar
from reenact.targets.clip_files import person_of
from reenact.types import Array, Drive, Expression, Image, Renderer

PROTOCOL: Final = "transfer"

SOURCES: Final = 3
"""Maximum number of people who drive one ground truth."""

GRID: Final = 8
"""Maximum number of sources and of targets on the sheet."""


@dataclass(frozen=True, slots=True)
class _Person:
    """A clip or a set of pictures, with the expressions in its frames."""

    clip: Clip
    does: ClipExpressions
    labels: NDArray[np.intp]

    @property
    def identity(self) -> str:
        return person_of(self.clip.name)

    def rows(self, emotion: int) -> list[int]:
        """Return the rows of `does` that are ground truths of an emotion."""
        found = np.flatnonzero(self.labels == emotion)
        if self.does.labelled or not len(found):
            return [int(row) for row in found]
        return [int(found[self.does.weights[found, emotion].argmax()])]

    def neutral(self) -> int:
        """Return the row of the neutral picture: the labelled one, or the nearest to the rest."""
        calm = np.flatnonzero(self.labels == 0)
        rows = calm if len(calm) else np.arange(len(self.does.frames))
        return int(rows[np.abs(self.does.deviations[rows]).mean(axis=(1, 2)).argmin()])

    def picture(self, row: int) -> Image:
        return np.asarray(self.clip.images[self.does.frames[row]])


def fused_drive(
    fusion: FusionNetwork,
    rest: Array,
    deviation: Array,
    target: ClipExpressions,
    row: int,
    *,
    emotion: int = 0,
) -> Drive:
    """Return the drive of a target: J = L_t + Φ(L_s, L_t) of Fan 2023, eq. 1.

    Args:
        fusion: Φ.
        rest: (478, 3) resting shape of the source, face frame, iod.
        deviation: (478, 3) deviation of the source from it, iod.
        target: the target's frames.
        row: row of the frame whose head pose is used.
        emotion: emotion of the source, an index into `EMOTIONS`.
    """
    moved = fusion.deviation(rest, deviation, target.rest)
    pose = estimate_pose(target.points[row], target.rest)
    return Drive(
        landmarks=to_image(target.rest + moved, pose),
        expression=Expression(moved, pose, action_units(target.rest + moved, target.rest)),
        emotion=np.eye(len(EMOTIONS), dtype=np.float32)[emotion],
        intensity=1.0,
    )


def run(
    renderers: Mapping[str, Renderer],
    videos: Sequence[Path],
    reader: FaceReader,
    *,
    size_px: int | None = None,
) -> tuple[dict[str, dict[str, Figures]], list[str], list[SheetRow]]:
    """Measure every renderer on every pair of people with a common emotion.

    Args:
        renderers: renderers by name.
        videos: clips with landmarks.
        reader: reads the faces.
        size_px: side at which pictures are drawn and compared; None: the clips' own.

    Returns:
        The figures by renderer and target, the headings and the rows of the sheet.

    Raises:
        SourceError: no two people show the same emotion.
    """
    fusion = shipped_network()
    people = [one for one in (_read(video, size_px) for video in videos) if one is not None]
    figures: dict[str, dict[str, Figures]] = {name: {} for name in renderers}
    for number, person in enumerate(progress_bar(people, desc="faces")):
        drives = _drives(person, people, fusion, number)
        if not drives:
            continue
        prepared = _prepared(person, [row for row, _ in drives], reader)
        fused = [
            landmark_distance(drive.landmarks, person.does.points[row]) for row, drive in drives
        ]
        for name, renderer in renderers.items():
            drawn = _draw(person, name, renderer, [drive for _, drive in drives])
            figures[name][person.clip.name] = {
                **compare_pictures(prepared, drawn),
                **tracked_figures(prepared, drawn, reader),
                "fused_px": mean_of(fused),
            }
    if not any(figures.values()):
        raise SourceError("No two people in these clips show the same emotion clearly.")
    return figures, *_grid(renderers, people, fusion)


def _read(video: Path, size_px: int | None) -> _Person | None:
    does = read_expressions(video.with_suffix(".npz"))
    if does is None:
        return None
    clip = read_clip(video)
    labels = clear_labels(does.weights)
    if size_px is None or size_px == clip.images.shape[1]:
        return _Person(clip, does, labels)
    to_size = square_to_crop((0, 0, clip.images.shape[1]), size_px)
    placed = replace(does, points=transform_points(does.points, to_size))
    return _Person(resized(clip, size_px), placed, labels)


def _drives(
    person: _Person, people: Sequence[_Person], fusion: FusionNetwork, number: int
) -> list[tuple[int, Drive]]:
    """Return the rows of a person's ground truths, each with a drive by another person."""
    found = []
    for emotion in range(1, len(EMOTIONS)):
        acting = [one for one in people if one.identity != person.identity and one.rows(emotion)]
        chosen = [acting[(number + k) % len(acting)] for k in range(min(SOURCES, len(acting)))]
        for row in person.rows(emotion):
            for source in chosen:
                rows = source.rows(emotion)
                if not source.does.labelled:
                    rows = np.flatnonzero(source.labels == emotion).tolist()
                apart = np.abs(source.does.units[rows] - person.does.units[row]).sum(axis=1)
                acts = rows[int(apart.argmin())]
                acted = source.does.rest, source.does.deviations[acts]
                found.append((row, fused_drive(fusion, *acted, person.does, row, emotion=emotion)))
    return found


def _prepared(person: _Person, rows: Sequence[int], reader: FaceReader) -> PreparedClip:
    """Return the ground truths, one for each drawn picture, in the form of self-reenactment."""
    frames = [int(person.does.frames[row]) for row in rows]
    track = cache(lambda frame: reader.track(person.clip.images[frame]))
    neutral = person.neutral()
    return PreparedClip(
        clip=person.clip,
        reference=int(person.does.frames[neutral]),
        scored=tuple(frames),
        run=(),
        neutral=person.does.rest,
        tracked=tuple(track(frame) for frame in frames),
        descriptor=reader.describe(person.picture(neutral), person.does.points[neutral]),
    )


def _draw(person: _Person, name: str, renderer: Renderer, drives: Sequence[Drive]) -> list[Image]:
    neutral = person.neutral()
    points = person.does.points[neutral]
    renderer.prepare(crop_target(person.clip.name, person.picture(neutral), points, name))
    pictures = []
    for drive in drives:
        renderer.reset()
        pictures.append(resized_square(renderer.render(drive), person.clip.images.shape[1]))
    return pictures


def _grid(
    renderers: Mapping[str, Renderer], people: Sequence[_Person], fusion: FusionNetwork
) -> tuple[list[str], list[SheetRow]]:
    """Draw each target, in the pose of its neutral picture, with each source's expression."""
    sources: list[tuple[_Person, int, int]] = []
    for emotion in range(1, len(EMOTIONS)):
        acting = [(one, row) for one in people for row in one.rows(emotion)]
        fresh = [one for one in acting if one[0] not in [source for source, *_ in sources]]
        if acting:
            best = max(fresh or acting, key=lambda one: float(one[0].does.weights[one[1], emotion]))
            sources.append((*best, emotion))
    sources = sources[:GRID]
    side = people[0].clip.images.shape[1]
    blank = np.full((side, side, 3), 24, np.uint8)
    first = [resized_square(one.picture(row), side) for one, row, _ in sources]
    rows = [SheetRow("sources", [blank, *first])]
    targets = {one.identity: one for one in reversed(people)}
    for target in sorted(targets.values(), key=lambda one: one.clip.name)[:GRID]:
        neutral = target.neutral()
        drives = [
            fused_drive(
                fusion,
                one.does.rest,
                one.does.deviations[row],
                target.does,
                neutral,
                emotion=emotion,
            )
            for one, row, emotion in sources
        ]
        for name, renderer in renderers.items():
            drawn = _draw(target, name, renderer, drives)
            label = f"{target.clip.name}, {name}"
            rows.append(SheetRow(label, [target.picture(neutral), *drawn]))
    columns = ["target", *(f"{EMOTIONS[e]}: {one.identity}" for one, _, e in sources)]
    return columns, rows
