"""The statistical model of faces: who somebody is and what somebody does, apart.

    shape = mean + a · identity + expression_mean + b · expression + noise      (face frame, iod)

with weights a and b of zero mean and unit variance: the modes are scaled by their standard
deviations. The mean and the identity modes are those of *resting* faces, one for each person; the
expression modes are those of every person's differences from the own resting face. Both are made
symmetric by adding each face's mirror image. It is learned by `python -m tools.face_model`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

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
    """What is known of all faces. Shapes are flattened (478, 3), in the face frame, iod.

    Attributes:
        mean: (1434,) of resting faces.
        identity: (K, 1434) modes of resting faces.
        expression_mean: (1434,) of differences from rest: people who speak rest seldom.
        expression: (M, 1434) modes of differences from rest.
        rest_mean: (6,) of the resting measures (`measures.MEASURES`).
        rest_deviation: (6,) their standard deviations.
        change_density: (6, 401) density of a measure's change from rest at `CHANGES`, over the
            distinct states of people who speak.
        limits: (11, 4) of `limits.Limits`.
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
        """Return the (478, 3) shape without what of it is more likely expression than identity."""
        modes = np.concatenate([self.identity, self.expression])
        gram = modes @ modes.T + _RIDGE**2 * np.eye(len(modes), dtype=np.float32)
        weights = np.linalg.solve(gram, modes @ (shape.reshape(-1) - self.mean))
        does = weights[len(self.identity) :] @ self.expression
        return np.asarray(shape - does.reshape(-1, 3), dtype=np.float32)


@lru_cache(maxsize=4)
def expression_solver(model: FaceModel) -> Array:
    """Return float32 (M, 1434): what a flattened deviation is multiplied by for its weights."""
    modes = model.expression
    return np.linalg.solve(modes @ modes.T + _noise(modes), modes).astype(np.float32)


def explained_squares(model: FaceModel) -> Array:
    """Return float32 (M, M) Q: the weights w of `expression_solver` explain w @ Q @ w.

    That is a part of the sum of squares of the deviation.
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
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as archive:
        arrays = {field.name: archive[field.name].astype(np.float32) for field in fields(FaceModel)}
    for array in arrays.values():
        array.setflags(write=False)
    return FaceModel(**arrays)
