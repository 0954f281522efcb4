"""Where the inside of a driven mouth comes from in the reference: teeth keep their size.

A mesh between the lips stretches a smiling reference's teeth when the mouth opens. Here what is
inside the mouth hangs from the upper lip as it is in the reference, however far the lower lip
goes. Below it, and beside it in a wider mouth, the reference's lower lip and corners repeat: there
the network draws what the reference does not show.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.facemesh import LIPS_INNER
from reenact.geometry import estimate_pose
from reenact.types import Array

_HALF: Final = len(LIPS_INNER) // 2
_LOWER: Final = list(LIPS_INNER[: _HALF + 1])
_UPPER: Final = [LIPS_INNER[0], *LIPS_INNER[:_HALF:-1], LIPS_INNER[_HALF]]
"""The inner lips from the corner on the image's left to the other one."""

_LEAST_FORESHORTENING: Final = 0.3


class _Mouth:
    """The gap between the lips, measured along the line between its corners and across it, px."""

    def __init__(self, points: Array) -> None:
        first, last = points[_LOWER[0]], points[_LOWER[-1]]
        self.corner_line = last - first
        along = self.corner_line[:2] / max(float(np.hypot(*self.corner_line[:2])), 1e-6)
        self._axes = np.stack([along, np.array([-along[1], along[0]])])
        self._middle = (first[:2] + last[:2]) / 2
        self._upper, self._lower = (self.measure(points[lip, :2]) for lip in (_UPPER, _LOWER))

    def measure(self, places: Array) -> Array:
        """Return (N, 2), along and across, of (N, 2) places in px."""
        return np.asarray((places - self._middle) @ self._axes.T, dtype=np.float32)

    def places(self, along: Array, across: Array) -> Array:
        """Return (N, 2) px, the inverse of `measure`."""
        both = np.stack([along, across], axis=1)
        return np.asarray(both @ self._axes + self._middle, dtype=np.float32)

    def beyond_corners(self, along: Array) -> Array:
        """Return how far outside the nearer corner, signed; 0 between the corners."""
        reach = float(np.hypot(*self.corner_line[:2])) / 2
        return np.asarray(along - np.clip(along, -reach, reach))

    def upper(self, along: Array) -> Array:
        """Return how far across the upper lip is."""
        return _height(self._upper, along)

    def lower(self, along: Array) -> Array:
        """Return how far across the lower lip is."""
        return _height(self._lower, along)


def _height(lip: Array, along: Array) -> Array:
    order = np.argsort(lip[:, 0])
    return np.interp(along, lip[order, 0], lip[order, 1])


def interior_sources(places: Array, reference: Array, drive: Array) -> Array:
    """Say what the reference has to offer for places inside the driven mouth.

    Args:
        places: (N, 2) crop px; those a little outside find what is as far outside there.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks to be drawn, crop px.

    Returns:
        float32 (N, 2) crop px.
    """
    shown, wanted = _Mouth(reference), _Mouth(drive)
    before, after = estimate_pose(reference), estimate_pose(drive)
    grown = np.float32(after.scale / before.scale)
    turned = after.rotation @ before.rotation.T @ shown.corner_line
    foreshortened = float(np.hypot(*turned[:2])) / max(
        float(np.hypot(*shown.corner_line[:2])), 1e-6
    )
    along, across = wanted.measure(places).T
    drop = across - wanted.upper(along)
    beyond_lip = np.maximum(across - np.maximum(wanted.lower(along), wanted.upper(along)), 0)
    outside = wanted.beyond_corners(along) / grown
    along = along / (grown * max(foreshortened, _LEAST_FORESHORTENING))
    along = along - shown.beyond_corners(along) + outside
    top = shown.upper(along)
    opening = np.maximum(shown.lower(along) - top, 0)
    across = top + np.minimum((drop - beyond_lip) / grown, opening) + beyond_lip / grown
    return shown.places(along, across)
