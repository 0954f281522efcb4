"""The actor's neutral face, found by itself from calm frames.

From the first frame on there is an answer. A first guess takes away what of the face looks like
expression: a face is split into who it is and what it does by ridge regression on the modes of
both (`training.expression_basis`). The longer one looks, the calmer the calmest frames are, and
the guess gives way to their median. One thread at a time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

from reenact.face.geometry import canonical_face, rotation_matrix, rotation_vector
from reenact.face.regions import apply_contact, lid_gaps, region_weights
from reenact.face.topology import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT
from reenact.types import Array, Pose

CALM_SHARE: Final = 0.3
"""Share of the frames seen during calibration that the neutral is made of."""

CALM_FRAMES: Final = (5, 24)
"""At least and at most so many of them."""

REFINEMENT: Final = 8.0
"""Calmer frames are taken in until so many calibration times have passed."""

EASE_S: Final = 0.22
"""Time constant of the way from one neutral to a better one: a half second in all."""

OTHER_FACE: Final = 0.03
"""Distance of two shapes (`shape_distance`, iod) from which on they are two people's.

On the clips, 2 % of a person's own moments and three quarters of other people's lie beyond it.
A false alarm costs a calibration of a few seconds.
"""

_RECENT_S: Final = 0.3
_UPDATE_S: Final = 0.2
_POOL: Final = 120
_MODE_NOISE: Final = 0.35
_LEAST_OPENING: Final = 0.75


@dataclass(frozen=True, slots=True)
class Neutral:
    """A resting face: (478, 3) shape in the face frame, iod, and the head pose it had."""

    shape: Array
    pose: Pose


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    shape: Array
    pose: Pose
    restless: float
    lids: float
    time_s: float


class NeutralEstimator:
    """Collects frames and says what the actor looks like at rest.

    Args:
        calibration_s: seconds of face until the neutral counts as found.
        known: (478, 3) the actor's shape from an earlier run; then only the head's resting pose
            is looked for.
    """

    def __init__(self, calibration_s: float, known: Array | None = None) -> None:
        self._calibration_s = calibration_s
        self._known = known
        self._goal: Neutral | None = None
        self._current: Neutral | None = None
        self._pool: list[_Sample] = []
        self._recent: deque[_Sample] = deque()
        self._lids: deque[float] = deque(maxlen=600)
        self._seen_s = 0.0
        self._seen_frames = 0
        self._since_update_s = math.inf
        self._time_s: float | None = None
        self._fixed = False

    @property
    def found(self) -> bool:
        """Whether the neutral is more than a first guess."""
        return self._known is not None or self._fixed or self._seen_s >= self._calibration_s

    @property
    def known(self) -> bool:
        """Whether the shape came from an earlier run."""
        return self._known is not None

    @property
    def settled(self) -> bool:
        """Whether it will stay as it is."""
        return self._fixed or self._seen_s >= REFINEMENT * self._calibration_s

    @property
    def current(self) -> Neutral | None:
        """The neutral to measure against now; None before the first frame."""
        return self._current

    @property
    def goal(self) -> Neutral | None:
        """The neutral that `current` moves to."""
        return self._goal

    @property
    def template(self) -> Array | None:
        """The shape to estimate poses with: the actor's own once there is one."""
        return self._known if self._current is None else self._current.shape

    def observe(self, shape: Array, pose: Pose, time_s: float) -> Neutral:
        """Take in one frame, (478, 3) in the face frame, and return the neutral."""
        if self._time_s is not None and time_s < self._time_s:
            self.interrupt()  # the source started again
        dt_s = 0.0 if self._time_s is None else min(time_s - self._time_s, 0.2)
        speed = 0.0
        if self._recent and dt_s > 0:
            speed = float(np.sqrt(np.mean((shape - self._recent[-1].shape) ** 2))) / dt_s
        self._time_s = time_s
        sample = _Sample(
            shape, pose, _restlessness(shape, pose, speed), float(lid_gaps(shape).mean()), time_s
        )
        self._recent.append(sample)
        while self._recent[0].time_s < time_s - _RECENT_S:
            self._recent.popleft()
        if not self.settled:
            self._collect(sample, dt_s)
        self._ease(dt_s)
        assert self._current is not None
        return self._current

    def interrupt(self) -> None:
        """Forget the last frames, not the neutral: the next ones may show another face."""
        self._recent.clear()
        self._time_s = None

    def set_now(self) -> None:
        """Make the face of the last 0.3 s the neutral; nothing happens before the first frame."""
        if not self._recent:
            return
        samples = list(self._recent)
        self._known = None
        self._goal = Neutral(_median_shape(samples), _mean_pose(samples))
        self._fixed = True

    def disagrees(self) -> bool:
        """Whether the recent frames are plainly not of the face that the neutral is of."""
        if self._goal is None or len(self._recent) < 3:
            return False
        seen = first_guess(_median_shape(list(self._recent)))
        return shape_distance(seen, first_guess(self._goal.shape)) > OTHER_FACE

    def _collect(self, sample: _Sample, dt_s: float) -> None:
        self._seen_s += dt_s
        self._seen_frames += 1
        self._since_update_s += dt_s
        self._lids.append(sample.lids)
        self._pool.append(sample)
        if len(self._pool) > _POOL:
            self._pool.remove(max(self._pool, key=lambda one: one.restless))
        if self._since_update_s >= _UPDATE_S:
            self._since_update_s = 0.0
            self._goal = self._estimate()

    def _estimate(self) -> Neutral:
        open_lids = float(np.median(self._lids))
        usual = _median_shape(self._pool[:: max(len(self._pool) // 24, 1)])

        def restless(one: _Sample) -> float:
            unusual = float(np.sqrt(np.mean((one.shape - usual) ** 2)))
            return one.restless + abs(one.lids - open_lids) / 0.02 + unusual / 0.06

        calm = sorted(self._pool, key=restless)
        expected = self._seen_frames
        if self._seen_s > self._calibration_s:
            expected = round(expected * self._calibration_s / self._seen_s)
        least, most = CALM_FRAMES
        samples = calm[: min(max(round(CALM_SHARE * expected), least), most)]
        pose = _mean_pose(samples)
        if self._known is not None:
            return Neutral(self._known, pose)
        seen = _median_shape(samples)
        trust = min(self._seen_s / self._calibration_s, 1.0)
        if trust == 1:
            return Neutral(seen, pose)
        guess = _awake(first_guess(seen))
        return Neutral(np.asarray(trust * seen + (1 - trust) * guess, dtype=np.float32), pose)

    def _ease(self, dt_s: float) -> None:
        assert self._goal is not None
        if self._current is None:
            self._current = self._goal
            return
        if self._current is self._goal:
            return
        share = 1 - math.exp(-dt_s / EASE_S)
        now, goal = self._current, self._goal
        shape = now.shape + np.float32(share) * (goal.shape - now.shape)
        self._current = Neutral(
            np.asarray(shape, dtype=np.float32), _between(now.pose, goal.pose, share)
        )


def first_guess(shape: Array) -> Array:
    """Return the (478, 3) shape without what of it is more likely expression than identity."""
    modes, solver = _modes()
    weights = solver @ (shape - canonical_face()).reshape(-1)
    half = len(modes) // 2
    return np.asarray(shape - (weights[half:] @ modes[half:]).reshape(-1, 3), dtype=np.float32)


def _awake(shape: Array) -> Array:
    """Return the shape with its eyes nearly as open as usual: the first frame may blink."""
    usual = canonical_face()
    return apply_contact(
        shape, usual, np.maximum(lid_gaps(shape) / lid_gaps(usual), _LEAST_OPENING)
    )


def shape_distance(first: Array, second: Array) -> float:
    """Return how far two resting shapes are apart, iod: RMS over what moves least."""
    weights = _rigid_weights()
    difference = first - second
    difference = difference - weights @ difference
    return float(np.sqrt((weights @ (difference[:, :2] ** 2)).sum()))


def _restlessness(shape: Array, pose: Pose, speed: float) -> float:
    """Return how far from calm a frame is; about 1 for a clear smile, or a turn by 20 degrees."""
    gap = max(float(shape[14, 1] - shape[13, 1]) - 0.05, 0.0)
    expression = float(np.sqrt(np.mean((shape - first_guess(shape)) ** 2)))
    angle = float(np.linalg.norm(rotation_vector(pose.rotation)))
    return speed / 0.25 + gap / 0.10 + expression / 0.03 + angle / 0.35


def _median_shape(samples: list[_Sample]) -> Array:
    return np.asarray(np.median([one.shape for one in samples], axis=0), dtype=np.float32)


def _mean_pose(samples: list[_Sample]) -> Pose:
    anchor = samples[0].pose.rotation
    turns = [rotation_vector(one.pose.rotation @ anchor.T) for one in samples]
    return Pose(
        rotation_matrix(np.mean(turns, axis=0)) @ anchor,
        np.mean([one.pose.translation for one in samples], axis=0).astype(np.float32),
        float(np.exp(np.mean([math.log(one.pose.scale) for one in samples]))),
    )


def _between(first: Pose, second: Pose, share: float) -> Pose:
    turn = rotation_vector(second.rotation @ first.rotation.T)
    shift = np.float32(share) * (second.translation - first.translation)
    return Pose(
        rotation_matrix(turn * np.float32(share)) @ first.rotation,
        (first.translation + shift).astype(np.float32),
        first.scale * (second.scale / first.scale) ** share,
    )


@lru_cache(maxsize=1)
def _modes() -> tuple[Array, Array]:
    """Return (2K, 1434) modes, identity's first, and the (2K, 1434) ridge solver of their weights.

    The modes are scaled by their standard deviations, so every weight has variance 1 and the
    ridge is the variance of what no mode explains, in iod², summed over the landmarks.
    """
    with (files("reenact") / "assets" / "expression_basis.npz").open("rb") as handle:
        archive = np.load(handle)
        modes = np.concatenate([archive["identity_modes"], archive["expression_modes"]])
    rows = modes.astype(np.float64).reshape(len(modes), -1)
    gram = rows @ rows.T + _MODE_NOISE**2 * np.eye(len(rows))
    return rows.astype(np.float32), np.linalg.solve(gram, rows).astype(np.float32)


@lru_cache(maxsize=1)
def _rigid_weights() -> Array:
    moves = region_weights().sum(axis=0)
    weights = np.maximum(1 - moves, 0) ** 2
    weights[[*EYE_CORNERS_RIGHT, *EYE_CORNERS_LEFT]] = 1
    return np.asarray(weights / weights.sum(), dtype=np.float32)
