"""The four regressions of Akram 2020, in closed form, for all pixels at once.

Pixels are float arrays in 0..1. The first axis of inputs X and targets T counts the N training
pairs, the others the pixels and channels, which are regressed one by one. The paper does not say
in which unit its λ (.4) and σ (3 and 10) are; here the unit is the range 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.imaging import smoothstep
from reenact.types import Array

Floats = NDArray[np.float64]

SOFT_PX: Final = 2.5
"""Standard deviation by which the share of the pixels is smoothed."""

_BATCH: Final = 512
"""Pixels that are solved at a time: N × N matrices of doubles, 300 MB for 270 pairs."""


def ridge_duals(x: Floats, t: Floats, penalty: float) -> Floats:
    """Return (XXᵀ + λI)⁻¹ T, (N, K), for the global ridge regression of X (N, D) and T (N, K).

    Its transpose times X is W of eq. 2, (K, D), computed in the dual form, which inverts N × N
    instead of D × D. The prediction for x is its transpose times X x.
    """
    gram = x @ x.T
    gram[np.diag_indices_from(gram)] += penalty
    duals: Floats = np.linalg.solve(gram, t)
    return duals


def pixel_ridge(x: Array, t: Array, penalty: float) -> tuple[Floats, Floats]:
    """Return w and b of each pixel's ridge regression (eq. 6), of the shape of a picture.

    The bias is penalised as well, as in eq. 3.
    """
    n = len(x)
    xs, ts = x.sum(0, dtype=np.float64), t.sum(0, dtype=np.float64)
    xx = np.einsum("n...,n...->...", x, x, dtype=np.float64) + penalty
    xt = np.einsum("n...,n...->...", x, t, dtype=np.float64)
    determinant = xx * (n + penalty) - xs * xs
    w = ((n + penalty) * xt - xs * ts) / determinant
    b = (xx * ts - xs * xt) / determinant
    return w, b


def psnr_db(drawn: Array, true: Array, face: NDArray[np.bool_]) -> Array:
    """Return the PSNR of each picture, (N, H, W, 3) in 0..1, inside a mask (H, W), dB."""
    errors = ((np.clip(drawn, 0, 1) - true)[:, face] ** 2).mean(axis=(1, 2))
    return np.asarray(-10 * np.log10(np.maximum(errors, 1e-10)))


def changed_share(x: Array, t: Array, levels: float) -> Array:
    """Return how far each pixel takes part in an expression, (S, S) 0 to 1 (ours).

    The mean change over the pairs, without each pair's change of light, rises above noise where
    the expression is. Elsewhere a regression moves a face towards the mean of all faces, which
    costs identity and shows nothing.

    Args:
        x: (N, S, S, 3) inputs in 0..1.
        t: (N, S, S, 3) targets.
        levels: of 255, change by which a pixel takes part by half; below half of it, not at all.
    """
    change = t - x
    change = change - np.median(change, axis=(1, 2), keepdims=True)
    strength = np.abs(change.mean(axis=0)).max(axis=-1) * np.float32(255 / levels)
    soft = cv2.GaussianBlur(strength.astype(np.float32), (0, 0), SOFT_PX)
    return np.asarray(smoothstep(np.clip(soft - 0.5, 0, 1)))


def gaussian_kernel(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], width: float
) -> Floats:
    """Return exp(-(first - second)² / 2σ²) (eq. 12)."""
    difference = (first - second).astype(np.float64) / width
    kernel: Floats = np.exp(-0.5 * difference * difference)
    return kernel


def pixel_kernel(x: Array, t: Array, penalty: float, width: float, levels: Array) -> Array:
    """Return each pixel's kernel regression (eq. 14-16) at given input levels.

    Args:
        x: (N, ...) inputs.
        t: (N, ...) targets.
        penalty: λ.
        width: σ.
        levels: (L,) values of the input pixel at which the regression is tabulated.

    Returns:
        (L, ...).
    """
    shape = x.shape[1:]
    inputs, targets = x.reshape(len(x), -1), t.reshape(len(t), -1)
    table = np.empty((len(levels), inputs.shape[1]), np.float32)
    for part in _parts(inputs.shape[1]):
        xp, tp = inputs[:, part].T.astype(np.float64), targets[:, part].T.astype(np.float64)
        kernel = gaussian_kernel(xp[:, :, None], xp[:, None, :], width)
        kernel += penalty * np.eye(len(x))
        coefficients = np.linalg.solve(kernel, tp[..., None])[..., 0]
        kappa = gaussian_kernel(xp[:, :, None], levels[None, None, :].astype(np.float64), width)
        table[:, part] = np.einsum("pn,pnl->lp", coefficients, kappa)
    return table.reshape(-1, *shape)


def masked_ridge(x: Array, t: Array, penalty: float, radius: int, queries: Array) -> Array:
    """Return masked regression's pictures of queries (M, C, H, W): each pixel sees a patch.

    The middle of the paper's Fig. 2, after Khan 2020: the patch is a square of 2 · radius + 1
    pixels in the same channel, with a bias; at the border the picture's edge is repeated.

    Args:
        x: (N, C, H, W) inputs.
        t: (N, C, H, W) targets.
        penalty: λ, on the bias as well.
        radius: of the patch; 0 is `pixel_ridge`.
        queries: (M, C, H, W).
    """
    drawn = np.empty(queries.shape, np.float32)
    eye = penalty * np.eye((2 * radius + 1) ** 2 + 1)
    for channel in range(x.shape[1]):
        seen, asked = _patches(x[:, channel], radius), _patches(queries[:, channel], radius)
        for row in range(x.shape[2]):
            design = seen[:, row].transpose(1, 0, 2).astype(np.float64)
            across = design.transpose(0, 2, 1)
            right = across @ t[:, channel, row].T[..., None].astype(np.float64)
            weights = np.linalg.solve(across @ design + eye, right)[..., 0]
            drawn[:, channel, row] = np.einsum("mpk,pk->mp", asked[:, row], weights)
    return drawn


def _patches(plane: Array, radius: int) -> Array:
    """Return the patch around each pixel of (N, H, W), and a 1: (N, H, W, K + 1)."""
    side = 2 * radius + 1
    padded = np.pad(plane, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    view: Any = np.lib.stride_tricks.sliding_window_view  # its types know one axis alone
    windows = view(padded, (side, side), axis=(1, 2))
    flat = windows.reshape(*plane.shape, side * side)
    return np.concatenate([flat, np.ones((*plane.shape, 1), flat.dtype)], axis=-1)


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _BATCH):
        yield slice(start, min(start + _BATCH, count))
