"""Models mouth and eyes as openings between an upper and a lower edge."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, LIP_PAIRS
from reenact.types import Array, Pose

Edges = tuple[list[int], list[int]]
"""Landmarks of the upper and the lower edge, each from the corner on the image's left."""

_MIN_FORESHORTENING: Final = 0.3


def _edges(first: int, pairs: tuple[tuple[int, int], ...], last: int) -> Edges:
    upper, lower = zip(*pairs, strict=True)
    return [first, *upper, last], [first, *lower, last]


MOUTH: Final = _edges(78, LIP_PAIRS, 308)
RIGHT_EYE: Final = _edges(33, LID_PAIRS_RIGHT, 133)
LEFT_EYE: Final = _edges(362, LID_PAIRS_LEFT[::-1], 263)


class Opening:
    """The coordinate system of an opening, px: along the line between its corners, and across it.

    The origin is midway between the corners; across increases towards the chin. Immutable.

    Args:
        points: (478, 3) landmarks, crop px.
        edges: the landmarks that bound the opening.
    """

    def __init__(self, points: Array, edges: Edges) -> None:
        first, last = (points[edges[0][end]] for end in (0, -1))
        self.corner_line = last - first
        length = math.hypot(*self.corner_line[:2].tolist())
        self.reach = length / 2
        x, y = (self.corner_line[:2] / max(length, 1e-6)).tolist()
        self._axes = np.array([[x, y], [-y, x]], np.float32)
        self._middle = (first[:2] + last[:2]) / 2
        self._upper, self._lower = (self.edge(points[edge, :2]) for edge in edges)

    def measure(self, places: Array) -> Array:
        """Return the coordinates (N, 2), along and across, of (N, 2) places in px."""
        return np.asarray((places - self._middle) @ self._axes.T, dtype=np.float32)

    def edge(self, places: Array) -> NDArray[Any]:
        """Return along and across, float64 (2, N), of places on an edge, from left to right."""
        measured = self.measure(places).astype(np.float64).T
        return np.asarray(measured.take(measured[0].argsort(), axis=1))

    def places(self, along: NDArray[np.floating[Any]], across: NDArray[np.floating[Any]]) -> Array:
        """Return the places (N, 2) in px of coordinates; the inverse of `measure`."""
        both = np.array([along, across], np.float32).T
        return np.asarray(both @ self._axes + self._middle, dtype=np.float32)

    def beyond_corners(self, along: Array) -> Array:
        """Return the signed distance beyond the nearer corner; 0 between the corners."""
        return np.asarray(along - np.minimum(np.maximum(along, -self.reach), self.reach))

    def height(self) -> float:
        """Return the gap midway between the corners, px; it is 0 or less if the opening is shut."""
        return float(np.interp(0, *self._lower) - np.interp(0, *self._upper))

    def upper(self, along: NDArray[np.floating[Any]]) -> Array:
        """Return the coordinate across of the upper edge."""
        return np.interp(along, *self._upper)

    def lower(self, along: NDArray[np.floating[Any]]) -> Array:
        """Return the coordinate across of the lower edge."""
        return np.interp(along, *self._lower)


def growth(shown: Opening, before: Pose, after: Pose) -> tuple[float, float]:
    """Return the factors by which a rigid opening grows along and across as the head moves."""
    grown = after.scale / before.scale
    turned = after.rotation @ before.rotation.T @ shown.corner_line
    foreshortened = float(np.hypot(*turned[:2])) / max(2 * shown.reach, 1e-6)
    return grown * max(foreshortened, _MIN_FORESHORTENING), grown
