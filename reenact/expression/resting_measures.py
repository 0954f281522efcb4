"""Estimates one person's resting measures: how open, wide and high lids, mouth and brows are.

Each of `measures.MEASURES` has a posterior on a grid: the population's distribution times the
likelihood of each distinct state seen, as a change from rest. The learned densities are not
Gaussian: lids shut and lips part, so a shut eye says little about how far it opens.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.expression.face_model import CHANGES, RELATIVE, FaceModel
from reenact.expression.measures import MEASURES, MOUTH_OPEN
from reenact.types import Array

STEPS: Final = np.array([0.01, 0.01, 0.03, 0.03, 0.01, 0.01], np.float32)
"""(6,) iod: a measure is in a new state if it has changed by more since the last counted state."""

GRID: Final = np.stack(
    [
        np.linspace(low, high, 96, dtype=np.float32)
        for low, high in (
            (0.02, 0.26),
            (0.02, 0.26),
            (-0.03, 0.25),
            (0.5, 1.25),
            (0.15, 0.65),
            (0.15, 0.65),
        )
    ]
)
"""(6, 96) values that the resting measures may have, iod."""

_EVIDENCE: Final = np.array([0.6, 0.6, 0.5, 0.2, 0.4, 0.4], np.float32)
"""(6,) weight of each further state: the states of a short run are correlated."""

_UNRELATED: Final = 0.15
"""Share of states that carry no information about the resting measure."""

_FORGET: Final = 1 / 400
"""Share of the evidence that is forgotten with every new state."""

_CLOSED_LIPS: Final = (0.015, 0.03)
"""Mean and standard deviation of the resting gap of the lips, iod: people rest with closed lips."""

_KEPT_EVIDENCE: Final = 0.3
"""Share of the evidence that is kept after a loss of the face."""


class RestingMeasures:
    """The posterior of one person's six resting measures. One thread at a time."""

    def __init__(self, model: FaceModel) -> None:
        mean, deviation = model.rest_mean.copy(), model.rest_deviation.copy()
        mean[MOUTH_OPEN], deviation[MOUTH_OPEN] = _CLOSED_LIPS
        self._prior = -0.5 * ((GRID - mean[:, None]) / deviation[:, None]) ** 2
        self._density = model.change_density
        self._evidence = np.zeros_like(GRID)
        self._last = np.full(len(MEASURES), np.inf, np.float32)
        self._counted = np.zeros(len(MEASURES), bool)
        self._pending: list[tuple[NDArray[np.bool_], Array, float]] = []

    def observe(self, values: Array, weight: float) -> bool:
        """Take in the (6,) measures of one frame, iod; return whether any is in a new state."""
        new = np.abs(values - self._last) > STEPS
        if not new.any():
            return False
        self._pending.append((new, values, weight))
        self._last[new] = values[new]
        return True

    def _count(self) -> None:
        """Add the states that were seen since the last call to the evidence."""
        if not self._pending:
            return
        new, seen, weights = map(np.array, zip(*self._pending, strict=True))
        frames, rows = np.nonzero(new)
        values = seen[frames, rows, None]
        grid, relative = GRID[rows], RELATIVE[rows, None]
        change = np.where(relative, values / grid - 1, values - grid)
        place = (change - CHANGES[0]) * ((len(CHANGES) - 1) / (CHANGES[-1] - CHANGES[0]))
        place = np.minimum(np.maximum(place, 0), len(CHANGES) - 1)
        before = np.minimum(place.astype(np.int64), len(CHANGES) - 2)
        low, high = (self._density[rows[:, None], before + step] for step in (0, 1))
        likelihood = (low + (place - before) * (high - low)) / np.where(relative, grid, 1)
        unrelated = 2 / (grid[:, -1:] - grid[:, :1])
        logs = np.log((1 - _UNRELATED) * likelihood + _UNRELATED * unrelated)
        share = np.where(self._counted[rows], _EVIDENCE[rows], 1) * weights[frames]
        by_row = (rows == np.arange(len(MEASURES))[:, None]).astype(np.float32)
        count = by_row.cumsum(axis=1)
        kept = (1 - _FORGET) ** (count[:, -1:] - count)
        self._evidence *= (1 - _FORGET) ** count[:, -1:]
        self._evidence += (by_row * kept * share.astype(np.float32)) @ logs
        self._counted[rows] = True
        self._pending.clear()

    def fade(self) -> None:
        """Reduce the weight of the evidence so far."""
        self._count()
        self._evidence *= np.float32(_KEPT_EVIDENCE)

    def pin(self, values: Array, rows: Array, deviations: Array) -> None:
        """Set the prior of the rows that are True to (6,) values with (6,) standard deviations."""
        certain = -0.5 * ((GRID - values[:, None]) / deviations[:, None]) ** 2
        self._prior[rows] = certain[rows]

    def estimate(self) -> tuple[Array, Array]:
        """Return the (6,) posterior means and standard deviations, iod."""
        self._count()
        log = self._prior + self._evidence
        share = np.exp(log - log.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mean = (share * GRID).sum(axis=1)
        variance = (share * (GRID - mean[:, None]) ** 2).sum(axis=1)
        return mean, np.sqrt(variance)
