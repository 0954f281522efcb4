"""Faces for tests: the portrait, and faces whose mouth opens or whose head turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reenact.face.action_units import action_unit_basis, action_units
from reenact.face.geometry import (
    canonical_face,
    crop_transform,
    estimate_pose,
    rotation_matrix,
    to_face_frame,
    to_image,
    transform_points,
)
from reenact.face.topology import ACTION_UNITS
from reenact.testing.portrait import drive, portrait, portrait_landmarks, portrait_target
from reenact.types import Array, Image, Pose, Target

__all__ = [
    "deviation_of",
    "difference",
    "drive",
    "opened_mouth",
    "plain_target",
    "portrait",
    "portrait_landmarks",
    "portrait_target",
    "posed_face",
    "target_units",
    "turned",
    "units_of",
]


def units_of(**amounts: float) -> Array:
    """Return (17,) action units of these amounts, and 0 of the others."""
    return np.array([amounts.get(name, 0.0) for name in ACTION_UNITS], np.float32)


def deviation_of(**amounts: float) -> Array:
    """Return the (478, 3) deviation of these amounts of action units, face frame, iod."""
    return np.tensordot(units_of(**amounts), action_unit_basis(), 1)


def target_units(points: Array, target: Array) -> Array:
    """Return the (17,) action units of landmarks against the target's own, both in px."""
    neutral = to_face_frame(target, estimate_pose(target))
    return action_units(to_face_frame(points, estimate_pose(points, neutral)), neutral)


def opened_mouth(points: Array, gap_px: float) -> Array:
    """Move the lower lip's and chin's landmarks down."""
    moved = points.copy()
    lip = [87, 14, 317, 88, 178, 402, 318, 95, 324, 17, 84, 314, 181, 405, 91, 321, 146, 375]
    chin = [152, 148, 377, 176, 400, 149, 378, 175, 199, 200, 18, 83, 313, 182, 406]
    moved[lip + chin, 1] += np.float32(gap_px)
    return moved


def turned(points: Array, degrees: float) -> Array:
    """Return a face's landmarks turned about the vertical axis."""
    pose = estimate_pose(points)
    turn = rotation_matrix(np.array([0, np.radians(degrees), 0], np.float32))
    return to_image(to_face_frame(points, pose), replace(pose, rotation=turn @ pose.rotation))


def posed_face(yaw_degrees: float = 20.0, scale: float = 60.0) -> tuple[Array, Pose]:
    vector = np.radians(np.array([5, yaw_degrees, -8], np.float32)).astype(np.float32)
    pose = Pose(rotation_matrix(vector), np.array([130, 120, 3], np.float32), scale)
    return to_image(canonical_face(), pose), pose


def difference(first: Image, second: Image) -> float:
    """Return the mean absolute difference of two pictures, levels."""
    return float(np.abs(first.astype(np.float32) - second).mean())


def plain_target(colour: tuple[int, int, int]) -> Target:
    """A target of one colour: whatever has another one in the output came from elsewhere."""
    points = to_image(
        canonical_face(), Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 40.0)
    )
    points = transform_points(points, crop_transform(points, 128))
    return Target(
        name="plain",
        references=np.full((1, 128, 128, 3), colour, np.uint8),
        landmarks=points[None],
        neutral=points,
        plate=np.full((144, 160, 3), colour, np.uint8),
        crop_to_plate=np.array([[1, 0, 16], [0, 1, 8]], np.float32),
    )
