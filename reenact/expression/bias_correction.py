"""Corrects an expression for the tracker's systematic errors on the drawn target.

A tracker does not read one person's expression on another's face as it was acted: it finds brows
that nobody lowered, or lips pulled aside. On average this error is linear in the expression.
`tools.read_back` learns it by drawing expressions on many faces and tracking the pictures; it is
subtracted before the target is drawn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.action_units import RANGES, action_unit_basis, measures
from reenact.face.expression_components import component_weights, expression_components
from reenact.face.geometry import canonical_face
from reenact.storage import read_asset
from reenact.types import Array

ASSET: Final = "read_back.npz"

MAX_CORRECTION: Final = 0.3
"""Bound of the correction of one action unit, activation; approached, never exceeded."""

_STEP: Final = 0.3


class ReadBack:
    """The average tracking error for each expression component. Immutable.

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
    """Return (17, 1434): for each unit the deviation that raises only its activation, by 1.

    The typical deviations (`action_unit_basis`) also change other units a little.
    """
    face, basis = canonical_face(), action_unit_basis()
    measured = np.stack([measures(face + _STEP * typical, face) for typical in basis])
    inverse = np.linalg.pinv(measured / (_STEP * RANGES), rcond=0.05)
    return np.asarray(inverse @ basis.reshape(len(basis), -1), dtype=np.float32)


@lru_cache(maxsize=1)
def known_read_back() -> ReadBack:
    """Return the correction that comes with the program."""
    return ReadBack(expression_components(), read_asset(ASSET)["errors"])
