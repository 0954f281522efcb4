"""The skull and the hair around a face, and how they move with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    axis_in_image,
    canonical_face,
    fit_similarity,
    to_face_frame,
    to_image,
    yaw_sine,
)
from reenact.face.topology import CHIN, OVAL
from reenact.imaging import ramp
from reenact.types import Array, Pose

RINGS: Final = (1.3, 1.5, 1.7)
"""Sizes of the rings around a face that represent its hair and neck, relative to its oval."""

_EVEN_RING: Final = OVAL[::2]
"""Landmarks all around a face."""

RING: Final = (*_EVEN_RING, 338, 332, 103, 109)
"""Landmarks that each ring is scaled from. They are closest at the top, where the outline of a
turned head would show corners."""

_CENTRE: Final = np.array([0.0, 0.0, 1.15], np.float32)
_RADII: Final = np.array([1.2, 1.6, 1.45], np.float32)
"""Ellipsoid that approximates the skull and its hair, in the face frame, iod."""


def rings(shape: Array, ring: Sequence[int] = RING) -> Array:
    """Return the face's oval scaled about its middle by each of `RINGS`, behind the face's edge.

    Args:
        shape: (478, 3), px or in the face frame.
        ring: the oval's landmarks to scale.

    Returns:
        float32 (N, 3), one ring after the other.
    """
    oval = shape[list(OVAL)]
    middle = oval.mean(axis=0)
    edge = np.tile(shape[list(ring)], (len(RINGS), 1))
    size = np.repeat(np.array(RINGS, np.float32), len(ring))[:, None]
    found = middle + (edge - middle) * size
    found[:, 2] = middle[2] + 0.15 * np.ptp(oval[:, 1])
    return np.asarray(found, dtype=np.float32)


def on_skull(places: Array, pose: Pose) -> Array:
    """Return (N, 3) px of hair seen at (N, 2) px; beside the skull with its outline's depth."""
    flat = np.zeros((len(places), 3), np.float32)
    flat[:, :2] = places - pose.translation[:2]
    start = (flat @ pose.rotation / pose.scale - _CENTRE) / _RADII
    way = pose.rotation[2] / _RADII
    square, half = way @ way, start @ way
    within = np.maximum(half**2 - square * ((start**2).sum(axis=1) - 1), 0)
    depth = -(half + np.sqrt(within)) / square
    flat[:, :2] = places
    flat[:, 2] = depth * pose.scale + pose.translation[2]
    return flat


def move_rigidly(points: Array, start: Pose, end: Pose) -> Array:
    """Move (N, 3) or (3,) points of a rigid body, px, from one pose to another."""
    return to_image(to_face_frame(points, start), end)


_TEMPLES: Final = (0.2, -0.2)
"""Heights between which rigid motion blends into that of the skull, iod below the eyes."""

_NEAR_OUTLINE: Final = 0.8
"""Sine of the angle at a skull's middle within which hair counts as near its outline."""

_NECK_BEHIND: Final = 0.45
"""Distance by which the neck lies behind the skull's middle, iod."""

_BESIDE: Final = 0.6
"""Height above and below the eyes between which hair passes into what moves like the neck, iod."""

_TURNED_BACK: Final = 0.1
"""Decrease of the sine of a turn from which the near side of a head is not narrowed."""


def turn_skull(places: Array, start: Pose, end: Pose) -> Array:
    """Move (N, 3) px on or beside a skull, whose outline stays an outline.

    Below the eyes are ears, neck and hanging hair, which move rigidly, and further aside in a turn.
    """
    shape = to_face_frame(places, start)
    moved = to_image(_held_at_outline(shape, start, end), end)
    moved[:, :2] += _further_aside(shape, start, end)
    return moved


def _held_at_outline(shape: Array, start: Pose, end: Pose) -> Array:
    """Move (N, 3) places in the face frame back to the outline of a skull that turns.

    What turns out of sight stays there, and so does what was there: a turn uncovers hair that no
    picture shows, and would narrow the head.
    """
    placed = (shape - _CENTRE) / _RADII
    ways = (pose.rotation[2] / _RADII for pose in (start, end))
    before, away = (way / np.linalg.norm(way) for way in ways)  # from the camera
    first, depth = placed @ before, placed @ away
    far = np.linalg.norm(placed, axis=1)
    held = np.clip(1 + first / (_NEAR_OUTLINE * far), 0, 1)
    kept = np.minimum(depth + held * (first - depth), 0)
    rim = placed + (kept - depth)[:, None] * away
    # A point straight behind the skull has no direction.
    rim *= (far / np.maximum(np.linalg.norm(rim, axis=1), 0.1))[:, None]
    low, high = _TEMPLES
    share = np.clip((low - shape[:, 1:2]) / (low - high), 0, 1)
    return np.asarray((placed + share * (rim - placed)) * _RADII + _CENTRE, np.float32)


def _further_aside(shape: Array, start: Pose, end: Pose) -> Array:
    """Return by how many px further than a rigid skull its sides move in a turn, (N, 2).

    Ears, neck and hanging hair move as far as the neck's middle does, except on the near side of a
    head that turns back: it would be narrowed, and lose its ear.

    Args:
        shape: (N, 3), face frame.
        start: pose of the head in the photo.
        end: pose to which it turns.
    """
    before, now = yaw_sine(start.rotation), yaw_sine(end.rotation)
    near = np.clip(0.5 + np.sign(before) * shape[:, :1], 0, 1)
    moves = 1 - near * ramp(abs(before) - abs(now), 0, _TURNED_BACK)
    beside = np.clip((shape[:, 1:2] + _BESIDE) / (2 * _BESIDE), 0, 1)
    side = axis_in_image(end.rotation, 0)
    turn = end.scale * float(side @ end.rotation[:2] @ start.rotation[2])
    return np.asarray(beside * moves * np.float32(_NECK_BEHIND * turn) * side)


_JAW: Final = (0.9, 1.5)
"""Heights below the eyes, iod, between which the face's edge becomes one that hides the neck."""

_SQUEEZED: Final = 0.4
"""Share of its width by which the neck between jaw and innermost ring is squeezed at most. Its skin
moves with a chin that hardly does."""


@lru_cache(maxsize=1)
def _of_jaw() -> Array:
    """Return how far each vertex of `OVAL` belongs to the jaw, (36, 1), 0 to 1."""
    low, high = _JAW
    return np.clip((canonical_face()[list(OVAL), 1:2] - low) / (high - low), 0, 1)


def behind_jaw(before: Array, after: Array, motion: Array) -> Array:
    """Return where the neck ends behind the edge of a driven face, (36, 3) px.

    A jaw that comes over the neck squeezes it no further than by `_SQUEEZED`, and hides the rest.
    Elsewhere the neck ends at the face's edge.

    Args:
        before: edge of the face in the reference, (36, 3) px in the order of `OVAL`.
        after: edge of the driven face.
        motion: of the innermost ring, (N, 3) px in the order of `RING`.
    """
    even = motion[: len(_EVEN_RING)]
    moved = np.stack([even, (even + np.roll(even, -1, axis=0)) / 2], axis=1).reshape(after.shape)
    out = after[:, :2] - after[:, :2].mean(axis=0)
    radius = np.linalg.norm(out, axis=1, keepdims=True)
    out /= radius
    beyond = ((before + moved - after)[:, :2] * out).sum(axis=1, keepdims=True)
    beyond += np.float32(_SQUEEZED * (RINGS[0] - 1)) * radius
    behind = after.copy()
    behind[:, :2] += _of_jaw() * np.minimum(beyond, 0) * out
    return behind


_NECK_JOINT: Final = np.array([0.0, -0.8, 1.8], np.float32)
"""Where the head joins the body, relative to the chin in the face frame, iod. The body moves as far
as this point, so a head that nods or turns about it leaves the shoulders in place."""


def neck_joint(landmarks: Array, pose: Pose) -> Array:
    """Return where the head of (478, 3) px landmarks, in that pose, joins the body, (3,) px."""
    return np.asarray(landmarks[CHIN] + pose.rotation @ _NECK_JOINT * pose.scale, np.float32)


def turned_at_neck(pose: Pose, turn: Array) -> Pose:
    """Return a pose turned by a (3, 3) rotation about the head's joint with the body."""
    return joined_at(joint_of(pose), turn @ pose.rotation, pose.scale)


def joint_of(pose: Pose) -> Array:
    """Return where the canonical head joins the body in a pose, (3,) px."""
    return to_image(_canonical_joint(), pose)


def joined_at(joint: Array, rotation: Array, scale: float) -> Pose:
    """Return the pose of a head that joins the body at (3,) px."""
    lever = rotation @ _canonical_joint() * np.float32(scale)
    return Pose(rotation, np.asarray(joint - lever, np.float32), scale)


@lru_cache(maxsize=1)
def _canonical_joint() -> Array:
    return np.asarray(canonical_face()[CHIN] + _NECK_JOINT, np.float32)


@lru_cache(maxsize=1)
def _hair() -> Array:
    """Return points on the hair of the canonical face, (N, 3), face frame, iod.

    They surround it evenly, because the jitter of a head's pose moves the top most.
    """
    face = canonical_face()
    straight = Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1.0)
    ring = rings(face, _EVEN_RING)
    return on_skull(ring[ring[:, 1] < face[CHIN, 1], :2], straight)


def hair_motion(start: Pose, end: Pose, affine: NDArray[Any] | None = None) -> Array:
    """Return the motion of a head's hair, (4,) as in `PartMotion`.

    Args:
        start: pose of the head before.
        end: pose of the head now.
        affine: (2, 3) px, additional motion of the hair relative to the head; None: none.
    """
    before, now = to_image(_hair(), start)[:, :2], to_image(_hair(), end)[:, :2]
    if affine is not None:
        now = now @ affine[:, :2].T + affine[:, 2]
    growth, turn, _ = fit_similarity(before, now)
    across, down = (now.mean(axis=0) - before.mean(axis=0)) / start.scale
    roll = math.atan2(turn[1, 0], turn[0, 0])
    return np.array([across, down, roll, math.log(max(growth, 1e-3))], np.float32)


def hair_middle(pose: Pose) -> Array:
    """Return the middle of the hair of a head, (2,) px."""
    return np.asarray(to_image(_hair(), pose)[:, :2].mean(axis=0), np.float32)
