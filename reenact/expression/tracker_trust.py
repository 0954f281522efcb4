"""Estimates how far the tracker's landmarks can be trusted, part by part.

Where a hand covers the mouth, a tracker still returns a mouth, but an unusual one: the residual
that no mode of expression explains grows, the landmarks jitter, and extreme deviations appear. Two
linear scores, for the mouth and for an eye, separate covered from visible parts
(`python -m tools.tracker_trust`). Parts at the picture's edge, and those on the far side of a
profile, are not trusted either.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import Final

import numpy as np

from reenact.expression.face_model import expression_solver, face_model
from reenact.expression.limits import JOINT_USUAL, bend
from reenact.expression.measures import MEASURES, measure_rows
from reenact.face.geometry import (
    between_poses,
    mirrored_deviation,
    rotation_vector,
    yaw_sine,
)
from reenact.face.regions import EYES, PARTS, part_weights
from reenact.imaging import ramp, smoothstep
from reenact.storage import read_asset
from reenact.types import Array, Landmarks, Pose

ASSET: Final = "tracker_trust.npz"

DOUBT: Final = ((2.0, 3.2), (1.8, 3.2), (1.8, 3.2))
"""Scores of mouth and eyes at which trust begins to fall, and at which it reaches 0."""

_SUSPECT: Final = 0.5
"""Score of a single frame at which a part becomes suspect."""

_MAX_SPEED, _SPEED_SLOPE = 0.5, 0.5
"""How fast a suspect part may move, RMS, iod per second, and how much faster for each point of the
score below `_SUSPECT`."""

_USUAL: Final = np.array([0.08, 0.08, 0.06, 0.06, 0.04, 0.04], np.float32)
"""(6,) iod: larger changes of the `MEASURES` are unusual."""

_JITTER: Final = 0.2
"""Share of the newest frame in the mean jitter."""

_JITTER_FLOOR: Final = np.array([0.1, *[1e-3] * len(PARTS)], np.float32)

_PARTS: Final = 40
"""Index of the parts' logarithms in `Evidence.of`, after the weights of the modes."""

_JITTERS: Final = _PARTS + len(PARTS)
_EXTREMES: Final = _JITTERS + 1 + len(PARTS)
_TURN: Final = _EXTREMES + len(MEASURES)

_SCORE_S: Final = 0.08
"""Time constant of the scores."""

_FALL_S, _RISE_S, _WAIT_S = 0.12, 0.45, 0.3
"""Seconds in which trust falls and rises, and that a part must look uncovered before it rises."""

_BEFORE_S: Final = 0.4
"""The state that is held is the one so long before trust began to fall."""

_REST_S: Final = 2.0
"""Time constant with which the held state returns to rest."""

_PROFILE: Final = (0.7, 0.85)
"""Sine of the yaw at which trust in the far eye and brow begins to fall, and reaches 0."""

_TURNED: Final = (0.45, 0.65)
"""Sine of the yaw at which the residual that no mode explains begins to be removed, and is removed
fully: it grows with the turn of the head."""

_MAX_IN_DOUBT: Final = 3.25
"""Bound of the root mean square weight of the modes while trust is low, as `limits.JOINT_MAX`."""

_EDGE: Final = (0.1, 0.4)
"""Share of a part's landmarks outside the picture at which trust begins to fall, and reaches 0."""


class Evidence:
    """Computes the features of the scores from one actor's consecutive frames."""

    def __init__(self) -> None:
        self._last: Array | None = None
        self._jitter = np.zeros(1 + len(PARTS), np.float32)

    def of(self, deviation: Array, pose: Pose) -> Array:
        """Return the features: modes, residuals, their jitter, extremes, rotation of the head.

        The rotation is included because tracking errors grow with it.

        Args:
            deviation: (478, 3) from the actor's neutral, iod.
            pose: of the head.

        Returns:
            (63,): 40 weights of the modes; for each part the logarithm of the residual, iod
            squared; the logarithms of the mean squared changes of the weights and of each part's
            residual; how far each of `MEASURES` is beyond the usual; the squares of pitch, yaw and
            roll, and the pitch, rad.
        """
        modes = face_model().expression
        flat = deviation.reshape(-1)
        seen = np.empty(_TURN + 4, np.float32)
        read = _rows() @ flat
        weights = read[:_PARTS]
        residual = flat - weights @ modes
        residual *= residual
        seen[:_PARTS] = np.minimum(np.maximum(weights, -6), 6)
        seen[_PARTS:_JITTERS] = np.log(_focus() @ residual + 1e-6)
        change = seen[:_JITTERS] - (seen[:_JITTERS] if self._last is None else self._last)
        self._last = seen[:_JITTERS]
        change *= change
        change[_PARTS - 1] = change[:_PARTS].sum()
        self._jitter += np.float32(_JITTER) * (change[_PARTS - 1 :] - self._jitter)
        seen[_JITTERS:_EXTREMES] = np.log(self._jitter + _JITTER_FLOOR)
        extremes = np.abs(read[_PARTS:]) / _USUAL - 1
        seen[_EXTREMES:_TURN] = np.minimum(np.maximum(extremes, 0), 4)
        turn = rotation_vector(pose.rotation)
        seen[_TURN:-1], seen[-1] = turn**2, turn[0]
        return seen


class TrackerTrust:
    """Tracks the trust in each part of one actor's face over time. One thread at a time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Trust every part again at once, because the next frame shows another moment."""
        self.trust = np.ones(len(PARTS), np.float32)
        self._evidence = Evidence()
        self._scores: list[float] = []
        self._open_s = np.full(len(PARTS), np.inf, np.float32)
        self._course = np.ones(len(PARTS), np.float32)
        self._sure = True
        self._turned = 0.0
        self._history: deque[tuple[float, Array]] = deque()
        self._held: Array | None = None
        self._cut = False
        self._place: Pose | None = None
        self._pose_trust = self._least = 1.0
        self._last: Array | None = None
        self._speeds = np.full(len(PARTS), np.inf, np.float32)
        self._now_s = 0.0

    @property
    def suspects_mouth(self) -> bool:
        """True if the mouth looks covered in the last frame, though perhaps not surely."""
        return bool(self._scores) and self._scores[0] > _SUSPECT

    def judge(self, deviation: Array, pose: Pose, landmarks: Landmarks, dt_s: float) -> Array:
        """Return the (6,) trust in `regions.PARTS`, 0 to 1.

        Args:
            deviation: (478, 3) from the actor's neutral, as tracked.
            pose: of the actor's head.
            landmarks: as tracked.
            dt_s: seconds since the frame before.
        """
        weights, constants = _weights()
        scores = (weights @ self._evidence.of(deviation, pose) + constants).tolist()
        share = 1 - math.exp(-max(dt_s, 0.0) / _SCORE_S)
        before = self._scores or scores
        self._scores = [old + share * (new - old) for old, new in zip(before, scores, strict=True)]
        mouth, right, left = (max(_SUSPECT - score, 0.0) for score in scores)
        sure = np.array([mouth, right, left, right, left, min(mouth, right, left)], np.float32)
        self._speeds = _MAX_SPEED + _SPEED_SLOPE * sure
        doubt = [ramp(one, *range_) for one, range_ in zip(self._scores, DOUBT, strict=True)]
        doubt += [doubt[1], doubt[2], 0.0]
        across = landmarks.points.T[:2].copy()
        if across.min() < 0 or across.max() >= min(landmarks.size):
            size = np.array(landmarks.size)[:, None]
            outside = ((across < 0) | (across >= size)).any(axis=0)
            self._cut |= bool(outside.any())
            shares = (_focus() @ outside.repeat(3) / 3).tolist()
            doubt = [
                max(one, ramp(share, *_EDGE)) for one, share in zip(doubt, shares, strict=True)
            ]
        turn = yaw_sine(pose.rotation)
        self._turned = ramp(abs(turn), *_TURNED)
        if abs(turn) > _PROFILE[0]:
            far = 1 if turn > 0 else 2
            doubt[far] = max(doubt[far], ramp(abs(turn), *_PROFILE))
        if self._sure and not any(doubt):
            self._open_s += np.float32(dt_s)
            return self.trust
        doubt[3:] = max(doubt[1], doubt[3]), max(doubt[2], doubt[4]), max(doubt)
        return self._follow(1 - np.array(doubt, np.float32), dt_s)

    def place(self, pose: Pose) -> Pose:
        """Return the pose of the head to use: as tracked, or held while no part is trusted.

        Then the mesh has left the face for somebody who passes before it. That of a face which the
        picture's edge cuts, or has cut, moves with the face, though no part is trusted either.
        """
        trusted = float(self.trust.max())
        self._cut &= trusted < 1
        share = 1.0 if self._cut else trusted
        if share == 1 or self._place is None:
            self._place = shown = pose
        elif share < self._pose_trust:
            self._place = shown = between_poses(self._place, pose, share)
            self._least = share
        else:
            shown = between_poses(self._place, pose, (share - self._least) / (1 - self._least))
        self._pose_trust = share
        return shown

    def believe(self, deviation: Array, dt_s: float) -> Array:
        """Return the (478, 3) deviation to use: as tracked, held, or returning to rest.

        Args:
            deviation: from the actor's neutral, filtered.
            dt_s: seconds since the frame before.
        """
        dt_s = max(dt_s, 0.0)
        self._now_s += dt_s
        before = self._history[0][1] if self._history else deviation
        if self._held is None or self._sure:
            self._held = before
        else:
            deviation = self._mixed(deviation, before, dt_s)
        if not self._sure or self._turned:
            deviation = self._explained(deviation)
        believed = self._slowed(deviation, dt_s)
        self._history.append((self._now_s, believed))
        while self._history[0][0] < self._now_s - _BEFORE_S:
            self._history.popleft()
        self._last = believed
        return believed

    def _mixed(self, deviation: Array, before: Array, dt_s: float) -> Array:
        """Return the deviation with the held state where trust is low."""
        assert self._held is not None
        weights, sure = part_weights(), self.trust >= 1
        lost = (weights.T @ (1 - sure).astype(np.float32))[:, None]
        kept = lost * np.float32(math.exp(-dt_s / _REST_S))
        self._held = kept * self._held + (1 - lost) * before
        share = (weights.T @ self.trust)[:, None]
        return np.asarray(self._held + share * (deviation - self._held), dtype=np.float32)

    def _explained(self, deviation: Array) -> Array:
        """Return the deviation reduced to the modes of expression, as far as trust is low.

        A cover over one part distorts the tracker's whole mesh; so does turning the head.
        """
        doubt = max(1 - float(self.trust.min()), self._turned)
        flat = deviation.reshape(-1)
        weights = expression_solver(face_model()) @ flat
        size = math.sqrt(float(weights @ weights) / len(weights))
        kept = bend(size, JOINT_USUAL, _MAX_IN_DOUBT) / max(size, 1e-6)
        explained = (kept * weights) @ face_model().expression
        return np.asarray(flat + doubt * (explained - flat), dtype=np.float32).reshape(-1, 3)

    def _slowed(self, deviation: Array, dt_s: float) -> Array:
        """Return the deviation with limited speed: slower for more suspect parts.

        An eye may move as far as the other one does, so that a blink does not become a wink.
        """
        if self._last is None:
            return deviation
        change = deviation - self._last
        flat = change.reshape(-1)
        steps = np.sqrt(_focus() @ (flat * flat))
        slowest = np.float32(_MAX_SPEED * dt_s)
        if steps.max() <= slowest:
            return deviation
        allowed = self._speeds * np.float32(dt_s)
        moved = np.minimum(steps, allowed)
        moved[EYES] = moved[EYES].max()
        allowed = np.where(self.trust < 1, slowest, np.maximum(allowed, moved))
        share = np.minimum(allowed / np.maximum(steps, 1e-6), 1)
        return np.asarray(
            self._last + (part_weights().T @ share)[:, None] * change, dtype=np.float32
        )

    def _follow(self, believable: Array, dt_s: float) -> Array:
        """Let trust fall fast, and rise slowly once a part has looked uncovered for a while."""
        self._open_s = np.where(believable < 1, 0, self._open_s + dt_s)
        falling = believable < self._course
        fall = np.maximum(self._course - dt_s / _FALL_S, believable)
        rise = np.where(self._open_s >= _WAIT_S, self._course + dt_s / _RISE_S, self._course)
        self._course = np.where(falling, fall, np.minimum(rise, 1)).astype(np.float32)
        self.trust = smoothstep(self._course)
        self._sure = bool(self._course.min() == 1)
        return self.trust


@lru_cache(maxsize=1)
def _rows() -> Array:
    """Return (46, 1434): maps a flattened deviation to its mode weights and its `MEASURES`."""
    return np.concatenate([expression_solver(face_model()), measure_rows()])


@lru_cache(maxsize=1)
def _weights() -> tuple[Array, Array]:
    """Return weights (3, 63) and constants (3,) of the scores of mouth, right and left eye.

    The left eye's score is the right eye's on the mirrored face. The modes are symmetric: a
    mirrored face has the same weights, some with the opposite sign.
    """
    scores = read_asset(ASSET)
    mouth, right = scores["mouth"], scores["eye"]
    modes = face_model().expression
    mirrored = mirrored_deviation(modes.reshape(len(modes), -1, 3)).reshape(modes.shape)
    left = right.copy()
    left[:_PARTS] *= np.sign((modes * mirrored).sum(axis=1))
    parts, measures = np.array([0, 2, 1, 4, 3, 5]), np.array([1, 0, 2, 3, 5, 4])
    for start, order in ((_PARTS, parts), (_JITTERS + 1, parts), (_EXTREMES, measures)):
        left[start : start + len(order)] = right[start + order]
    stacked = np.asarray([mouth, right, left], dtype=np.float32)
    return np.ascontiguousarray(stacked[:, :-1]), stacked[:, -1]


@lru_cache(maxsize=1)
def _focus() -> Array:
    """Return (6, 1434): averages flattened squares over each part, with soft borders."""
    sharp = part_weights() ** 2
    mean = sharp / sharp.sum(axis=1, keepdims=True)
    return np.asarray(mean.repeat(3, axis=1), dtype=np.float32)
