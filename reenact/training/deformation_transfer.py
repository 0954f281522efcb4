"""Faces bent into other faces, which gives expression transfer its ground truth.

No clip shows two people with the very same expression, so eq. 5 of Fan 2023 has no truth between
people. A smooth map of space makes one: it takes a person's resting face near to another's, and
the same map takes the acting face along. Lids that touch still touch, a mouth that is wider opens
wider (the idea of Noh & Neumann 2001, expression cloning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, LIP_PAIRS
from reenact.face.geometry import canonical_face, farthest_points
from reenact.types import Array

CONTROLS: Final = 96
WIDTHS: Final = (0.32, 0.11)
"""Widths of the two Gaussians of the kernel, iod: heads and features."""

FINE_SHARE: Final = 0.35
RIDGE: Final = 3e-3


class Bender:
    """Smooth maps between the faces of known people.

    Args:
        rests: (P, 478, 3) resting shapes, face frame, iod.
    """

    def __init__(self, rests: Array) -> None:
        face = canonical_face()
        self._controls = _kernel_space(face[_control_landmarks(face)])
        kernel = self.kernel(face[None])[0].astype(np.float64)
        gram = kernel.T @ kernel + RIDGE * len(face) * np.eye(CONTROLS)
        difference = (rests - face).transpose(1, 0, 2).reshape(len(face), -1)
        fields = np.linalg.solve(gram, kernel.T @ difference)
        self.fields: Array = (
            fields.reshape(CONTROLS, len(rests), 3).transpose(1, 0, 2).astype(np.float32)
        )
        """(P, CONTROLS, 3): the map from the canonical face to each person."""

    def kernel(self, points: Array) -> Array:
        """Return (N, M, CONTROLS) of (N, M, 3) points; times a field it is the displacement."""
        flat = _kernel_space(points.reshape(-1, 3))
        squares = (
            (flat**2).sum(axis=1)[:, None]
            + (self._controls**2).sum(axis=1)
            - 2 * flat @ self._controls.T
        )
        wide, fine = (np.exp(squares * np.float32(-0.5 / width**2)) for width in WIDTHS)
        return np.asarray(wide + np.float32(FINE_SHARE) * fine).reshape(*points.shape[:2], -1)

    def bend(
        self, rests: Array, at_rest: Array, acting: Array, fields: Sequence[Array]
    ) -> list[tuple[Array, Array]]:
        """Bend (N, 478, 3) resting and acting shapes by each of several (N, CONTROLS, 3) fields.

        Args:
            rests: (N, 478, 3).
            at_rest: their kernel, since few people rest in many frames.
            acting: (N, 478, 3).
            fields: differences of `fields`.

        Returns:
            For each field the bent resting shapes and the deviations of the bent acting ones.
        """
        at_act = self.kernel(acting)
        result = []
        for field in fields:
            bent = rests + at_rest @ field
            result.append((bent, acting + at_act @ field - bent))
        return result


def _kernel_space(points: Array) -> Array:
    """Depth counts half: the tracker's is uncertain, and faces fold little."""
    return np.asarray(points * np.array([1, 1, 0.5], np.float32), dtype=np.float32)


def _control_landmarks(face: Array) -> list[int]:
    """Return lids and lips, then whatever landmark lies farthest from those chosen."""
    pairs = LID_PAIRS_RIGHT[1:6:2] + LID_PAIRS_LEFT[1:6:2] + LIP_PAIRS[::2]
    chosen = [landmark for pair in pairs for landmark in pair]
    rest = farthest_points(_kernel_space(face), chosen, CONTROLS - len(chosen))
    return [*chosen, *rest]
