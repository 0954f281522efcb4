"""Soft limits of a face, in units of the target's own features.

The bounds come from the extremes that people reach in clips (`python -m tools.face_model`). Within
the usual range nothing changes; beyond it a measure is compressed towards its bound, which it never
reaches.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.expression.face_model import (
    NOISE,
    FaceModel,
    explained_squares,
    expression_solver,
    face_model,
)
from reenact.expression.measures import MEASURES, measure_rows
from reenact.face.regions import region_weights
from reenact.face.topology import (
    CHIN,
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    N_LANDMARKS,
)
from reenact.types import Array

LIMITED: Final = (*MEASURES, "jaw", "gaze_right_x", "gaze_right_y", "gaze_left_x", "gaze_left_y")
"""What is limited: the six measures, the distance of chin and nose, and each iris in its eye."""

CONTROLLED: Final = (*LIMITED, "upper_lip")
"""What is measured and bent. Also the distance of upper lip and nose, which does not count as
limited: the file of a performance has no place for it."""

JOINT_USUAL, JOINT_MAX = 2.25, 4.0
"""Root mean square weight of the expression modes: 99th percentile of the clips, and the bound.

No person's 99.9th percentile is beyond 3.7."""

RESIDUAL_USUAL, RESIDUAL_MAX = 0.007, 0.0125
"""The same of what no mode explains, iod; no person's is beyond .0113."""

TOLERANCE: Final = 0.005
"""How far a share may exceed its bound before a frame counts as limited: rounding, and lids that
move a brow slightly."""

_NOSE, _LIP = 2, 0
_SIZE: Final = np.array([0, 1, *[MEASURES.index("mouth_width")] * 2, *range(4, len(CONTROLLED))])
_OF_EYES: Final = [0, 1, 7, 9, 8, 10]
"""`_SIZE`: the measure of which each of `CONTROLLED` is a share. `_OF_EYES`: those that are shares
of an eye's width, right and left alternating."""

_ROOM: Final = 0.95
_N_MEASURES: Final = len(MEASURES)


def bend(value: Array | float, usual: Array | float, bound: Array | float) -> Array:
    """Return the value, unchanged up to `usual`, then compressed towards the larger `bound`."""
    over = np.maximum(value - usual, 0)
    if not over.any():
        return np.asarray(value, dtype=np.float32)
    room = np.maximum(np.asarray(bound) - usual, 1e-6) * _ROOM
    return np.asarray(np.minimum(value, usual) + room * np.tanh(over / room), dtype=np.float32)


@lru_cache(maxsize=1)
def controlled_rows() -> Array:
    """Return float32 (12, 1434): maps a flattened shape to `CONTROLLED`, iod."""
    rows = np.zeros((len(CONTROLLED), N_LANDMARKS, 3), np.float32)
    rows[:_N_MEASURES] = measure_rows().reshape(_N_MEASURES, N_LANDMARKS, 3)
    rows[_N_MEASURES, [CHIN, _NOSE], 1] = 1, -1
    rows[-1, [_LIP, _NOSE], 1] = 1, -1
    gaze = rows[_N_MEASURES + 1 : -1]
    for eye, (iris, corners) in enumerate(
        ((IRIS_RIGHT, EYE_CORNERS_RIGHT), (IRIS_LEFT, EYE_CORNERS_LEFT))
    ):
        for axis in (0, 1):
            gaze[2 * eye + axis, iris[0], axis] = 1
            gaze[2 * eye + axis, list(corners), axis] = -0.5
    rows = rows.reshape(len(CONTROLLED), -1)
    rows.setflags(write=False)
    return rows


def features(neutral: Array) -> tuple[Array, Array]:
    """Return (12,) `CONTROLLED` of a resting (478, 3) shape, and what they are shares of, iod."""
    measured = controlled_rows() @ neutral.reshape(-1)
    sizes = measured.take(_SIZE)
    sizes[_OF_EYES] = [
        math.dist(neutral[a, :2].tolist(), neutral[b, :2].tolist())
        for a, b in (EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT)
    ] * 3
    return measured, np.maximum(sizes, np.float32(0.05))


class Limits:
    """The bounds of one face.

    Args:
        neutral: (478, 3) the resting shape on which its features are measured, face frame, iod.
        base: (478, 3) the shape that deviations are added to; the limits are widened to hold it.
        model: its `limits` are (12, 4) shares: lower bound, usual range, upper bound.
    """

    def __init__(self, neutral: Array, base: Array, model: FaceModel | None = None) -> None:
        model = model or face_model()
        self.sizes = features(neutral)[1]
        own = self.shares(base)
        low, usual_low, usual_high, high = model.limits.T
        self.usual_low = np.minimum(usual_low, own)
        self.usual_high = np.maximum(usual_high, own)
        self.low = np.minimum(low, self.usual_low - (usual_low - low) / 2)
        self.high = np.maximum(high, self.usual_high + (high - usual_high) / 2)
        self._room_low = np.maximum(self.usual_low - self.low, 1e-6) * _ROOM
        self._room_high = np.maximum(self.high - self.usual_high, 1e-6) * _ROOM
        self._modes = model.expression
        self._solver = expression_solver(model)
        self._explained = explained_squares(model)
        self._patterns = _patterns(model.expression)

    def shares(self, shape: Array) -> Array:
        """Return the (12,) measures of a (478, 3) shape in units of the face's own features."""
        return np.asarray((controlled_rows() @ shape.reshape(-1)) / self.sizes, dtype=np.float32)

    def bent(self, shares: Array) -> Array:
        """Return the (12,) shares within the bounds; those in the usual range do not change."""
        usual = np.minimum(np.maximum(shares, self.usual_low), self.usual_high)
        over = shares - usual
        if not over.any():
            return shares
        room = np.where(over > 0, self._room_high, self._room_low)
        return np.asarray(usual + room * np.tanh(over / room), dtype=np.float32)

    def beyond(self, shares: Array) -> NDArray[np.bool_]:
        """Return which of `LIMITED` lie outside their bounds, (11,), from the (12,) shares."""
        return np.asarray(np.maximum(self.low - shares, shares - self.high)[:-1] > TOLERANCE)

    def joint(self, deviation: Array) -> tuple[Array, bool]:
        """Return the (478, 3) deviation limited as a whole, and whether it exceeded the bounds.

        The weights of the expression modes, and the residual that no mode explains, are scaled as
        vectors, so that both keep their direction.
        """
        flat = deviation.reshape(-1)
        weights = self._solver @ flat
        size = math.sqrt(float(weights @ weights) / len(weights))
        unexplained = float(flat @ flat) - float(weights @ self._explained @ weights)
        rest = math.sqrt(max(unexplained, 0) / len(flat))
        if size <= JOINT_USUAL and rest <= RESIDUAL_USUAL:
            return deviation, False
        explained = weights @ self._modes
        residual = flat - explained
        kept = bend(size, JOINT_USUAL, JOINT_MAX) / max(size, 1e-6)
        kept_residual = bend(rest, RESIDUAL_USUAL, RESIDUAL_MAX) / max(rest, 1e-6)
        bent = np.asarray(kept * explained + kept_residual * residual, np.float32)
        return bent.reshape(-1, 3), size > JOINT_MAX or rest > RESIDUAL_MAX

    def moved_to(self, shape: Array, shares: Array, measured: Array | None = None) -> Array:
        """Return the (478, 3) shape changed by the most probable expression with these shares.

        It is the mean of a Gaussian conditioned on its measures: `shape + P (shares - measured)`
        with P = C Rᵀ (R C Rᵀ)⁻¹, where R holds the measures' rows and C is the covariance of
        expressions. Each column of P fades out beyond its part of the face.

        Args:
            shape: face frame, iod.
            shares: (12,) as from `shares`.
            measured: (12,) the shares of the shape, if known.
        """
        measured = self.shares(shape) if measured is None else measured
        change = np.asarray((shares - measured) * self.sizes, dtype=np.float32)
        return shape + (change @ self._patterns).reshape(-1, 3)


def _patterns(modes: Array) -> Array:
    """Return (12, 1434) `Pᵀ` of `Limits.moved_to`, each row kept to its part of the face."""
    rows = controlled_rows().astype(np.float64)
    covariance = modes.T.astype(np.float64) @ (modes @ rows.T) + NOISE**2 * rows.T
    patterns = covariance @ np.linalg.inv(rows @ covariance)
    mouth, eyes, brows = np.repeat(region_weights(), 3, axis=1)
    parts = np.stack([eyes, eyes, mouth, mouth, brows, brows, mouth, *[eyes] * 4, mouth], axis=1)
    patterns *= parts
    return np.ascontiguousarray((patterns @ np.linalg.inv(rows @ patterns)).T, dtype=np.float32)
