"""The cross-identity protocol: one clip's actor moves another clip's face by the whole live path.

For each ordered pair of identities the actor's frames go through a `Reenactor` with the other
clip's first frame as target, once forwards, while the actor's neutral is found, and then
backwards, which is judged. At its end the actor stands still before a noisy camera, and so should
the target. After that each of five expressions is given alone: an actor at rest whose landmarks do
nothing else, through fusion and renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from reenact.expression.fusion import Fusion
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import (
    estimate_pose,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    to_image,
)
from reenact.face.regions import lid_gaps
from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT
from reenact.imaging import resized_square
from reenact.live.pipeline import Reenactor
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.stats import StepTimer
from reenact.types import Array, Drive, Frame, Image, Landmarks, Renderer, Target, Tracker

PROTOCOL: Final = "cross-identity"

FRAMES: Final = 100
"""Frames of the actor's clip: enough for the neutral to be found."""

JUDGED: Final = 2
"""Every so many frames the output is tracked."""

IDENTIFIED: Final = 10
"""Of the judged pictures, every so many is asked who it shows."""

CALM_SHARE: Final = 0.1
"""Share of the judged frames that count as the actor at rest: those that deviate least."""

RAMP_FRAMES: Final = 25
"""An expression alone rises from 0 to 1 and falls again in so many frames, one second."""

REST_S: Final = 6.0
"""The actor rests so long before the first expression alone."""

STILL_FRAMES: Final = 50
"""Frames for which the actor stands still; the second half is judged."""

STILL_NOISE: Final = 3.0
"""Standard deviation of the noise of the camera then, grey levels: a webcam's by lamplight."""

SINGLE_EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "mouth_open": ("mouth_open",),
    "smile": ("smile_left", "smile_right"),
    "brow_raise": ("brow_raise_left", "brow_raise_right"),
    "blink_left": ("blink_left",),
    "blink_right": ("blink_right",),
}
"""The expressions that are given alone, and the action units that each drives."""

TURNS: Final[dict[str, tuple[float, float]]] = {
    "yaw 30": (30.0, 0.0),
    "yaw -30": (-30.0, 0.0),
    "looks left": (0.0, 0.13),
    "looks right": (0.0, -0.13),
}
"""Turns of head and eyes on the contact sheet: yaw in degrees, way of the irises in iod."""


def pairs_of(videos: Sequence[Path], limit: int | None) -> list[tuple[Path, Path]]:
    """Return ordered pairs (actor, target) of the first clips of different identities.

    In an order of which any beginning takes everybody equally often, as actor and as target.
    """
    first: dict[str, Path] = {}
    for video in videos:
        first.setdefault(video.stem.split("__")[0], video)
    people = list(first.values())
    count = len(people)
    pairs = [
        (people[i], people[(i + offset) % count])
        for offset in range(1, count)
        for i in range(count)
    ]
    return pairs[:limit]


def run(
    names: Sequence[str],
    videos: Sequence[Path],
    settings: Settings,
    reader: FaceReader,
    *,
    limit: int | None,
    frames: int | None,
    progress: bool,
) -> tuple[dict[str, dict[str, Figures]], list[SheetRow]]:
    """FaceReader every renderer on every pair.

    Returns:
        The figures by renderer and pair ("ACTOR > TARGET"), and rows for the contact sheet.

    Raises:
        SourceError: the clips show one person only.
    """
    pairs = pairs_of(videos, limit)
    if not pairs:
        raise SourceError(
            "--protocol cross needs clips of two people; who it is stands before __ in a name."
        )
    settings = settings.model_copy(deep=True)
    settings.output.picture = "crop"
    settings.actor.neutral = "fresh"  # the user's stored neutral is neither read nor replaced
    renderers: dict[str, Renderer] = {
        name: load("renderers", name).make(settings.renderer.model_copy(update={"name": name}))
        for name in names
    }
    tracker: Tracker = load("trackers", "mediapipe").make(settings.tracking)
    figures: dict[str, dict[str, Figures]] = {name: {} for name in names}
    rows: list[SheetRow] = []
    try:
        for actor_video, target_video in progress_bar(
            pairs, desc="pairs", unit="pair", disable=not progress
        ):
            actor, owner = read_clip(actor_video), read_clip(target_video)
            pair = f"{actor.name} > {owner.name}"
            results = []
            for name, renderer in renderers.items():
                target = first_frame_target(owner, name)
                stage = Stage(settings, target, tracker, renderer, reader)
                result = stage.measure_acting(actor, frames or FRAMES)
                result.figures |= stage.measure_single_expressions(actor, result)
                figures[name][pair] = result.figures
                results.append(result)
            rows.append(_sheet_row(pair, actor, first_frame_target(owner, ""), results))
    finally:
        tracker.close()
    return figures, rows


def sheet_columns(names: Sequence[str]) -> list[str]:
    """Return the heads of the sheet's columns; the expressions alone are the last renderer's."""
    return ["actor", "target", *names, *(f"{name} alone" for name in SINGLE_EXPRESSIONS), *TURNS]


@dataclass(slots=True)
class Result:
    """What one renderer did with one pair.

    Attributes:
        figures: by name.
        calm: index of the frame in which the actor was nearest to rest.
        shown: (frame of the actor, output) with the strongest expression, None without any.
        peaks: output at the peak of each expression alone, then of each turn.
    """

    figures: Figures
    calm: int
    shown: tuple[int, Image] | None
    peaks: list[Image]


class RecordingRenderer:
    """Hands everything on to a renderer and keeps the last drive."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.device = renderer.device
        self.drive: Drive | None = None

    def prepare(self, target: Target) -> None:
        """Prepare the renderer."""
        self._renderer.prepare(target)

    def render(self, drive: Drive) -> Image:
        """Render and keep the drive."""
        self.drive = drive
        return self._renderer.render(drive)

    def reset(self) -> None:
        """Reset the renderer; the drive is forgotten."""
        self._renderer.reset()
        self.drive = None


class Stage:
    """One renderer with one target, ready for actors. One thread.

    Args:
        settings: of the live path; the picture must be the crop.
        target: at the renderer's size.
        tracker: the live tracker, reset before use and not closed.
        renderer: it is given the target.
        reader: looks at the outputs.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        tracker: Tracker,
        renderer: Renderer,
        reader: FaceReader,
    ) -> None:
        self._settings = settings
        self._target = target
        self._tracker = tracker
        self._renderer = RecordingRenderer(renderer)
        self._reader = reader
        self._rest = to_face_frame(target.neutral, estimate_pose(target.neutral))

    def measure_acting(self, actor: Clip, frames: int) -> Result:
        """Let the clip's actor move the target, and look at the result."""
        self._tracker.reset()
        reenactor = Reenactor(
            self._settings, self._target, self._tracker, self._renderer, StepTimer()
        )
        rest_picture = reenactor.idle(0.0, 0).image
        rest_points = self._reader.track(rest_picture)
        rest = self._rest if rest_points is None else own_shape(rest_points, self._rest)
        who = None if rest_points is None else self._reader.describe(rest_picture, rest_points)
        usual = median_shape(actor.landmarks[actor.usable])
        usable = set(actor.usable.tolist())

        count = min(frames, len(actor.images))
        order = [*range(count), *range(count - 1, -1, -1)]
        seen: list[_Seen] = []
        looked = found = 0
        identities: list[float] = []
        for number, i in enumerate(order):
            image = np.ascontiguousarray(actor.images[i])
            output = reenactor.step(Frame(image, number / CLIP_FPS, number)).image
            if number < count or number % JUDGED or i not in usable:
                continue
            looked += 1
            points = self._reader.track(output)
            drive = self._renderer.drive
            if points is None or drive is None:
                continue
            found += 1
            if found % IDENTIFIED == 1:
                identity = self._reader.identity(who, output, points)
                identities += [] if identity is None else [identity]
            shape = own_shape(points, rest)
            # Action units are deviations from a resting face: the actor's is the one that the
            # program found. The median of a clip of one long smile is a smile.
            neutral = reenactor.actor_neutral
            neutral = usual if neutral is None else neutral
            own = self._reader.track(image)
            seen.append(
                _Seen(
                    frame=i,
                    acted=units_of(actor.landmarks[i], neutral),
                    read=None if own is None else units_of(own, neutral),
                    shown=units_of(points, rest),
                    restless=self._restlessness(drive),
                    offset=float(np.linalg.norm(shape - rest, axis=1).mean()),
                    picture=output,
                )
            )
        calm = sorted(seen, key=lambda one: one.restless)
        calm = calm[: max(round(CALM_SHARE * len(seen)), 1)]
        figures: Figures = {
            "identity": mean_of(identities),
            "expression_correlation": _follows([(one.acted, one.shown) for one in seen]),
            "expression_ceiling": _follows(
                [(one.acted, one.read) for one in seen if one.read is not None]
            ),
            "neutral_error": mean_of([one.offset for one in calm]),
            "tracked": found / looked if looked else None,
            "rest_change": _change_at_rest(reenactor, actor.images[order[-1]], len(order)),
        }
        strongest = max(seen, key=lambda one: float(one.acted.sum()), default=None)
        return Result(
            figures=figures,
            calm=calm[0].frame if calm else int(actor.usable[0]),
            shown=None if strongest is None else (strongest.frame, strongest.picture),
            peaks=[],
        )

    def measure_single_expressions(self, actor: Clip, result: Result) -> Figures:
        """Give each expression alone to an actor at rest; the peaks go into the result.

        The figures are the correlation of the driven with the tracked activation for each
        expression, and `alone_peak`, the mean activation seen when fully driven.
        """
        points = np.ascontiguousarray(actor.landmarks[result.calm])
        pose = estimate_pose(points)
        shape = to_face_frame(points, pose)
        size = (actor.images.shape[2], actor.images.shape[1])
        settings = self._settings
        fusion = Fusion(settings.fusion, settings.smoothing, self._target.neutral, settings.actor)
        steps = 0

        basis = personal_basis(shape)

        def fused(activation: Array, yaw: float = 0.0, gaze_iod: float = 0.0) -> Drive:
            nonlocal steps
            deviation = np.tensordot(activation, basis, 1)
            deviation[[*IRIS_RIGHT, *IRIS_LEFT], 0] += gaze_iod
            turn = rotation_matrix(np.array([0, np.radians(yaw), 0], np.float32))
            turned = replace(pose, rotation=turn @ pose.rotation)
            moved = to_image(shape + deviation, turned)
            time_s = steps / CLIP_FPS
            expression = fusion.express(Landmarks(moved, 1.0, size), time_s)
            steps += 1
            landmarks = fusion.fuse(expression)
            return Drive(landmarks, expression, time_s=time_s, dt_s=1 / CLIP_FPS)

        still = np.zeros(len(ACTION_UNITS), np.float32)
        for _ in range(round(REST_S * CLIP_FPS)):
            rest_drive = fused(still)
        self._renderer.reset()
        rest_points = self._reader.track(self._renderer.render(rest_drive))
        rest = self._rest if rest_points is None else own_shape(rest_points, self._rest)

        figures: Figures = {}
        peaks: list[float] = []
        for name, units in SINGLE_EXPRESSIONS.items():
            index = [ACTION_UNITS.index(unit) for unit in units]
            driven: list[float] = []
            tracked: list[float] = []
            for frame in range(RAMP_FRAMES + 1):
                amount = 1 - abs(2 * frame / RAMP_FRAMES - 1)
                activation = still.copy()
                activation[index] = amount
                drive = fused(activation)
                if frame % JUDGED and frame != (RAMP_FRAMES + 1) // 2:
                    continue
                picture = self._renderer.render(drive)
                if frame == (RAMP_FRAMES + 1) // 2:
                    result.peaks.append(picture)
                seen = self._reader.track(picture)
                if seen is not None:
                    driven.append(amount)
                    tracked.append(float(units_of(seen, rest)[index].mean()))
            for _ in range(RAMP_FRAMES // 2):  # come to rest before the next
                fused(still)
            figures[f"{name}_correlation"] = (
                metrics.correlation(np.array(driven), np.array(tracked)) if tracked else None
            )
            peaks += [max(tracked)] if tracked else []
        figures["alone_peak"] = mean_of(peaks)
        for yaw, gaze_iod in TURNS.values():
            for frame in range(RAMP_FRAMES):
                amount = min(2 * frame / RAMP_FRAMES, 1)
                drive = fused(still, yaw * amount, gaze_iod * amount)
            result.peaks.append(self._renderer.render(drive))
        return figures

    def _restlessness(self, drive: Drive) -> float:
        """Return how far from rest a drive is: 1 for .01 iod of expression, or for 5 degrees."""
        deviation = float(np.linalg.norm(drive.expression.deviation, axis=1).mean())
        pose, own = (
            estimate_pose(drive.landmarks, self._rest),
            estimate_pose(self._target.neutral, self._rest),
        )
        angle = float(np.linalg.norm(rotation_vector(pose.rotation @ own.rotation.T)))
        return deviation / 0.01 + float(np.degrees(angle)) / 5


def personal_basis(shape: Array) -> Array:
    """Return the action-unit basis for one person: at activation 1 of a blink the lids meet.

    The basis is the mean of many people's; as it is, it leaves large eyes half open.
    """
    basis = action_unit_basis().copy()
    gaps = lid_gaps(shape)
    for unit, eye in (("blink_right", slice(0, 7)), ("blink_left", slice(7, 14))):
        row = ACTION_UNITS.index(unit)
        closing = float((gaps - lid_gaps(shape + basis[row]))[eye].mean())
        basis[row] *= np.float32(np.clip(gaps[eye].mean() / max(closing, 1e-3), 0.5, 2.5))
    return basis


@dataclass(frozen=True, slots=True)
class _Seen:
    """One judged frame.

    Attributes:
        frame: its index in the actor's clip.
        acted: the actor's units, from the clip's landmarks.
        read: the same as the judge reads them off the actor's own picture; None: no face found.
        shown: the units that the judge reads off the output.
        restless: how far the actor is from rest.
        offset: how far the output is from the target at rest, iod.
        picture: the output.
    """

    frame: int
    acted: Array
    read: Array | None
    shown: Array
    restless: float
    offset: float
    picture: Image


def _follows(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """Return how well the second units of each pair follow the first; None of nothing."""
    if not pairs:
        return None
    led, following = (np.stack(units) for units in zip(*pairs, strict=True))
    return metrics.expression_correlation(led, following)


def _change_at_rest(reenactor: Reenactor, picture: Image, number: int) -> float:
    """Return the mean change of the output from frame to frame, grey levels, of a still actor.

    Args:
        reenactor: after the frames before.
        picture: what the camera goes on to show, but for its noise.
        number: of the next frame.
    """
    noise = np.random.default_rng(number)
    outputs = []
    for i in range(number, number + STILL_FRAMES):
        seen = np.clip(picture + noise.normal(0, STILL_NOISE, picture.shape), 0, 255)
        outputs.append(reenactor.step(Frame(seen.astype(np.uint8), i / CLIP_FPS, i)).image)
    judged = np.stack(outputs[STILL_FRAMES // 2 :]).astype(np.float32)
    return float(np.abs(np.diff(judged, axis=0)).mean())


def _sheet_row(pair: str, actor: Clip, target: Target, results: Sequence[Result]) -> SheetRow:
    side = actor.images.shape[1]
    blank = np.zeros((side, side, 3), np.uint8)
    frame = next((one.shown[0] for one in results if one.shown), int(actor.usable[0]))
    outputs = [blank if one.shown is None else one.shown[1] for one in results]
    pictures = [np.asarray(actor.images[frame]), target.references[0], *outputs]
    pictures += results[-1].peaks
    return SheetRow(
        f"{pair}, frame {frame}", [resized_square(picture, side) for picture in pictures]
    )
