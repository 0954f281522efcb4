"""Curves as points of the unit hypersphere, and the maps between sphere and tangent space.

The square-root velocity function of a curve α is q = α̇ / √‖α̇‖ (Otberdout 2022, eq. 1). Its squared
L² norm is the length of the curve, so that curves of length 1 are points of the unit sphere. Speed
and shape are in q; the beginning and the length are not. A curve is sampled at T moments of equal
distance in [0, 1], and q is constant between two of them, so that the round trip is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""(..., T, M): points of a curve. As a point of the sphere: (..., T - 1, M), its SRVF."""

_SMALL = 1e-12
_MAX_STEPS = 50


def srvf(curve: Curve) -> tuple[Curve, NDArray[np.float64]]:
    """Return a curve's point on the sphere, and its length (...,).

    A curve that does not move has no such point; its SRVF is zero.
    """
    intervals = curve.shape[-2] - 1
    velocity = np.diff(curve, axis=-2) * intervals
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
    length = speed.mean(axis=(-2, -1))
    q = velocity / np.sqrt(np.maximum(speed, _SMALL))
    return q / np.sqrt(np.maximum(length, _SMALL))[..., None, None], length


def curve_of(q: Curve, length: float | NDArray[np.float64] = 1.0) -> Curve:
    """Return the curve of a point of the sphere that begins in the origin: ∫ q ‖q‖ dt."""
    speed = np.linalg.norm(q, axis=-1, keepdims=True)
    steps = q * speed * np.asarray(length)[..., None, None] / q.shape[-2]
    start = np.zeros((*q.shape[:-2], 1, q.shape[-1]))
    return np.concatenate([start, np.cumsum(steps, axis=-2)], axis=-2)


def inner(first: Curve, second: Curve) -> NDArray[np.float64]:
    """Return the L² inner product, (...,)."""
    return np.asarray((first * second).sum(axis=-1).mean(axis=-1))


def distance(first: Curve, second: Curve) -> NDArray[np.float64]:
    """Return the geodesic distance of points of the sphere, rad."""
    return np.asarray(np.arccos(np.clip(inner(first, second), -1, 1)))


def exp_map(mean: Curve, tangent: Curve) -> Curve:
    """Return the point that a tangent vector at `mean` leads to: cos‖v‖ μ + sin‖v‖ v/‖v‖."""
    size = np.sqrt(inner(tangent, tangent))[..., None, None]
    return np.asarray(np.cos(size) * mean + np.sinc(size / np.pi) * tangent)


def log_map(mean: Curve, point: Curve) -> Curve:
    """Return the tangent vector at `mean` that leads to a point: θ / sin θ (q - cos θ μ)."""
    angle = distance(mean, point)[..., None, None]
    return np.asarray((point - np.cos(angle) * mean) / np.maximum(np.sinc(angle / np.pi), _SMALL))


def karcher_mean(points: Curve) -> Curve:
    """Return the point of the sphere with the least mean squared distance to (N, T - 1, M) points.

    The points must lie within a hemisphere.
    """
    mean = points.mean(axis=0)
    mean = mean / np.sqrt(inner(mean, mean))
    for _ in range(_MAX_STEPS):
        tangent = log_map(mean, points).mean(axis=0)
        mean = exp_map(mean, tangent)
        mean = mean / np.sqrt(inner(mean, mean))
        if inner(tangent, tangent) < _SMALL:
            break
    return np.asarray(mean)
