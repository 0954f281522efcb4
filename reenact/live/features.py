"""Summarises the expressions of actor and target in a few numbers for display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Drive, Pose, Target

_UNITS: Final = {
    "mouth open": ("mouth_open",),
    "smile": ("smile_left", "smile_right"),
    "left brow": ("brow_raise_left",),
    "right brow": ("brow_raise_right",),
    "left lid": ("blink_left",),
    "right lid": ("blink_right",),
}

_GAZE_IOD: Final = 0.09
"""Sideways motion of the irises for a full sideways gaze."""

_POSES: Final = {"nod": 0, "turn": 1, "tilt": 2}
_POSE_RANGE: Final = np.radians(30)


@dataclass(frozen=True, slots=True)
class Feature:
    """One aspect of a face.

    Attributes:
        name: name for the user.
        actor: value for the actor: 0 to 1; -1 to 1 if `signed`.
        output: value for the target.
        signed: True for a movement with two directions, such as a gaze.
    """

    name: str
    actor: float
    output: float
    signed: bool = False


def features(drive: Drive, target: Target, actor_rest: Pose | None = None) -> list[Feature]:
    """Compute the features of a drive and of the target that it draws.

    Args:
        drive: drive of the newest picture.
        target: the target, at the size of the drive's landmarks.
        actor_rest: pose of the actor's head at rest; None: facing the camera.
    """
    rest_pose = estimate_pose(target.neutral)
    rest = to_face_frame(target.neutral, rest_pose)
    pose = estimate_pose(drive.landmarks, rest)
    shape = to_face_frame(drive.landmarks, pose)
    actor, output = drive.expression.action_units, action_units(shape, rest)
    found = [
        Feature(name, _mean(actor, units), _mean(output, units)) for name, units in _UNITS.items()
    ]
    found.append(
        Feature("gaze", _gaze(drive.expression.deviation), _gaze(shape - rest), signed=True)
    )
    actor_turn, output_turn = _turn(drive.expression.pose), _turn(pose) - _turn(rest_pose)
    if actor_rest is not None:
        actor_turn = actor_turn - _turn(actor_rest)
    for name, axis in _POSES.items():
        found.append(
            Feature(name, _limited(actor_turn[axis]), _limited(output_turn[axis]), signed=True)
        )
    return found


def _mean(units: Array, names: tuple[str, ...]) -> float:
    return float(np.mean([units[ACTION_UNITS.index(name)] for name in names]))


def _gaze(deviation: Array) -> float:
    sideways = deviation[[IRIS_RIGHT[0], IRIS_LEFT[0]], 0].mean()
    return _limited(sideways / _GAZE_IOD)


def _limited(value: float) -> float:
    return float(np.clip(value, -1, 1))


def _turn(pose: Pose) -> Array:
    return np.asarray(rotation_vector(pose.rotation) / _POSE_RANGE, np.float32)
