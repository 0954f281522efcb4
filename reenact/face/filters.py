"""One-Euro filters (Casiez 2012): steady at rest, without lag in motion.

The filter is a first-order low-pass whose cut-off rises with speed. All times are in seconds, so
uneven frame times do no harm. There are two differences from the paper. The speed is that of a
whole region of the face, so that a blink opens the filter of its own eye at once and no other. And
a speed that could be tracking noise counts as rest: the usual noise, or that of this camera if that
is stronger, as in a dark room. One thread at a time may call a filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np

from reenact.config import SmoothingSettings
from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, mean_gap
from reenact.face.geometry import canonical_face, rotation_matrix, rotation_vector
from reenact.face.regions import region_weights
from reenact.types import Array, Pose

_Number = TypeVar("_Number", float, Array)

SPEED_CUTOFF_HZ: Final = 3.0
"""Cut-off of the speed. With the paper's 1 Hz a blink would be over before it counts."""

EXPRESSION_NOISE: Final = 0.095
"""Apparent speed of a still expression, iod/s; the cut-off stays low up to it."""

LID_NOISE: Final = 0.04
"""The same for the gap between the lids of an eye, iod/s. The lids are a small part of the region
around the eye: by the region's speed a slow wink would count as noise and come 0.1 s late."""

POSE_NOISE: Final = 0.04
"""The same for the pose of a still head, rad/s or iod/s."""

_NOISE_S: Final = 1.0
"""Time constant with which the noise of this camera is measured."""

_NOISE_MARGIN: Final = 1.25
"""Multiple of the speed that this noise has, RMS, which still counts as rest."""

_NOISE_GROWTH: Final = 8.0
"""Limit of what one picture says of the noise, as a multiple of what is known and usual."""

MAX_GAP_S: Final = 0.5
"""After a longer gap the filter starts again."""


def smoothing_factor(cutoff_hz: _Number, dt_s: float) -> _Number:
    """Return the weight of the new value in a first-order low-pass, 0 to 1."""
    ratio = 2 * math.pi * dt_s * cutoff_hz
    return ratio / (ratio + 1)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A linear measure of a group, far less noisy than the group's elements.

    Attributes:
        group: index of the group.
        weights: weights of the values, in their shape (N, ...).
        noise: the measure's speed that counts as rest.
    """

    group: int
    weights: Array
    noise: float


class OneEuroFilter:
    """Filters an array whose elements share the cut-offs of their groups.

    Args:
        groups: float32 (G, N), the weight of each of the N leading elements in each group; the
            columns sum to 1. None for a single group.
        noise: the speed that counts as rest, in units of the values per second.
        gauges: finer measures of the speed of some groups; they need `groups`.
    """

    def __init__(
        self,
        groups: Array | None = None,
        noise: float = 0.0,
        gauges: tuple[Gauge, ...] = (),
    ) -> None:
        self._groups = groups
        self._gauges = gauges
        self._share = None if groups is None else _core(groups)
        count = 1 if groups is None else len(groups)
        self._usual = [noise] * count + [gauge.noise for gauge in gauges]
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next value is returned unchanged."""
        self._raw: Array | None = None
        self._value: Array | None = None
        self._speed: Array | None = None
        self._change: Array | None = None
        self._variances: list[float] = []

    def step(self, value: Array, dt_s: float, min_cutoff_hz: float, beta: float) -> Array:
        """Return the filtered value.

        Args:
            value: (N, ...) in any unit; the shape is the same at each call.
            dt_s: seconds since the previous call; unless positive, the value is ignored.
            min_cutoff_hz: cut-off at rest.
            beta: increase of the cut-off in Hz per unit of speed above the noise.
        """
        if self._raw is None or self._value is None or self._speed is None or dt_s > MAX_GAP_S:
            self._raw, self._value = value, value
            self._speed = np.zeros_like(value)
            self._change = None
            self._variances = [0.0] * len(self._usual)
            return value
        if dt_s <= 0:
            return self._value
        change = value - self._raw
        share = smoothing_factor(SPEED_CUTOFF_HZ, dt_s)
        self._speed = self._speed + share * (change / np.float32(dt_s) - self._speed)
        speeds = [math.sqrt(square) for square in self._products(self._speed, self._speed)]
        rest = self._rest_speeds(change, dt_s, share * math.sqrt(2 / (2 - share)) / dt_s)
        # In units of the noise: what is beyond its usual speed is larger if it is stronger.
        beyond = [
            max(speed - still, 0.0) * (usual / still if still else 1.0)
            for speed, still, usual in zip(speeds, rest, self._usual, strict=True)
        ]
        count = len(beyond) - len(self._gauges)
        for gauge, seen in zip(self._gauges, beyond[count:], strict=True):
            beyond[gauge.group] = max(beyond[gauge.group], seen)
        motion = np.array(beyond[:count], np.float32)
        cutoff = min_cutoff_hz + beta * motion
        factor = smoothing_factor(self._spread(cutoff, value.ndim), dt_s)
        self._raw = value
        self._value = self._value + factor * (value - self._value)
        return self._value

    def _rest_speeds(self, change: Array, dt_s: float, speed: float) -> list[float]:
        """Return the speed that counts as rest of each group, and then of each gauge.

        Noise is new in every picture. So it moves a value there and back, and two changes in a row
        have the covariance -variance, while those of a motion have the same sign. A blink of two
        pictures looks like noise, so one product counts only for so much.

        Args:
            change: of the values since the last picture.
            dt_s: the time since then.
            speed: that white noise with a standard deviation of 1 has in `_speed`, RMS, 1/s.
        """
        last, self._change = self._change, change
        if last is None:
            return self._usual
        new, rest = 1 - math.exp(-dt_s / _NOISE_S), []
        for number, product in enumerate(self._products(change, last)):
            usual, known = self._usual[number], self._variances[number]
            most = _NOISE_GROWTH * (known + (usual / speed) ** 2)
            known = max(known + new * (min(max(-product, -most), most) - known), 0.0)
            self._variances[number] = known
            rest.append(max(usual, _NOISE_MARGIN * speed * math.sqrt(known)))
        return rest

    def _products(self, one: Array, other: Array) -> list[float]:
        """Return the mean scalar product of the elements of each group, and that of each gauge."""
        products = (one * other).reshape(len(one), -1)
        if self._share is None:
            return [float(products.sum()) / len(products)]
        means: list[float] = (self._share @ products).sum(axis=1).tolist()
        return means + [
            float(np.vdot(gauge.weights, one) * np.vdot(gauge.weights, other))
            for gauge in self._gauges
        ]

    def _spread(self, cutoff: Array, dimensions: int) -> Array:
        if self._groups is None:
            return cutoff
        each = cutoff @ self._groups
        return np.asarray(each.reshape(-1, *[1] * (dimensions - 1)))


class ExpressionFilter:
    """Filters face-frame shapes or deviations, (478, 3), iod, region by region."""

    def __init__(self) -> None:
        self._filter = OneEuroFilter(_face_groups(), EXPRESSION_NOISE, _lid_gauges())

    def reset(self) -> None:
        """Forget the past."""
        self._filter.reset()

    def step(self, shape: Array, dt_s: float, settings: SmoothingSettings) -> Array:
        """Return the filtered (478, 3) shape; the settings may change between calls."""
        return self._filter.step(
            shape, dt_s, settings.expression_min_cutoff, settings.expression_beta
        )


class PoseFilter:
    """Filters the rotation, the translation and the logarithm of the scale of a head pose."""

    def __init__(self) -> None:
        self._filter = OneEuroFilter(_POSE_GROUPS, POSE_NOISE)
        self._anchor: Pose | None = None

    def reset(self) -> None:
        """Forget the past."""
        self._filter.reset()
        self._anchor = None

    def step(self, pose: Pose, dt_s: float, settings: SmoothingSettings) -> Pose:
        """Return the filtered pose; the settings may change between calls."""
        if self._anchor is None or dt_s > MAX_GAP_S:
            self.reset()
            self._anchor = pose
        anchor = self._anchor
        cutoff, beta = settings.pose_min_cutoff, settings.pose_beta
        # Rotations are filtered as rotation vectors relative to an anchor: a straight line of
        # vectors is a rotation about one axis.
        value = np.empty(7, np.float32)
        value[:3] = _SUM * rotation_vector(pose.rotation @ anchor.rotation.T)
        value[3:6] = (_SUM / anchor.scale) * (pose.translation - anchor.translation)
        value[6] = math.log(pose.scale / anchor.scale)
        value = self._filter.step(value, dt_s, cutoff, beta)
        translation = value[3:6] * (anchor.scale / _SUM) + anchor.translation
        return Pose(
            rotation_matrix(value[:3] / _SUM) @ anchor.rotation,
            np.asarray(translation, dtype=np.float32),
            anchor.scale * math.exp(float(value[6])),
        )


def _core(groups: Array) -> Array:
    """Return the weights (G, N) for the speed of each group; its border hardly counts."""
    sharp = groups**4
    return np.asarray(sharp / sharp.sum(axis=1, keepdims=True), dtype=np.float32)


_POSE_GROUPS: Final = np.repeat(np.eye(3, dtype=np.float32), (3, 3, 1), axis=1)

_SUM: Final = math.sqrt(3)
"""Scales three coordinates so that the filter's root mean square is the vector's length."""


@lru_cache(maxsize=1)
def _face_groups() -> Array:
    """Return (5, 478) weights: mouth, right eye, left eye, brows, rest; columns sum to 1."""
    mouth, eyes, brows = region_weights()
    right = (canonical_face()[:, 0] < 0).astype(np.float32)
    groups = np.stack([mouth, eyes * right, eyes * (1 - right), brows, 1 - mouth - eyes - brows])
    return np.asarray(np.maximum(groups, 0), dtype=np.float32)


@lru_cache(maxsize=1)
def _lid_gauges() -> tuple[Gauge, ...]:
    """Return the gap between the lids of the right and the left eye, for groups 1 and 2."""
    eyes = enumerate((LID_PAIRS_RIGHT, LID_PAIRS_LEFT), 1)
    return tuple(Gauge(group, mean_gap(lids), LID_NOISE) for group, lids in eyes)
