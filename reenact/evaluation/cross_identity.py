"""The cross-identity protocol: one clip's actor drives another clip's face through the live path.

For each ordered pair of identities the actor's frames go through a `Reenactor` whose target is the
first frame of the other clip. The forward pass lets the program find the actor's neutral; the
backward pass is measured. Then the actor stands still before a noisy camera, which should leave the
target still. Last, each expression of `single_expressions` is driven alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.evaluation import metrics
from reenact.evaluation.clips import CLIP_FPS, Clip, first_frame_target, read_clip
from reenact.evaluation.contact_sheet import SheetRow
from reenact.evaluation.face_reader import FaceReader, median_shape, own_shape, units_of
from reenact.evaluation.metrics import Figures, mean_of
from reenact.evaluation.single_expressions import (
    SINGLE_EXPRESSIONS,
    TURNS,
    measure_single_expressions,
)
from reenact.expression.target_face import TargetFace
from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame, to_image
from reenact.imaging import resized_square
from reenact.live.drives import resting_drive
from reenact.live.pipeline import Reenactor
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.stats import StepTimer
from reenact.targets.clip_files import person_of
from reenact.types import Array, Drive, Frame, Image, Renderer, Target, Tracker

PROTOCOL: Final = "cross-identity"

FRAMES: Final = 100
"""Frames of the actor's clip: enough to find the neutral."""

TRACKED_EVERY: Final = 2
"""The face reader reads one output in this many."""

IDENTIFIED_EVERY: Final = 10
"""The identity is compared in one of this many outputs with a face."""

CALM_SHARE: Final = 0.1
"""Share of the measured frames that count as the actor at rest: those with the least deviation."""

STILL_FRAMES: Final = 50
"""Frames for which the actor stands still; the second half of them is measured."""

STILL_NOISE: Final = 3.0
"""Standard deviation of the camera noise in these frames, levels: a webcam's by lamplight."""


def pairs_of(videos: Sequence[Path], limit: int | None) -> list[tuple[Path, Path]]:
    """Return ordered pairs (actor, target) of the first clips of different identities.

    In any prefix of the list, everybody is actor and target equally often.
    """
    first: dict[str, Path] = {}
    for video in videos:
        first.setdefault(person_of(video.stem), video)
    people = list(first.values())
    count = len(people)
    pairs = [
        (people[i], people[(i + offset) % count])
        for offset in range(1, count)
        for i in range(count)
    ]
    return pairs[:limit]


def run(
    renderers: Mapping[str, Renderer],
    videos: Sequence[Path],
    settings: Settings,
    reader: FaceReader,
    *,
    limit: int | None,
    frames: int | None,
) -> tuple[dict[str, dict[str, Figures]], list[SheetRow]]:
    """Measure every renderer on every pair.

    Args:
        renderers: renderers by name.
        videos: the clips.
        settings: settings of the whole live path.
        reader: reads the outputs.
        limit: maximum number of pairs; None: all.
        frames: frames of each actor's clip; None: `FRAMES`.

    Returns:
        The figures by renderer and pair ("ACTOR > TARGET"), and rows for the contact sheet.

    Raises:
        SourceError: the clips show only one person.
    """
    pairs = pairs_of(videos, limit)
    if not pairs:
        raise SourceError(
            "--protocol cross needs clips of two people; the part of a clip's name before __ "
            "names the person."
        )
    settings = settings.model_copy(deep=True)
    settings.output.picture = "crop"
    settings.actor.neutral = "fresh"  # the user's stored neutral is neither read nor overwritten
    tracker: Tracker = load("trackers", settings.tracking.name).make(settings.tracking)
    figures: dict[str, dict[str, Figures]] = {name: {} for name in renderers}
    rows: list[SheetRow] = []
    try:
        for actor_video, target_video in progress_bar(pairs, desc="pairs", unit="pair"):
            actor, owner = read_clip(actor_video), reader.refine_photo(read_clip(target_video))
            pair = f"{actor.name} > {owner.name}"
            strongest: list[tuple[int, Image] | None] = []
            for name, renderer in renderers.items():
                target = first_frame_target(owner, name)
                acting, alone, peaks = _measure_pair(
                    actor,
                    target,
                    renderer,
                    tracker=tracker,
                    reader=reader,
                    settings=settings,
                    frames=frames or FRAMES,
                )
                figures[name][pair] = acting.figures | alone
                strongest.append(acting.strongest)
            rows.append(_sheet_row(pair, actor, target, strongest, peaks))
    finally:
        tracker.close()
    return figures, rows


def _measure_pair(
    actor: Clip,
    target: Target,
    renderer: Renderer,
    *,
    tracker: Tracker,
    reader: FaceReader,
    settings: Settings,
    frames: int,
) -> tuple[Acting, Figures, list[Image]]:
    """Measure one renderer on one pair: the acting, then each expression alone."""
    tracker.reset()
    reenactor = Reenactor(settings, target, tracker, renderer, StepTimer())
    acting = measure_acting(reenactor, renderer, actor, target, reader, frames=frames)
    points = np.ascontiguousarray(actor.landmarks[acting.calmest])
    size = actor.images.shape[2], actor.images.shape[1]
    return acting, *measure_single_expressions(
        target, renderer, reader, settings, points=points, size=size
    )


def sheet_columns(names: Sequence[str]) -> list[str]:
    """Return the column headings; the last renderer draws the single expressions."""
    return ["actor", "target", *names, *(f"{name} alone" for name in SINGLE_EXPRESSIONS), *TURNS]


@dataclass(frozen=True, slots=True)
class Acting:
    """The measurement of one actor's clip.

    Attributes:
        figures: figures by name.
        calmest: index of the frame in which the actor was nearest to rest.
        strongest: (actor's frame, output) with the strongest expression; None if there is none.
    """

    figures: Figures
    calmest: int
    strongest: tuple[int, Image] | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """One output with a face.

    Attributes:
        frame: index in the actor's clip.
        acted: the actor's action units, from the clip's landmarks.
        fused: the action units of the landmarks that the output was drawn from.
        read: the actor's action units, read from the actor's own picture: the upper bound for an
            output. None if the reader finds no face.
        shown: the action units read from the output.
        unrest: distance of the actor from rest, see `_unrest`.
        offset: mean distance of the output from the target at rest, iod.
        picture: the output.
    """

    frame: int
    acted: Array
    fused: Array
    read: Array | None
    shown: Array
    unrest: float
    offset: float
    picture: Image


def measure_acting(
    reenactor: Reenactor,
    renderer: Renderer,
    actor: Clip,
    target: Target,
    reader: FaceReader,
    *,
    frames: int,
) -> Acting:
    """Let a clip's actor drive the target, and measure the output.

    Args:
        reenactor: a new live path with the target.
        renderer: its renderer.
        actor: the clip.
        target: the target of the reenactor.
        reader: reads the outputs.
        frames: maximum number of frames of the clip.
    """
    target_rest = to_face_frame(target.neutral, estimate_pose(target.neutral))
    base = TargetFace(target_rest, reenactor.settings.fusion.mode).base
    rest, who = _resting(reenactor, renderer, target, reader, rest=target_rest, base=base)
    usual = median_shape(actor.landmarks[actor.usable])
    usable = set(actor.usable.tolist())

    count = min(frames, len(actor.images))
    order = [*range(count), *range(count - 1, -1, -1)]
    seen: list[_Seen] = []
    looked = 0
    identities: list[float] = []
    for number, i in enumerate(order):
        image = np.ascontiguousarray(actor.images[i])
        output = reenactor.step(Frame(image, number / CLIP_FPS, number)).image
        if number < count or number % TRACKED_EVERY or i not in usable:
            continue
        looked += 1
        points, drive = reader.track(output), reenactor.drive
        if points is None or drive is None:
            continue
        if len(seen) % IDENTIFIED_EVERY == 0:
            identity = reader.identity(who, output, points)
            identities += [] if identity is None else [identity]
        # Action units are deviations from a resting face. Use the one that the program found: the
        # median of a clip that is one long smile is a smile.
        neutral = usual if reenactor.actor_neutral is None else reenactor.actor_neutral
        own = reader.track(image)
        seen.append(
            _Seen(
                frame=i,
                acted=units_of(actor.landmarks[i], neutral),
                fused=units_of(drive.landmarks, base),
                read=None if own is None else units_of(own, neutral),
                shown=units_of(points, rest),
                unrest=_unrest(drive, target, target_rest),
                offset=float(np.linalg.norm(own_shape(points, rest) - rest, axis=1).mean()),
                picture=output,
            )
        )
    return _acting(
        seen,
        calmest=int(actor.usable[0]),
        identity=mean_of(identities),
        tracked=len(seen) / looked if looked else None,
        rest_change=_change_at_rest(reenactor, actor.images[order[-1]], len(order)),
    )


def _resting(
    reenactor: Reenactor,
    renderer: Renderer,
    target: Target,
    reader: FaceReader,
    *,
    rest: Array,
    base: Array,
) -> tuple[Array, Array | None]:
    """Return the resting target as the reader sees it, and the identity in the target's photo.

    `base` is the face in the photo; it differs from `rest` if the photo is not at rest.
    """
    photo = reenactor.idle(0.0, 0).image
    points = reader.track(photo)
    who = None if points is None else reader.describe(photo, points)
    if base is not rest:
        resting = resting_drive(to_image(base, estimate_pose(target.neutral)))
        points = reader.track(renderer.render(resting))
        renderer.reset()
    return (rest if points is None else own_shape(points, rest)), who


def _acting(seen: Sequence[_Seen], *, calmest: int, **figures: float | None) -> Acting:
    """Summarise the outputs, with further figures; `calmest` is used if there are none."""
    calm = sorted(seen, key=lambda one: one.unrest)[: max(round(CALM_SHARE * len(seen)), 1)]
    strongest = max(seen, key=lambda one: float(one.acted.sum()), default=None)
    return Acting(
        figures={
            **figures,
            "expression_correlation": _correlation([(one.acted, one.shown) for one in seen]),
            "fused_correlation": _correlation([(one.acted, one.fused) for one in seen]),
            "expression_ceiling": _correlation(
                [(one.acted, one.read) for one in seen if one.read is not None]
            ),
            "neutral_error": mean_of([one.offset for one in calm]),
        },
        calmest=calm[0].frame if calm else calmest,
        strongest=None if strongest is None else (strongest.frame, strongest.picture),
    )


def _unrest(drive: Drive, target: Target, rest: Array) -> float:
    """Return how far a drive is from rest: 1 for .01 iod of expression or for 5 degrees."""
    deviation = float(np.linalg.norm(drive.expression.deviation, axis=1).mean())
    pose, own = estimate_pose(drive.landmarks, rest), estimate_pose(target.neutral, rest)
    angle = float(np.linalg.norm(rotation_vector(pose.rotation @ own.rotation.T)))
    return deviation / 0.01 + float(np.degrees(angle)) / 5


def _correlation(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """Return the correlation of the pairs' action units; None without pairs."""
    if not pairs:
        return None
    first, second = (np.stack(units) for units in zip(*pairs, strict=True))
    return metrics.expression_correlation(first, second)


def _change_at_rest(reenactor: Reenactor, picture: Image, number: int) -> float:
    """Return the mean change of the output from frame to frame, levels, for a still actor.

    Args:
        reenactor: has processed the frames before.
        picture: the picture that the camera keeps showing, without noise.
        number: index of the next frame.
    """
    noise = np.random.default_rng(number)
    outputs = []
    for i in range(number, number + STILL_FRAMES):
        seen = np.clip(picture + noise.normal(0, STILL_NOISE, picture.shape), 0, 255)
        outputs.append(reenactor.step(Frame(seen.astype(np.uint8), i / CLIP_FPS, i)).image)
    settled = np.stack(outputs[STILL_FRAMES // 2 :]).astype(np.float32)
    return float(np.abs(np.diff(settled, axis=0)).mean())


def _sheet_row(
    pair: str,
    actor: Clip,
    target: Target,
    strongest: Sequence[tuple[int, Image] | None],
    peaks: Sequence[Image],
) -> SheetRow:
    side = actor.images.shape[1]
    blank = np.zeros((side, side, 3), np.uint8)
    frame = next((one[0] for one in strongest if one), int(actor.usable[0]))
    outputs = [blank if one is None else one[1] for one in strongest]
    pictures = [np.asarray(actor.images[frame]), target.references[0], *outputs, *peaks]
    return SheetRow(
        f"{pair}, frame {frame}", [resized_square(picture, side) for picture in pictures]
    )
