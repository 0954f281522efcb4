"""What is read off a driven face, and what to add so that it is what was meant.

One person's expression on another's face is not read as it was acted: a tracker that sees the
picture finds brows that nobody lowered, lips that lie aside. In the mean over people that
is linear in the expression, and learned (`training.read_back`): acted on many faces, drawn, and
read back. What is read too much is taken away beforehand.
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

MOST: Final = 0.6
"""Activation that a correction of one action unit tends to."""

_STEP: Final = 0.3


class ReadBack:
    """What expressions are read as beside themselves. Immutable.

    Args:
        components: (K, 468, 3), as of `residual_flow.ResidualFlow`.
        errors: (K, 17); how much too much of each action unit is read for one of a component.
    """

    def __init__(self, components: Array, errors: Array) -> None:
        self.components = components
        self.errors = np.asarray(errors, dtype=np.float32)

    def correction(self, deviation: Array) -> Array:
        """Return what is to be added to a target's deviation, float32 (478, 3).

        Args:
            deviation: (478, 3) from the target's neutral, face frame, iod.
        """
        error = component_weights(deviation, self.components) @ self.errors
        error = MOST * np.tanh(error / MOST)
        return np.asarray(np.tensordot(-error, _single_units(), 1), dtype=np.float32)


@lru_cache(maxsize=1)
def _single_units() -> Array:
    """Return (17, 478, 3): the deviation by which each unit is measured 1 more and the others not.

    The typical deviations (`action_unit_basis`) change their neighbours' measures a little as well.
    """
    face, basis = canonical_face(), action_unit_basis()
    measured = np.stack([measures(face + _STEP * typical, face) for typical in basis])
    inverse = np.linalg.pinv(measured / (_STEP * RANGES), rcond=0.05)
    return np.asarray(np.tensordot(inverse, basis, 1), dtype=np.float32)


@lru_cache(maxsize=1)
def known_read_back() -> ReadBack:
    """Return the shipped one."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return ReadBack(expression_components(), arrays["errors"])
