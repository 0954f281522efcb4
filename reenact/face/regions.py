"""Regions of the face with soft borders, and the contact of lids and lips.

The weights allow one region to be amplified or held without a seam to its neighbours. Contact
ensures what a viewer notices first: a closed eye is closed whatever its size, and lips never cross.
All functions take face-frame shapes, (478, 3), iod, change nothing, and may be called by any
thread.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, LIP_PAIRS
from reenact.face.geometry import canonical_face
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    LOWER_LIP,
    UPPER_LIP,
)
from reenact.types import Array

REGIONS: Final = ("mouth", "eyes", "brows")

PARTS: Final = ("mouth", "right eye", "left eye", "right brow", "left brow", "rest")
"""The parts of a face that are evaluated separately; sides are the person's."""

EYES: Final = slice(1, 3)
"""The eyes in `PARTS`."""

_CHIN: Final = (152, 148, 176, 377, 400, 175, 199, 200, 171, 396, 208, 428, 18, 83, 313)
_CORES: Final = {
    "mouth": (*LIPS_OUTER, *LIPS_INNER, *_CHIN),
    "eyes": (*EYE_RIGHT, *EYE_LEFT, *IRIS_RIGHT, *IRIS_LEFT),
    "brows": (*BROW_RIGHT, *BROW_LEFT),
}
_REACH: Final = {"mouth": 0.40, "eyes": 0.13, "brows": 0.22}

_LID_REACH: Final = 0.05
_LIP_REACH: Final = 0.05
LID_INDEX: Final[NDArray[np.int64]] = np.array(LID_PAIRS_RIGHT + LID_PAIRS_LEFT, np.int64)
"""(14, 2): landmarks of the upper and the lower lid, first of the right eye, then of the left."""

IRISES: Final[NDArray[np.int64]] = np.array([*IRIS_RIGHT, *IRIS_LEFT], np.int64)
"""(10,): landmarks of the right iris, then of the left."""

_SOCKETS: Final[NDArray[np.int64]] = np.array(
    [EYE_CORNERS_RIGHT] * len(IRIS_RIGHT) + [EYE_CORNERS_LEFT] * len(IRIS_LEFT), np.int64
)
"""(10, 2): the corners of the eye in which each of `IRISES` lies."""

_LIPS: Final[NDArray[np.int64]] = np.array(LIP_PAIRS, np.int64)
_CONTACTS: Final = np.concatenate([LID_INDEX, _LIPS])

SHUT_SHARE: Final = 0.08
"""A gap below this fraction of the neutral gap counts as closed: the tracker is no more precise."""


@lru_cache(maxsize=1)
def region_weights() -> Array:
    """Return how much each landmark belongs to each of `REGIONS`, float32 (3, 478), 0 to 1.

    The weight is 1 on the region's own contours and fades with distance. The sum of the three is
    at most 1; what is missing belongs to cheeks, nose and the rest.
    """
    face = canonical_face()
    weights = np.empty((len(REGIONS), len(face)), np.float32)
    for row, name in enumerate(REGIONS):
        distance = _distance(face, _CORES[name])
        weights[row] = np.exp(-((distance / _REACH[name]) ** 2))
    weights /= np.maximum(weights.sum(axis=0), 1)
    for row, name in enumerate(REGIONS):
        core = list(_CORES[name])
        weights[:, core] = 0
        weights[row, core] = 1
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=1)
def part_weights() -> Array:
    """Return how much each landmark belongs to each of `PARTS`, float32 (6, 478).

    The columns sum to 1.
    """
    mouth, eyes, brows = region_weights()
    left = np.clip((canonical_face()[:, 0] / 0.05 + 1) / 2, 0, 1)
    right = 1 - left
    rest = np.maximum(1 - mouth - eyes - brows, 0)
    parts = np.stack([mouth, eyes * right, eyes * left, brows * right, brows * left, rest])
    parts = np.asarray(parts / parts.sum(axis=0), dtype=np.float32)
    parts.setflags(write=False)
    return parts


@lru_cache(maxsize=4)
def point_gains(mouth: float, eyes: float, brows: float) -> Array:
    """Return the gain of each landmark, (478, 1), from the gains of the regions; elsewhere 1."""
    change = np.array([mouth - 1, eyes - 1, brows - 1], np.float32)
    gains = np.asarray((1 + change @ region_weights())[:, None], dtype=np.float32)
    gains.setflags(write=False)
    return gains


def iris_motion(deviation: Array) -> Array:
    """Return how far a (478, 3) deviation moves `IRISES` in their eyes, (10, 3)."""
    sockets = deviation.take(_SOCKETS, axis=0).mean(axis=1)
    return np.asarray(deviation.take(IRISES, axis=0) - sockets, np.float32)


def lid_gaps(shape: Array) -> Array:
    """Return the vertical gaps of the lids, (14,), iod, in the order of `LID_INDEX`."""
    return _gaps(shape, LID_INDEX)


def lip_gaps(shape: Array) -> Array:
    """Return the vertical gaps of the inner lips, (9,), iod; negative where lips cross."""
    return _gaps(shape, _LIPS)


def mouth_gap(shape: Array) -> float:
    """Return the mean gap between the middles of the lips, iod."""
    return float(lip_gaps(shape)[3:6].mean())


def _gaps(shape: Array, pairs: NDArray[np.int64]) -> Array:
    heights = shape[:, 1].take(pairs)
    return np.asarray(heights[:, 1] - heights[:, 0])


def lid_closure(shape: Array, neutral: Array) -> Array:
    """Return the gaps of the lids, (14,), as fractions of the neutral gaps: 1 at rest, 0 closed."""
    rest = np.maximum(lid_gaps(neutral), 0.02)
    share = (lid_gaps(shape) / rest - SHUT_SHARE) / (1 - SHUT_SHARE)
    return np.asarray(np.maximum(share, 0), dtype=np.float32)


def apply_contact(shape: Array, neutral: Array, closure: Array | None) -> Array:
    """Return the shape with its lids at a given closure and without crossing lids or lips.

    The upper lid moves to the lower one, and the skin above follows, less with distance. Lips that
    would cross meet half-way, unless they already cross in the neutral.

    Args:
        shape: (478, 3).
        neutral: (478, 3) of the same person.
        closure: (14,) as from `lid_closure`; None to move only lids that cross.
    """
    gaps, rest = _gaps(shape, _CONTACTS), _gaps(neutral, _CONTACTS)
    lids, lips = gaps[: len(LID_INDEX)], gaps[len(LID_INDEX) :]
    resting = rest[: len(LID_INDEX)]
    wanted = lids if closure is None else closure * resting
    settled = shape.copy()
    settled[:, 1] += _lid_spread() @ (lids - np.maximum(wanted, np.minimum(resting, 0.004)))
    crossing = np.minimum(lips - np.minimum(rest[len(LID_INDEX) :], 0), 0) / 2
    if crossing.any():
        upper, lower = _lip_spread()
        settled[:, 1] += upper @ crossing - lower @ crossing
    return settled


@lru_cache(maxsize=1)
def _lid_spread() -> Array:
    """Return (478, 14): how much each landmark follows each landmark of the upper lids."""
    face = canonical_face()
    still = [*LID_INDEX[:, 1], 33, 133, 263, 362, *IRIS_RIGHT, *IRIS_LEFT]
    above = face[:, 1] < 0.16
    return _spread(face, LID_INDEX[:, 0], _LID_REACH, above, still)


@lru_cache(maxsize=1)
def _lip_spread() -> tuple[Array, Array]:
    """Return (478, 9) twice: how much each landmark follows those of the upper and lower lip."""
    face = canonical_face()
    middle = face[[UPPER_LIP, LOWER_LIP], 1].mean()
    upper = _spread(face, _LIPS[:, 0], _LIP_REACH, face[:, 1] < middle, [*_LIPS[:, 1], 78, 308])
    lower = _spread(face, _LIPS[:, 1], _LIP_REACH, face[:, 1] > middle, [*_LIPS[:, 0], 78, 308])
    return upper, lower


def _spread(
    face: Array,
    movers: NDArray[np.int64],
    reach: float,
    follows: NDArray[np.bool_],
    still: list[int],
) -> Array:
    distance = np.linalg.norm(face[:, None, :2] - face[None, movers, :2], axis=-1)
    kernel = np.exp(-((distance / reach) ** 2))
    nearness = kernel.max(axis=1, keepdims=True)
    weights = kernel / np.maximum(kernel.sum(axis=1, keepdims=True), 1e-9) * nearness
    weights[~follows] = 0
    weights[still] = 0
    weights[movers] = np.eye(len(movers))
    return np.asarray(weights, dtype=np.float32)


def _distance(face: Array, core: tuple[int, ...]) -> Array:
    scaled = face * np.array([1, 1, 0.5], np.float32)
    gaps = np.linalg.norm(scaled[:, None] - scaled[None, list(core)], axis=-1)
    return np.asarray(gaps.min(axis=1), dtype=np.float32)
