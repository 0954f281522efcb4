"""The statistical model of faces, which separates identity from expression.

    shape = mean + a · identity + expression_mean + b · expression + noise      (face frame, iod)

with weights a and b of zero mean and unit variance: the modes are scaled by their standard
deviations. Mean and identity modes come from *resting* faces, one for each person; the expression
modes come from each person's differences from their own resting face. Both are symmetric, because
each face's mirror image is added. `python -m tools.face_model` learns the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from reenact.storage import read_asset
from reenact.types import Array

ASSET: Final = "face_model.npz"

RELATIVE: Final = np.array([1, 1, 0, 1, 0, 0], bool)
"""(6,) measures whose change from rest is a share of the resting value; others are in iod."""

CHANGES: Final = np.linspace(-1.5, 2.5, 401, dtype=np.float32)
"""The changes from rest at which `FaceModel.change_density` is tabulated."""

NOISE: Final = 0.004
"""Standard deviation of the tracker's noise, iod."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceModel:
    """The arrays of the model. Shapes are flattened (478, 3), in the face frame, iod.

    Attributes:
        mean: (1434,) of resting faces.
        identity: (K, 1434) modes of resting faces.
        expression_mean: (1434,) of differences from rest; not 0, as people who speak seldom rest.
        expression: (M, 1434) modes of differences from rest.
        rest_mean: (6,) of the resting measures (`measures.MEASURES`).
        rest_deviation: (6,) their standard deviations.
        change_density: (6, 401) density of a measure's change from rest at `CHANGES`, over the
            distinct states of people who speak.
        limits: (12, 4) of `limits.Limits`.
    """

    mean: Array
    identity: Array
    expression_mean: Array
    expression: Array
    rest_mean: Array
    rest_deviation: Array
    change_density: Array
    limits: Array

    def without_expression(self, shape: Array) -> Array:
        """Return the (478, 3) shape without the part that the model explains as expression."""
        weights = self._weights(shape.reshape(-1) - self.mean)
        does = weights[len(self.identity) :] @ self.expression
        return np.asarray(shape - does.reshape(-1, 3), dtype=np.float32)

    def unexplained(self, shape: Array) -> float:
        """Return the root mean square distance, iod, of (478, 3) landmarks from the model's."""
        flat = shape.reshape(-1) - self.mean - self.expression_mean
        modes = np.concatenate([self.identity, self.expression])
        rest = (flat - self._weights(flat) @ modes).reshape(-1, 3)
        return float(np.sqrt((rest**2).sum(axis=1).mean()))

    def _weights(self, flat: Array) -> Array:
        """Return the most probable weights of identity and expression, one after the other."""
        modes = np.concatenate([self.identity, self.expression])
        gram = modes @ modes.T + _RIDGE**2 * np.eye(len(modes), dtype=np.float32)
        return np.asarray(np.linalg.solve(gram, modes @ flat), dtype=np.float32)


@lru_cache(maxsize=4)
def expression_solver(model: FaceModel) -> Array:
    """Return float32 (M, 1434): maps a flattened deviation, iod, to its weights of the modes."""
    modes = model.expression
    return np.linalg.solve(modes @ modes.T + _noise(modes), modes).astype(np.float32)


def explained_squares(model: FaceModel) -> Array:
    """Return the float32 (M, M) matrix Q of the explained sum of squares.

    Of a deviation's sum of squares, the weights w of `expression_solver` explain w @ Q @ w.
    """
    modes = model.expression
    return np.asarray(modes @ modes.T + 2 * _noise(modes), np.float32)


def _noise(modes: Array) -> Array:
    return np.asarray(modes.shape[1] * NOISE**2 / 1e3 * np.eye(len(modes)), np.float32)


_RIDGE: Final = 0.1
"""Standard deviation of what no mode explains, iod, summed in squares over the landmarks."""


@lru_cache(maxsize=1)
def face_model() -> FaceModel:
    """Return the model that comes with the program; its arrays are read-only."""
    return FaceModel(**read_asset(ASSET))
