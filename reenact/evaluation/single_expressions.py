"""Single expressions: an actor at rest whose landmarks perform one expression and nothing else.

Each expression rises from 0 to 1 and falls again, through fusion and renderer. The action units
read from the output are compared with the driven ones, which shows how well each expression comes
across by itself. The actor's side needs no tracker and no camera.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.evaluation.clips import CLIP_FPS
from reenact.evaluation.face_reader import FaceReader, own_shape, units_of
from reenact.evaluation.metrics import Figures, correlation, mean_of
from reenact.expression.emotions import emotion_weights
from reenact.expression.fusion import Fusion
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.face.regions import lid_gaps
from reenact.face.skull import turned_at_neck
from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Drive, Image, Landmarks, Renderer, Target

SINGLE_EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "mouth_open": ("mouth_open",),
    "smile": ("smile_left", "smile_right"),
    "brow_raise": ("brow_raise_left", "brow_raise_right"),
    "blink_left": ("blink_left",),
    "blink_right": ("blink_right",),
}
"""The expressions by name, with the action units that each drives."""

TURNS: Final[dict[str, tuple[float, float]]] = {
    "yaw 30": (30.0, 0.0),
    "yaw -30": (-30.0, 0.0),
    "looks left": (0.0, 0.13),
    "looks right": (0.0, -0.13),
}
"""Turns of head and eyes on the contact sheet: yaw in degrees, shift of the irises in iod."""

REST_S: Final = 6.0
"""Duration of the rest before the first expression, s."""

RAMP_FRAMES: Final = 25
"""Frames in which an expression rises and falls: one second."""

_PEAK_FRAME: Final = (RAMP_FRAMES + 1) // 2
_STILL: Final = np.zeros(len(ACTION_UNITS), np.float32)

TRACKED_EVERY: Final = 2
"""The face reader reads one output in this many."""


def measure_single_expressions(
    target: Target,
    renderer: Renderer,
    reader: FaceReader,
    settings: Settings,
    *,
    points: Array,
    size: tuple[int, int],
) -> tuple[Figures, list[Image]]:
    """Drive a target with each expression alone.

    Args:
        target: at the renderer's size.
        renderer: prepared with the target; it is reset.
        reader: reads the outputs.
        settings: settings of the fusion; `actor.neutral` must be "fresh".
        points: (478, 3) px landmarks of the actor at rest.
        size: (width, height) px of the actor's picture.

    Returns:
        The figures: for each expression the correlation of the read with the driven activation,
        and `alone_peak`, the mean activation read at full drive. Then the outputs at the peak of
        each expression, and after each turn.
    """
    actor = _StillActor(target, settings, points, size)
    for _ in range(round(REST_S * CLIP_FPS)):
        resting = actor.drive(_STILL)
    renderer.reset()
    rest_points = reader.track(renderer.render(resting))
    rest = to_face_frame(target.neutral, estimate_pose(target.neutral))
    if rest_points is not None:
        rest = own_shape(rest_points, rest)

    figures: Figures = {}
    peaks: list[float] = []
    pictures: list[Image] = []
    for name, units in SINGLE_EXPRESSIONS.items():
        index = [ACTION_UNITS.index(unit) for unit in units]
        driven, read, peak = _one_expression(actor, renderer, reader, rest, index)
        pictures.append(peak)
        figures[f"{name}_correlation"] = (
            correlation(np.array(driven), np.array(read)) if read else None
        )
        peaks += [max(read)] if read else []
    figures["alone_peak"] = mean_of(peaks)
    for yaw, gaze_iod in TURNS.values():
        for frame in range(RAMP_FRAMES):
            amount = min(2 * frame / RAMP_FRAMES, 1)
            moment = actor.drive(_STILL, yaw * amount, gaze_iod * amount)
        pictures.append(renderer.render(moment))
    return figures, pictures


class _StillActor:
    """An actor at rest with (478, 3) px landmarks `points`, who performs what `drive` asks for."""

    def __init__(
        self, target: Target, settings: Settings, points: Array, size: tuple[int, int]
    ) -> None:
        self._pose = estimate_pose(points)
        self._shape = to_face_frame(points, self._pose)
        self._basis = personal_basis(self._shape)
        self._fusion = Fusion(settings.fusion, settings.smoothing, target.neutral, settings.actor)
        self._size = size
        self._steps = 0

    def drive(self, activation: Array, yaw: float = 0.0, gaze_iod: float = 0.0) -> Drive:
        """Return the target's next frame for (17,) activations, a yaw in degrees, and a gaze shift.

        `gaze_iod` is the sideways shift of the irises.
        """
        deviation = np.tensordot(activation, self._basis, 1)
        deviation[[*IRIS_RIGHT, *IRIS_LEFT], 0] += gaze_iod
        turn = rotation_matrix(np.array([0, np.radians(yaw), 0], np.float32))
        moved = to_image(self._shape + deviation, turned_at_neck(self._pose, turn))
        time_s = self._steps / CLIP_FPS
        self._steps += 1
        expression = self._fusion.express(Landmarks(moved, 1.0, self._size), time_s)
        landmarks = self._fusion.fuse(expression)
        emotion = emotion_weights(expression.action_units)
        return Drive(landmarks, expression, emotion, time_s=time_s, dt_s=1 / CLIP_FPS)


def _one_expression(
    actor: _StillActor, renderer: Renderer, reader: FaceReader, rest: Array, index: list[int]
) -> tuple[list[float], list[float], Image]:
    """Let the action units of these indices rise, fall, and come to rest.

    Returns:
        The driven and the read activations, and the output at the peak.
    """
    driven: list[float] = []
    read: list[float] = []
    for frame in range(RAMP_FRAMES + 1):
        amount = 1 - abs(2 * frame / RAMP_FRAMES - 1)
        activation = _STILL.copy()
        activation[index] = amount
        moment = actor.drive(activation)
        if frame % TRACKED_EVERY and frame != _PEAK_FRAME:
            continue
        picture = renderer.render(moment)
        if frame == _PEAK_FRAME:
            peak = picture
        seen = reader.track(picture)
        if seen is not None:
            driven.append(amount)
            read.append(float(units_of(seen, rest)[index].mean()))
    for _ in range(RAMP_FRAMES // 2):
        actor.drive(_STILL)
    return driven, read, peak


def personal_basis(shape: Array) -> Array:
    """Return the (17, 478, 3) action-unit basis for one person's (478, 3) shape, iod.

    The general basis is the mean over many people and leaves large eyes half open. Here a blink of
    1 makes the lids meet.
    """
    basis = action_unit_basis().copy()
    gaps = lid_gaps(shape)
    for unit, eye in (("blink_right", slice(0, 7)), ("blink_left", slice(7, 14))):
        row = ACTION_UNITS.index(unit)
        closing = float((gaps - lid_gaps(shape + basis[row]))[eye].mean())
        basis[row] *= np.float32(np.clip(gaps[eye].mean() / max(closing, 1e-3), 0.5, 2.5))
    return basis
