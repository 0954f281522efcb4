"""Action units from landmarks, and the typical motion of each.

An action unit is measured relative to the person's own neutral face, so that a wide mouth or
narrow eyes do not count. Each is a distance in the face frame (iod), minus the part that a
neighbouring unit explains, divided by its range in the training clips. The opening of the lids is
a fraction of that of the neutral face.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.topology import ACTION_UNITS, CHIN, MOUTH_CORNERS, N_LANDMARKS
from reenact.storage import read_asset
from reenact.types import Array

LID_PAIRS_RIGHT: Final = (
    (246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155),
)  # fmt: skip
"""Landmarks of the upper and lower lid of the person's right eye, from temple to nose."""

LID_PAIRS_LEFT: Final = (
    (466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382),
)  # fmt: skip

LIP_PAIRS: Final = (
    (191, 95), (80, 88), (81, 178), (82, 87), (13, 14),
    (312, 317), (311, 402), (310, 318), (415, 324),
)  # fmt: skip
"""Landmarks of the upper and lower inner lip, from the person's right to their left."""

MIDDLES: Final = (LID_PAIRS_RIGHT[2:5], LID_PAIRS_LEFT[2:5], LIP_PAIRS[3:6])
"""The pairs in the middle of right lids, left lids and lips, between which gaps are measured."""

BROWS: Final = ([63, 105, 66, 52, 65, 70, 107], [293, 334, 296, 282, 295, 300, 336])
"""Landmarks of the person's right and left brow whose mean is its height."""

_UPPER_LIP: Final = [0, 37, 267, 39, 269]
_LOWER_LIP: Final = [17, 84, 314, 181, 405]
_LIP_LINE: Final = [*MOUTH_CORNERS, 0, 17, 37, 267, 84, 314]
_INNER_BROW_RIGHT: Final = [107, 55, 66]
_INNER_BROW_LEFT: Final = [336, 285, 296]

_RANGES: Final[dict[str, tuple[float, float]]] = {
    # name: (end of the dead zone, measure at activation 1), iod; lids as a share of the neutral's
    "mouth_open": (0.020, 0.400),
    "jaw_drop": (0.020, 0.260),
    "smile_left": (0.015, 0.160),
    "smile_right": (0.015, 0.160),
    "frown": (0.015, 0.100),
    "pucker": (0.020, 0.200),
    "stretch": (0.020, 0.130),
    "upper_lip_raise": (0.010, 0.080),
    "lower_lip_depress": (0.010, 0.080),
    "mouth_left": (0.012, 0.075),
    "mouth_right": (0.012, 0.075),
    "brow_raise_left": (0.010, 0.080),
    "brow_raise_right": (0.010, 0.080),
    "brow_lower": (0.008, 0.050),
    "blink_left": (0.100, 0.880),
    "blink_right": (0.100, 0.880),
    "eye_wide": (0.080, 0.500),
}

_DEAD: Final = np.array([_RANGES[name][0] for name in ACTION_UNITS], np.float32)
_FULL: Final = np.array([_RANGES[name][1] for name in ACTION_UNITS], np.float32)
_KNEE: Final = np.float32(0.1)

MIRRORED_UNITS: Final = tuple(
    ACTION_UNITS.index(name.replace("left", "\0").replace("right", "left").replace("\0", "right"))
    for name in ACTION_UNITS
)
"""Index map: unit k of a mirrored face is unit MIRRORED_UNITS[k] of the face itself."""


def action_units(shape: Array, neutral: Array) -> Array:
    """Return the activation of each action unit, float32 (17,), 0 to 1.

    They are 0 for the neutral face, monotone and smooth. The order is that of
    `topology.ACTION_UNITS`; left and right are the person's. Any thread may call it.

    Args:
        shape: (478, 3) in the face frame, iod, preferably by `estimate_pose(points, neutral)`.
        neutral: (478, 3), the same person at rest, in the same frame.
    """
    share: Array = (_measures(shape, neutral) - _DEAD) / (_FULL - _DEAD)
    first, second = _ramp(np.stack([share, share - np.float32(1)]))
    return np.asarray(first - second)


def _measures(shape: Array, neutral: Array) -> Array:
    """Return the (17,) signed measures behind the activations, iod; for lids, fractions."""
    rows = _rows()
    found: list[float] = (rows @ (shape - neutral).reshape(-1)).tolist()
    gap, chin, upper, lower, right_x, right_y, left_x, left_y, side, *found = found
    brow_right, brow_left, inner, together, lids_right, lids_left = found
    rest_right, rest_left = (rows[-2:] @ neutral.reshape(-1)).tolist()
    # An opening jaw moves the lips and their corners too, by fractions fitted on the training
    # clips. Only the rest of their motion counts for their own units.
    fall = 0.4 * max(chin, 0.0)
    up_right, up_left = fall - right_y, fall - left_y
    out_right, out_left = side - right_x, left_x - side
    widening = out_left + out_right
    narrowing = -widening - 0.2 * max(chin, 0.0)
    lift = 0.5 * (up_left + up_right)
    opening_right = (rest_right + lids_right) / max(rest_right, 0.05)
    opening_left = (rest_left + lids_left) / max(rest_left, 0.05)
    return np.array(
        [
            gap,
            chin,
            0.8 * up_left + 0.6 * out_left,
            0.8 * up_right + 0.6 * out_right,
            -lift,
            narrowing,
            widening - 1.1 * max(lift, 0.0) - 0.25 * max(gap, 0.0),
            -upper - 0.25 * max(lift, 0.0) - 0.12 * max(gap, 0.0),
            lower - 0.7 * max(chin, 0.0) - 0.4 * max(gap, 0.0),
            side,
            -side,
            -brow_left,
            -brow_right,
            0.6 * inner + 0.8 * together,
            1 - opening_left,
            1 - opening_right,
            0.5 * (opening_left + opening_right) - 1,
        ],
        np.float32,
    )


@lru_cache(maxsize=1)
def _rows() -> Array:
    """Return float32 (15, 1434): maps a flattened deviation to the inputs of `measures`.

    These are lip gap; chin; upper and lower lip; each corner of the mouth, x and y; lips, x; each
    brow; inner brows, down and together; lid gap of each eye.
    """
    rows = np.zeros((15, N_LANDMARKS, 3), np.float32)
    rows[[13, 14, 0]] = [mean_gap(pairs) for pairs in MIDDLES]
    right, left = MOUTH_CORNERS
    means = [
        ([CHIN], 1), (_UPPER_LIP, 1), (_LOWER_LIP, 1), ([right], 0), ([right], 1), ([left], 0),
        ([left], 1), (_LIP_LINE, 0), (BROWS[0], 1), (BROWS[1], 1),
    ]  # fmt: skip
    for row, (points, axis) in enumerate(means, start=1):
        rows[row, points, axis] = 1 / len(points)
    rows[11, _INNER_BROW_RIGHT + _INNER_BROW_LEFT, 1] = 0.5 / len(_INNER_BROW_LEFT)
    rows[12, _INNER_BROW_RIGHT, 0] = 1 / len(_INNER_BROW_RIGHT)
    rows[12, _INNER_BROW_LEFT, 0] = -1 / len(_INNER_BROW_LEFT)
    return rows.reshape(len(rows), -1)


def mean_gap(pairs: Sequence[Sequence[int]]) -> Array:
    """Return weights (478, 3) of a shape: the mean gap between upper and lower landmarks."""
    row = np.zeros((N_LANDMARKS, 3), np.float32)
    upper, lower = np.array(pairs).T
    row[upper, 1], row[lower, 1] = -1 / len(pairs), 1 / len(pairs)
    return row


@lru_cache(maxsize=1)
def action_unit_basis() -> Array:
    """Return the typical deviation of each unit at activation 1, float32 (17, 478, 3), iod.

    Read-only; `python -m tools.expression_basis` learned it from the training clips.
    """
    return read_asset("expression_basis.npz")["basis"]


def typical_deviation(units: Array) -> Array:
    """Return the typical deviation of (..., 17) float32 units, float32 (..., 478, 3), iod."""
    return np.asarray(np.tensordot(units, action_unit_basis(), 1), np.float32)


def mirrored_units(units: Array) -> Array:
    """Return the (..., 17) activations of the mirrored face."""
    return units[..., list(MIRRORED_UNITS)]


def _ramp(x: Array) -> Array:
    """Return a smooth ramp: 0 below 0, a parabola of width `_KNEE`, then a straight line."""
    x = np.maximum(x, np.float32(0))
    return np.where(x < _KNEE, x * x / (2 * _KNEE), x - _KNEE / 2).astype(np.float32)
