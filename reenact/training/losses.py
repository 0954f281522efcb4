"""Losses and figures of pictures in -1..1, (N, C, H, W) RGB."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_SSIM_SIGMA_PX: Final = 1.5
_MARGIN: Final = 5
"""Radius of the window of structural similarity, px."""

_TEXTURE_PX: Final = 8
"""Side of the windows in which the amount of texture is compared."""

_MEAN_FLOOR: Final = 0.01**2
_VARIANCE_FLOOR: Final = 0.03**2
"""C1 and C2 of Wang 2004."""


def weighted_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (N, 3, H, W) with (N, 1, H, W) weights of mean one."""
    return ((result - truth).abs() * weight).mean()


def gradient_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of horizontal and vertical differences.

    L1 alone is minimised by the blurred median of all plausible pictures. This loss also penalises
    edges of the wrong strength.
    """
    difference = result - truth
    across = difference[..., :, 1:] - difference[..., :, :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return (across.abs() * weight[..., :, 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()


def texture_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of the amount of texture in each window.

    Texture is the mean gradient magnitude of the luma. Its position in the window does not matter:
    hair that cannot be predicted to the pixel costs nothing if it is sharp, and costs something if
    it was averaged away.
    """
    pooled = (_texture(result) - _texture(truth)).abs()
    return (pooled * _pooled(weight)).mean()


def _texture(picture: Tensor) -> Tensor:
    luma = picture.mean(1, keepdim=True)
    across = luma[..., :, 1:] - luma[..., :, :-1]
    down = luma[..., 1:, :] - luma[..., :-1, :]
    strength = F.pad(across.abs(), (0, 1)) + F.pad(down.abs(), (0, 0, 0, 1))
    return _pooled(strength)


def _pooled(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, _TEXTURE_PX, _TEXTURE_PX // 2)


def structural_similarity(result: Tensor, truth: Tensor) -> Tensor:
    """Return the map of structural similarity, (N, C, H - 10, W - 10), -1 to 1 (Wang 2004, eq. 13).

    The Gaussian window of 11 px stays inside the picture.
    """
    # The equation's constants are for values from 0 to 1.
    result, truth = (result.float() + 1) / 2, (truth.float() + 1) / 2
    moments = _windowed(
        torch.cat([result, truth, result.square(), truth.square(), result * truth], dim=1)
    )
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, dim=1)
    covariance = product - mean_a * mean_b
    variance = square_a - mean_a.square() + square_b - mean_b.square()
    return (
        (2 * mean_a * mean_b + _MEAN_FLOOR)
        * (2 * covariance + _VARIANCE_FLOOR)
        / ((mean_a.square() + mean_b.square() + _MEAN_FLOOR) * (variance + _VARIANCE_FLOOR))
    )


def ssim_loss(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of 1 - `structural_similarity` of the luma.

    It rewards contrast of small structures in the right place, where L1 rewards their mean (Zhao
    2017).
    """
    similar = structural_similarity(result.mean(1, keepdim=True), truth.mean(1, keepdim=True))
    return ((1 - similar) * weight[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]).mean()


def _windowed(x: Tensor) -> Tensor:
    """Average (N, C, H, W) in a Gaussian window; H and W shrink by ten."""
    places = torch.arange(-_MARGIN, _MARGIN + 1, device=x.device, dtype=x.dtype)
    window = torch.exp(-places.square() / (2 * _SSIM_SIGMA_PX**2))
    planes = x.shape[1]
    row = (window / window.sum()).expand(planes, 1, 1, -1)
    # The differences between these means are too small for half precision.
    with torch.autocast(x.device.type, enabled=False):
        across = F.conv2d(x, row, groups=planes)
        return F.conv2d(across, row.transpose(2, 3), groups=planes)


def picture_figures(result: Tensor, truth: Tensor, face: Tensor, name: str) -> dict[str, Tensor]:
    """Return PSNR, face PSNR (dB), face SSIM and face sharpness, (N,) each, as `NAME_psnr`, ….

    Pictures are (N, 3, H, W) RGB in -1..1; the face is a (N, 1, H, W) mask of 0 or 1.
    """
    similar = structural_similarity(result, truth)
    margin = (result.shape[-1] - similar.shape[-1]) // 2
    inner = face[..., margin:-margin, margin:-margin]
    squares = ((result - truth) * 127.5).square().mean(1, keepdim=True)
    whole = squares.mean((1, 2, 3))
    inside = (squares * face).sum((1, 2, 3)) / face.sum((1, 2, 3)).clamp(min=1)
    return {
        f"{name}_psnr": 10 * torch.log10(255**2 / whole),
        f"{name}_face_psnr": 10 * torch.log10(255**2 / inside),
        f"{name}_face_ssim": (similar.mean(1, keepdim=True) * inner).sum((1, 2, 3))
        / inner.sum((1, 2, 3)).clamp(min=1),
        f"{name}_sharpness": _sharpness(result, face) / _sharpness(truth, face),
    }


def _sharpness(picture: Tensor, face: Tensor) -> Tensor:
    """Return the mean gradient magnitude of the luma inside the mask, (N,)."""
    luma = picture.mean(1, keepdim=True)
    across = (luma[..., :, 1:] - luma[..., :, :-1])[..., 1:, :]
    down = (luma[..., 1:, :] - luma[..., :-1, :])[..., :, 1:]
    inside = face[..., 1:, 1:]
    strength = (across.square() + down.square()).sqrt() * inside
    return strength.sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
