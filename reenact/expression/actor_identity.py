"""Estimates the actor's neutral face from all frames seen, whatever the actor does in them.

Three steps, from the statistics of all people to the details of this one (`docs/actor.md`):

1. `resting_measures`: how open, wide and high lids, mouth and brows are at rest.
2. The face with these measures: the posterior mean of identity, with expression and noise
   marginalised, given the mean of the distinct states seen.
3. Individual detail: the mean, region by region, of the states that are at rest there.

A state counts once, however long it lasts: a smile held for a minute has no more weight than one
held for a second.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from reenact.expression.face_model import NOISE, RELATIVE, FaceModel, face_model
from reenact.expression.measures import (
    BROW_LEFT_UP,
    BROW_RIGHT_UP,
    LID_LEFT,
    LID_RIGHT,
    MEASURES,
    MOUTH_OPEN,
    MOUTH_WIDTH,
    measure,
    measure_rows,
)
from reenact.expression.resting_measures import STEPS, RestingMeasures
from reenact.face.geometry import rotation_matrix, rotation_vector
from reenact.face.regions import part_weights, region_weights
from reenact.face.skull import joined_at, joint_of
from reenact.face.topology import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT
from reenact.types import Array, Pose

EASE_S: Final = 0.22
"""Time constant with which a new estimate of the neutral is eased in: half a second in all."""

_SETTLED_S: Final = 10 * EASE_S
"""If the estimate has not changed for so long, the neutral has reached it."""

OTHER_FACE: Final = 0.023
"""Distance of two shapes (`shape_distance`, iod) above which they belong to two people.

On clips of held-out people, 2 % of a person's own moments and two thirds of other people's lie
beyond it. A false alarm costs a few seconds of learning the same face anew.
"""

_KEPT_STATES: Final = 4.0
"""After the face was lost, all earlier states together weigh as much as so many new ones."""

_STATE: Final = 0.012
"""Root mean square distance, iod, above which two shapes are distinct states."""

_STATES: Final = 128
_FRONTAL: Final = 0.4
"""Angle to the camera, rad, at which a frame has half the weight."""

_MIN_TRUST: Final = 0.15
"""Weight of an untrusted frame; not 0, because trust depends on the neutral, which may be wrong."""

_KAPPA: Final = 0.1
"""Variance of the mean expression of one person's states, however many, relative to one state's."""

_OWN: Final = 0.01
"""Standard deviation of individual detail beyond the modes of identity, iod."""

_CALM: Final = np.array([0.16, 0.16, 0.03, 0.045, 0.03, 0.03], np.float32)
"""(6,) tolerance within which a state's measures count as rest: iod; for lids and mouth width a
fraction."""

_CALM_COUNT: Final = 0.7
"""Number of resting states that weigh as much as the model."""

_PRIOR_POSE: Final = 0.05
"""Weight of the assumption that an actor at rest faces the camera."""

_ARRIVAL_PLACE_S: Final = 0.4
_PLACE_S: Final = 60.0
"""Shortest and longest time constant with which place and size of the head at rest follow the
actor, as those of the body do (`body_motion`): who moves the chair does not stay beside the middle.
In between it is the time since the actor came, so that the place is the mean over all of it."""

_UPDATE_S: Final = 0.2
_RECENT_S: Final = 0.3
_SET_BY_USER: Final = 40.0
"""Weight of a face that the user set as the neutral, in resting states."""

_STORED: Final = 10.0
"""Weight of a neutral from an earlier run, which may have been short, or of somebody else."""

_IMPLAUSIBLE: Final = 2.2
"""Standard deviations beyond which shut eyes or an open mouth are rejected as neutral."""

_EXPRESSIVE: Final = np.array([-1, -1, 1, 0, 0, 0])
"""(6,) sign of the change by which expressions move a measure; other changes are rejected only
beyond twice `_IMPLAUSIBLE`."""


_GATES: Final = np.array(
    [
        [0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 0.3, 0],
        [0, 1, 0, 0, 0, 0.3],
        [0.3, 0, 0, 0, 1, 0],
        [0, 0.3, 0, 0, 0, 1],
        [0, 0, 0.5, 0.5, 0.2, 0.2],
    ],
    np.float32,
)
"""(6, 6) how much unrest in each measure (columns) affects each of `regions.PARTS`."""


@dataclass(frozen=True, slots=True)
class Neutral:
    """A resting face: its (478, 3) shape in the face frame, iod, and its head pose."""

    shape: Array
    pose: Pose


class ActorIdentity:
    """Estimates the actor's resting face from frames. One thread at a time.

    Args:
        stored: (478, 3) the actor's neutral from an earlier run, face frame, iod; None: none.

    Attributes:
        current: the neutral to use now; None before the first frame.
        goal: (478, 3) the latest estimate of the shape, face frame, iod, towards which `current` is
            eased; None before the first frame.
        certainty: 0 to 1, how much of the neutral comes from the actor rather than the population.
        problem: why part of the face last set as the neutral was rejected, in one sentence; "" if
            none was.
    """

    def __init__(self, stored: Array | None = None) -> None:
        self._model = face_model()
        self._solver = _Posterior(self._model)
        self._shapes = np.empty((_STATES, len(self._model.mean)), np.float32)
        self._squares = np.empty(_STATES, np.float32)
        self._values = np.empty((_STATES, len(MEASURES)), np.float32)
        self._turns = np.empty((_STATES, 3), np.float32)
        self._frontal = np.empty(_STATES, np.float32)
        self._rank = np.empty(_STATES, np.float32)
        self._recent: deque[tuple[float, Array, Pose]] = deque()
        self.current: Neutral | None = None
        self.forget()
        self.come_back()
        if stored is not None:
            self.problem = self._pin(stored, None, _STORED)

    def forget(self) -> None:
        """Start again with another person; the neutral is eased from its current state."""
        self._measures = RestingMeasures(self._model)
        self._count = self._latest = 0
        self._smooth: Array | None = None
        self._pinned: tuple[Array, Array, Array | None] | None = None
        self._time_s: float | None = None
        self._since_update_s = math.inf
        self._changed = False
        self.goal: Array | None = None
        self._recent.clear()
        self.certainty = 0.0
        self.problem = ""

    def observe(self, shape: Array, pose: Pose, time_s: float, trust: float = 1.0) -> Neutral:
        """Take in one frame and return the neutral.

        Args:
            shape: (478, 3) in the face frame of the canonical face, iod.
            pose: of the head.
            time_s: of the frame; an earlier time than before starts a new run of the same actor.
            trust: 0 to 1, how far the tracker is trusted.
        """
        if self._time_s is not None and time_s < self._time_s:
            self.interrupt()
        dt_s = 0.0 if self._time_s is None else min(time_s - self._time_s, 0.2)
        self._time_s = time_s
        self._recent.append((time_s, shape, pose))
        while self._recent[0][0] < time_s - _RECENT_S:
            self._recent.popleft()
        self._collect(shape, pose, trust)
        self._since_update_s += dt_s
        if self.goal is None or (self._changed and self._since_update_s >= _UPDATE_S):
            self.goal = self._estimate()
            self._since_update_s, self._changed = 0.0, False
        self._settle(pose, dt_s)
        self.current = self._eased(dt_s)
        return self.current

    def come_back(self) -> None:
        """Find place and size of the head at rest anew, because the actor was away."""
        self._place: Array | None = None
        self._present_s = 0.0

    def interrupt(self) -> None:
        """Forget the last frames and weigh earlier ones less: the person may have changed."""
        self._recent.clear()
        self._measures.fade()
        count = self._count
        total = float(self._frontal[:count].sum())
        self._frontal[:count] *= np.float32(min(_KEPT_STATES / max(total, 1e-6), 1.0))
        self._smooth = None
        self._time_s = None

    def set_now(self) -> str:
        """Set the mean face of the last 0.3 s as the neutral, except implausible parts.

        Returns:
            Which parts of the face were rejected, in one sentence; "" if none was.
        """
        if not self._recent:
            return ""
        shape = np.mean([shape for _, shape, _ in self._recent], axis=0)
        turn = np.mean([rotation_vector(pose.rotation) for _, _, pose in self._recent], axis=0)
        self.problem = self._pin(shape, turn, _SET_BY_USER)
        self._place = np.mean([_place(pose) for _, _, pose in self._recent], axis=0)
        self._present_s = math.inf
        self.goal, self._since_update_s = self._estimate(), 0.0
        return self.problem

    def disagrees(self) -> bool:
        """Return whether the recent frames clearly show another person than the neutral."""
        if self.goal is None or len(self._recent) < 3:
            return False
        seen = np.median([shape for _, shape, _ in self._recent], axis=0)
        known = self._model.without_expression(self.goal)
        return shape_distance(self._model.without_expression(seen), known) > OTHER_FACE

    def _collect(self, shape: Array, pose: Pose, trust: float) -> None:
        values = measure(shape)
        cosine = (float(pose.rotation.trace()) - 1) / 2
        angle = math.acos(min(max(cosine, -1.0), 1.0))
        frontal = max(trust, _MIN_TRUST) / (1 + (angle / _FRONTAL) ** 4)
        share = np.float32(0.4)
        self._smooth = (
            values if self._smooth is None else self._smooth + share * (values - self._smooth)
        )
        self._changed |= self._measures.observe(self._smooth, frontal)
        flat = shape.reshape(-1) - self._model.mean
        count = self._count
        square = float(flat @ flat)
        for states in (slice(self._latest, self._latest + 1), slice(count)) if count else ():
            distances = self._squares[states] - 2 * (self._shapes[states] @ flat) + square
            nearest = int(distances.argmin())
            if distances[nearest] < len(flat) * _STATE**2:
                self._latest = (states.start or 0) + nearest
                return
        index = count if count < _STATES else int(self._rank.argmin())
        self._shapes[index], self._squares[index] = flat, square
        self._values[index], self._turns[index] = values, rotation_vector(pose.rotation)
        self._frontal[index] = frontal
        self._rank[index] = np.inf
        self._count, self._latest = max(count, index + 1), index
        self._changed = True

    def _estimate(self) -> Array:
        """Return the shape at rest; `_goal_turn` is then the rotation vector of the head."""
        count = self._count
        values, frontal = self._values[:count], self._frontal[:count]
        rest, deviation = self._measures.estimate()
        total = max(float(frontal.sum()), 1e-3)
        mean = frontal @ self._shapes[:count] / np.float32(total)
        shape = self._solver.mean(mean, total, rest, deviation)

        tolerance = np.where(RELATIVE, _CALM * rest, _CALM)
        unrest = ((values - rest) / tolerance) ** 2
        calm = np.exp(-0.5 * unrest @ _GATES.T) * frontal[:, None]
        self._rank[:count] = calm.sum(axis=1)
        weight = calm.sum(axis=0)
        total_shape = calm.T @ self._shapes[:count]
        turn_weight = calm.mean(axis=1)
        total_turn = turn_weight @ self._turns[:count]
        turn_sum = float(turn_weight.sum())
        if self._pinned is not None:
            pinned, extra, turn = self._pinned
            weight = weight + extra
            total_shape += extra[:, None] * pinned
            if turn is not None:
                total_turn, turn_sum = _SET_BY_USER * turn, _SET_BY_USER
        trust = weight / (weight + _CALM_COUNT)
        own = (total_shape / np.maximum(weight, 1e-6)[:, None]) - shape
        share = (part_weights() * trust[:, None])[..., None]
        own = (share * own.reshape(len(own), -1, 3)).sum(axis=0)
        self.certainty = float(trust.mean())
        neutral = (shape + self._model.mean).reshape(-1, 3) + own
        self._goal_turn = np.asarray(total_turn / (turn_sum + _PRIOR_POSE), dtype=np.float32)
        return np.asarray(neutral, dtype=np.float32)

    def _pin(self, shape: Array, turn: Array | None, weight: float) -> str:
        """Add a face as `weight` resting states; return which parts were rejected, "" if none."""
        values = measure(shape)
        rest, deviation = self._measures.estimate()
        tolerance = np.where(RELATIVE, _CALM * rest, _CALM)
        off = (values - rest) / np.sqrt(deviation**2 + tolerance**2)
        usual_error = np.where(off * _EXPRESSIVE > 0, _IMPLAUSIBLE, 2 * _IMPLAUSIBLE)
        believed = np.abs(off) < usual_error
        self._measures.pin(values, believed, STEPS * np.float32(_SET_BY_USER / weight / 2))
        regions = ~((_GATES > 0.4) & ~believed).any(axis=1)
        flat = shape.reshape(-1) - self._model.mean
        extra = np.float32(weight) * regions.astype(np.float32)
        self._pinned = flat.astype(np.float32), extra, turn
        wrong = [text for row, sign, text in _WRONG if not believed[row] and sign * off[row] > 0]
        if not wrong:
            return ""
        shown = " and ".join(dict.fromkeys(wrong))
        return f"The neutral was taken with {shown}; that part of the face is not used."

    def _eased(self, dt_s: float) -> Neutral:
        """Return the neutral, nearer to the estimate than before."""
        assert self.goal is not None
        assert self._place is not None
        share = np.float32(1 - math.exp(-dt_s / EASE_S))
        if self.current is None or self._since_update_s > _SETTLED_S:
            shape, self._turn = self.goal, self._goal_turn
        else:
            shape = self.current.shape + share * (self.goal - self.current.shape)
            self._turn = self._turn + share * (self._goal_turn - self._turn)
        scale = math.exp(self._place[3])
        return Neutral(shape, joined_at(self._place[:3], rotation_matrix(self._turn), scale))

    def _settle(self, pose: Pose, dt_s: float) -> None:
        """Let place and size of the head at rest follow the actor."""
        now = _place(pose)
        if self._place is None:
            self._place = now
        time_s = min(max(self._present_s, _ARRIVAL_PLACE_S), _PLACE_S)
        self._place = self._place + np.float32(1 - math.exp(-dt_s / time_s)) * (now - self._place)
        self._present_s += dt_s


class _Posterior:
    """The posterior mean of a person's resting shape, in closed form.

    For n states the mean of `shape - mean - expression_mean` is Gaussian around the person's own
    resting shape (modes U and a residual of variance τ²), with covariance
    (κ + 1/n) WᵀW + σ²/n of expression and noise. Woodbury's identity allows solving in the space
    of the 80 modes and the 6 measures; only the result is a whole face.
    """

    def __init__(self, model: FaceModel) -> None:
        self._expression_mean = model.expression_mean
        self._identity = model.identity
        self._modes = np.concatenate([model.identity, model.expression])
        self._gram = (self._modes @ self._modes.T).astype(np.float64)
        self._rows = rows = measure_rows()
        self._offset = rows @ model.mean
        self._rows_modes = rows @ self._modes.T
        by_identity = self._rows_modes[:, : len(model.identity)]
        self._prior_rows = model.identity.T @ by_identity.T + np.float32(_OWN**2) * rows.T
        self._modes_prior_rows = self._modes @ self._prior_rows
        self._rows_prior_rows = rows @ self._prior_rows

    def mean(self, states: Array, count: float, rest: Array, deviation: Array) -> Array:
        """Return the (1434,) resting shape minus the model's mean, iod.

        Args:
            states: (1434,) mean of the states minus the model's mean.
            count: their number.
            rest: (6,) resting measures, iod.
            deviation: (6,) standard deviations of the resting measures, iod.
        """
        identities = len(self._identity)
        scale = np.ones(len(self._modes))
        scale[identities:] = math.sqrt(_KAPPA + 1 / count)
        noise = _OWN**2 + NOISE**2 / count
        seen = states - self._expression_mean
        matrix = self._gram * scale[:, None] * scale
        matrix.flat[:: len(scale) + 1] += noise
        # Column 0 is the mean state, the others are the measures. For each, the part that is
        # expression or noise is solved for first; the rest is identity: as measures, then a face.
        right = np.column_stack([self._modes @ seen, self._modes_prior_rows])
        solved = scale[:, None] * np.linalg.solve(matrix, right * scale[:, None])
        by_modes = (right[:identities] - self._gram[:identities] @ solved) / noise
        by_rows = np.column_stack([self._rows @ seen, self._rows_prior_rows])
        by_rows = (by_rows - self._rows_modes @ solved) / noise
        measured = self._rows_modes[:, :identities] @ by_modes + _OWN**2 * by_rows
        spread = self._rows_prior_rows - measured[:, 1:] + np.diag(deviation**2 + 1e-6)
        change = np.linalg.solve(spread, rest - self._offset - measured[:, 0])
        share = np.append(1, -change)
        prior = self._prior_rows @ change.astype(np.float32)
        own = seen - prior - (solved @ share).astype(np.float32) @ self._modes
        shape = (by_modes @ share).astype(np.float32) @ self._identity
        return np.asarray(shape + np.float32(_OWN**2 / noise) * own + prior, dtype=np.float32)


_WRONG: Final = (
    (LID_RIGHT, -1, "shut eyes"),
    (LID_LEFT, -1, "shut eyes"),
    (LID_RIGHT, 1, "wide open eyes"),
    (LID_LEFT, 1, "wide open eyes"),
    (MOUTH_OPEN, 1, "an open mouth"),
    (MOUTH_WIDTH, 1, "a broad smile"),
    (MOUTH_WIDTH, -1, "pursed lips"),
    (BROW_RIGHT_UP, 1, "raised brows"),
    (BROW_LEFT_UP, 1, "raised brows"),
    (BROW_RIGHT_UP, -1, "lowered brows"),
    (BROW_LEFT_UP, -1, "lowered brows"),
)


def shape_distance(first: Array, second: Array) -> float:
    """Return the distance of two resting shapes, iod: RMS over what expressions move least."""
    weights = _rigid_weights()
    difference = first - second
    difference = difference - weights @ difference
    return float(np.sqrt((weights @ (difference[:, :2] ** 2)).sum()))


def _place(pose: Pose) -> Array:
    """Return (4,): the head's joint with the body, px, and the logarithm of the scale.

    Whoever looks down for a minute moves the face, but not the joint.
    """
    return np.array([*joint_of(pose), math.log(pose.scale)], np.float32)


@lru_cache(maxsize=1)
def _rigid_weights() -> Array:
    moves = region_weights().sum(axis=0)
    weights = np.maximum(1 - moves, 0) ** 2
    weights[[*EYE_CORNERS_RIGHT, *EYE_CORNERS_LEFT]] = 1
    return np.asarray(weights / weights.sum(), dtype=np.float32)
