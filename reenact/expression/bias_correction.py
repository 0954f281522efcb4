"""Corrects an expression for what a tracker misreads on the drawn target.

One person's expression on another's face is not read as it was acted: a tracker that sees the
picture finds brows that nobody lowered, or lips pulled aside. On average this error is linear in
the expression. It is learned by drawing expressions on many faces and tracking the pictures
(`tools.read_back`), and subtracted beforehand.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

from reenact.face.action_units import RANGES, action_unit_basis, measures
from reenact.face.expression_components import component_weights, expression_components
from reenact.face.geometry import canonical_face
from reenact.types import Array

ASSET: Final = "read_back.npz"

MAX_CORRECTION: Final = 0.6
"""Activation that the correction of one action unit approaches but never exceeds."""

_STEP: Final = 0.3


class ReadBack:
    """The average misreading of each component of expression. Immutable.

    Args:
        components: (K, 468, 3), as of `skin_flow.SkinFlow`.
        errors: (K, 17) excess activation of each action unit per unit of a component.
    """

    def __init__(self, components: Array, errors: Array) -> None:
        self.components = components
        self.errors = np.asarray(errors, dtype=np.float32)

    def correction(self, deviation: Array) -> Array:
        """Return the correction to add to a target's deviation, float32 (478, 3).

        Args:
            deviation: (478, 3) from the target's neutral, face frame, iod.
        """
        error = component_weights(deviation, self.components) @ self.errors
        error = MAX_CORRECTION * np.tanh(error / MAX_CORRECTION)
        return np.asarray(-error @ _single_units(), dtype=np.float32).reshape(-1, 3)


@lru_cache(maxsize=1)
def _single_units() -> Array:
    """Return (17, 1434): for each unit the deviation that raises its activation alone, by 1.

    The typical deviations (`action_unit_basis`) also change other units a little.
    """
    face, basis = canonical_face(), action_unit_basis()
    measured = np.stack([measures(face + _STEP * typical, face) for typical in basis])
    inverse = np.linalg.pinv(measured / (_STEP * RANGES), rcond=0.05)
    return np.asarray(inverse @ basis.reshape(len(basis), -1), dtype=np.float32)


@lru_cache(maxsize=1)
def known_read_back() -> ReadBack:
    """Return the correction that comes with the program."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return ReadBack(expression_components(), arrays["errors"])
