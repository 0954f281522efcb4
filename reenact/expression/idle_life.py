"""The idle motion of a target without an actor: breathing, blinks, glances of eyes and head.

With `fusion.blinks = "automatic"` its blinks replace those of the actor.

The rates are those of people at rest: 12 to 18 breaths a minute; about 15 blinks a minute, which
close in .1 s and open in .2 s (Schiffman 2001; Kwon et al. 2013); and a glance every few
seconds, in which the eyes move first and the head follows a little. Everything is drawn from
seeded generators, at times that do not depend on the frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.action_units import action_unit_basis, typical_deviation
from reenact.face.regions import IRISES, REGIONS, region_weights
from reenact.face.topology import ACTION_UNITS, N_LANDMARKS
from reenact.imaging import smoothstep
from reenact.types import Array, Expression

BEGIN_S: Final = 2.0
"""Duration of the transition from rest to full idle motion."""

BLINK_S: Final = 4.0
"""Mean time between two blinks."""

LOOK_S: Final = 2.6
"""Mean time between two glances."""

BREATH_S: Final = 4.2
"""Mean length of a breath; each varies by 15 %. Inhaling takes the fraction `_IN` of it."""

_IN: Final = 0.42
_CLOSE_S, _SHUT_S, _OPEN_S = 0.10, 0.04, 0.20
_MIN_WAIT_S: Final = 0.8
"""Least time between two blinks."""

_EASE_S: Final = 0.4
"""Duration of the transition between the actor's lids and those that blink by themselves."""

_SACCADE_S: Final = 0.05
_HEAD_S: Final = 0.35
"""Time constant with which the head follows a glance."""

_BLINKS: Final = [ACTION_UNITS.index("blink_left"), ACTION_UNITS.index("blink_right")]
_WIDE: Final = ACTION_UNITS.index("eye_wide")


@dataclass(frozen=True, slots=True)
class Lids:
    """Lids that blink by themselves, at one moment.

    Attributes:
        shut: how far they are closed, 0 to 1.
        share: how far they replace the actor's, 0 to 1.
    """

    shut: float
    share: float

    @property
    def deviation(self) -> Array:
        """The (478, 3) deviation by which they replace the actor's, face frame, iod."""
        return np.asarray(np.float32(self.share * self.shut) * _blink(), np.float32)

    def of(self, expression: Expression) -> Expression:
        """Return the actor's expression with these lids instead of the actor's own."""
        if not self.share:
            return expression
        units = expression.action_units.copy()
        units[_BLINKS] += np.float32(self.share) * (np.float32(self.shut) - units[_BLINKS])
        units[_WIDE] *= np.float32(1 - self.share)
        kept = 1 - np.float32(self.share) * region_weights()[REGIONS.index("eyes")][:, None]
        kept[IRISES] = 1
        return replace(
            expression,
            deviation=kept * expression.deviation + self.deviation,
            action_units=units,
        )


ACTORS_LIDS: Final = Lids(0.0, 0.0)
"""The actor's own lids; none blinks by itself."""


@lru_cache(maxsize=1)
def _blink() -> Array:
    """Return the (478, 3) deviation of two shut eyes, face frame, iod."""
    return np.asarray(action_unit_basis()[_BLINKS].sum(axis=0), np.float32)


class Blinks:
    """Generates blinks; the same seed gives the same blinks. One thread at a time."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._time_s = 0.0
        self._blink_s = _wait(self._rng, BLINK_S, _MIN_WAIT_S)
        self._share: float | None = None

    def step(self, dt_s: float, automatic: bool = False) -> Lids:
        """Advance by `dt_s` seconds and return the lids.

        Args:
            dt_s: seconds since the last call.
            automatic: True if they are to replace the actor's. The first call determines that at
                once, another value later is eased in.
        """
        self._time_s += dt_s
        goal = float(automatic)
        before = goal if self._share is None else self._share
        way = dt_s / _EASE_S
        self._share = min(max(goal, before - way), before + way)
        return Lids(self._closed(), float(smoothstep(self._share)))

    def _closed(self) -> float:
        while self._time_s > self._blink_s + _CLOSE_S + _SHUT_S + _OPEN_S:
            self._blink_s += _wait(self._rng, BLINK_S, _MIN_WAIT_S)
        t = self._time_s - self._blink_s
        if t < _CLOSE_S + _SHUT_S:
            return float(smoothstep(min(max(t / _CLOSE_S, 0.0), 1.0)))
        return 1.0 - float(smoothstep(min((t - _CLOSE_S - _SHUT_S) / _OPEN_S, 1.0)))


def _wait(rng: np.random.Generator, mean_s: float, least_s: float) -> float:
    """Return a random waiting time with this mean: `least_s` and an exponential part."""
    return least_s + float(rng.exponential(mean_s - least_s))


@dataclass(frozen=True, slots=True)
class Life:
    """The idle motion at one moment.

    Attributes:
        units: (17,) action units, 0 to 1.
        deviation: (478, 3) face frame, iod.
        closure: opening of the lids: 1 as at rest, 0 closed.
        turn: (3,) rotation vector of the head about its joint with the neck, rad.
        breath: (3,) displacement of head and shoulders, iod.
    """

    units: Array
    deviation: Array
    closure: float
    turn: Array
    breath: Array

    @classmethod
    def still(cls) -> Life:
        """Return no motion at all."""
        still = np.zeros(3, np.float32)
        units, deviation = np.zeros(len(ACTION_UNITS)), np.zeros((N_LANDMARKS, 3))
        return cls(units.astype(np.float32), deviation.astype(np.float32), 1.0, still, still)


class IdleLife:
    """Generates idle motion; the same seed gives the same motion. One thread at a time."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._time_s = 0.0
        self._look_s = _wait(self._rng, LOOK_S, 0.6)
        self._breath_s, self._breath_length_s = 0.0, BREATH_S
        self._gaze, self._gaze_before, self._looked_s = np.zeros(2), np.zeros(2), -1.0
        self._head_goal, self._head, self._head_way = np.zeros(3), np.zeros(3), np.zeros(3)
        self._alive_s = 0.0

    def reset(self) -> None:
        """Start from rest again, without restarting the random sequence."""
        self._alive_s = 0.0

    def step(self, dt_s: float, lids: Lids) -> Life:
        """Advance by `dt_s` seconds and return the idle motion, with these lids."""
        self._time_s += dt_s
        self._alive_s += dt_s
        share = float(smoothstep(min(self._alive_s / BEGIN_S, 1.0)))
        shut = max(share, lids.share) * lids.shut
        gaze, turn = share * self._looks(dt_s)
        breath = np.array([0.0, -0.018, 0.0]) * share * self._breathing()
        units = np.zeros(len(ACTION_UNITS), np.float32)
        units[_BLINKS] = shut
        deviation = typical_deviation(units)
        deviation[IRISES, :2] += gaze[:2].astype(np.float32)
        turn = turn + np.array([-0.010, 0.0, 0.0]) * share * self._breathing()
        return Life(
            units,
            deviation,
            1.0 - shut,
            turn.astype(np.float32),
            breath.astype(np.float32),
        )

    def _breathing(self) -> float:
        """Return how far the chest is raised, 0 to 1."""
        while self._time_s >= self._breath_s + self._breath_length_s:
            self._breath_s += self._breath_length_s
            self._breath_length_s = BREATH_S * float(self._rng.uniform(0.85, 1.15))
        phase = (self._time_s - self._breath_s) / self._breath_length_s
        within = phase / _IN if phase < _IN else (1 - phase) / (1 - _IN)
        return float(smoothstep(within))

    def _looks(self, dt_s: float) -> Array:
        """Return (2, 3): the shift of the irises, iod, and the turn of the head, rad."""
        while self._time_s >= self._look_s:
            self._gaze_before, self._looked_s = self._gaze, self._look_s
            if self._rng.random() < 0.45:  # back to the viewer
                self._gaze, self._head_goal = np.zeros(2), self._rng.normal(0, [0.008, 0.012, 0.01])
            else:
                self._gaze = np.clip(
                    self._rng.normal(0, [0.035, 0.010]), [-0.07, -0.02], [0.07, 0.02]
                )
                follow = self._gaze * self._rng.uniform(0.4, 1.4)
                self._head_goal = np.array([follow[1], -follow[0], self._rng.normal(0, 0.015)])
            self._look_s += _wait(self._rng, LOOK_S, 0.6)
        # A critically damped spring, integrated exactly: it is the same at any frame rate.
        rate = 1 / _HEAD_S
        gap = self._head - self._head_goal
        slope = self._head_way + rate * gap
        fall = math.exp(-rate * dt_s)
        self._head = self._head_goal + (gap + slope * dt_s) * fall
        self._head_way = (self._head_way - rate * slope * dt_s) * fall
        moved = float(smoothstep(min((self._time_s - self._looked_s) / _SACCADE_S, 1.0)))
        gaze = self._gaze_before + moved * (self._gaze - self._gaze_before)
        return np.stack([np.append(gaze, 0.0), self._head])
