"""Losses on pictures in -1..1."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from reenact.face.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    N_SKIN,
)

_SSIM_SIGMA_PX: Final = 1.5
_MARGIN: Final = 5
"""Half the window of structural similarity, without its middle, px."""

_EYE_CORNERS: Final = (33, 263)
_EYES: Final = [*EYE_LEFT, *EYE_RIGHT, *IRIS_LEFT, *IRIS_RIGHT]
_PARTS: Final = (slice(N_SKIN), [*LIPS_INNER, *LIPS_OUTER], _EYES)
"""Landmarks that count together; lips and eyes once more than as skin."""

_NEAR: Final = 1e-4
"""Landmarks so near to each other lie together; half a picture is 1."""

_MEAN_FLOOR: Final = 0.01**2
_SPREAD_FLOOR: Final = 0.03**2
"""C1 and C2 of Wang 2004."""


def weighted_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (N, 3, H, W) with (N, 1, H, W) weights of mean one."""
    return ((result - truth).abs() * weight).mean()


def gradient_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of horizontal and vertical differences.

    L1 alone settles on the mean of what might be there, which is blurred; edges in the wrong
    strength cost here as well.
    """
    difference = result - truth
    across = difference[..., :, 1:] - difference[..., :, :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return (across.abs() * weight[..., :, 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()


def texture_l1(result: Tensor, truth: Tensor, weight: Tensor, window_px: int = 8) -> Tensor:
    """Weighted mean absolute difference of how much texture each window of the pictures has.

    Texture is the mean gradient magnitude of the luma. It need not lie in the same place, so
    that hair which cannot be predicted to the pixel costs nothing while it is sharp, and does
    cost where it was averaged away.
    """
    pooled = (_texture(result, window_px) - _texture(truth, window_px)).abs()
    return (pooled * F.avg_pool2d(weight, window_px, window_px // 2)).mean()


def _texture(picture: Tensor, window_px: int) -> Tensor:
    luma = picture.mean(1, keepdim=True)
    across = luma[..., :, 1:] - luma[..., :, :-1]
    down = luma[..., 1:, :] - luma[..., :-1, :]
    strength = F.pad(across.abs(), (0, 1)) + F.pad(down.abs(), (0, 0, 0, 1))
    return F.avg_pool2d(strength, window_px, window_px // 2)


def structural_similarity(result: Tensor, truth: Tensor) -> Tensor:
    """Return the map of structural similarity, (N, C, H - 10, W - 10), -1 to 1 (Wang 2004, eq. 13).

    With the Gaussian window of 11 px, where it lies inside the picture.
    """
    # Brightness from 0 on, as the equation supposes.
    result, truth = (result.float() + 1) / 2, (truth.float() + 1) / 2
    moments = _windowed(
        torch.cat([result, truth, result.square(), truth.square(), result * truth], dim=1)
    )
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, dim=1)
    covariance = product - mean_a * mean_b
    spread = square_a - mean_a.square() + square_b - mean_b.square()
    return (
        (2 * mean_a * mean_b + _MEAN_FLOOR)
        * (2 * covariance + _SPREAD_FLOOR)
        / ((mean_a.square() + mean_b.square() + _MEAN_FLOOR) * (spread + _SPREAD_FLOOR))
    )


def ssim_loss(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of 1 - `structural_similarity` of the luma.

    It asks for the contrast of small structures, in their place, where L1 asks for their mean
    (Zhao 2017).
    """
    similar = structural_similarity(result.mean(1, keepdim=True), truth.mean(1, keepdim=True))
    return ((1 - similar) * weight[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]).mean()


def landmark_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of (N, 478, 2) landmarks in eye spans; skin, lips and eyes count alike."""
    span = (wanted[:, _EYE_CORNERS[0]] - wanted[:, _EYE_CORNERS[1]]).norm(dim=1)
    # A root has no slope at nothing.
    away = ((found - wanted).square().sum(2) + _NEAR**2).sqrt() / span.clamp(min=_NEAR)[:, None]
    return torch.stack([away[:, part].mean() for part in _PARTS]).mean()


def _windowed(x: Tensor) -> Tensor:
    """Average (N, C, H, W) in a Gaussian window; H and W lose ten."""
    places = torch.arange(-_MARGIN, _MARGIN + 1, device=x.device, dtype=x.dtype)
    window = torch.exp(-places.square() / (2 * _SSIM_SIGMA_PX**2))
    planes = x.shape[1]
    row = (window / window.sum()).expand(planes, 1, 1, -1)
    # The differences of these means are small: half precision would leave nothing of them.
    with torch.autocast(x.device.type, enabled=False):
        across = F.conv2d(x, row, groups=planes)
        return F.conv2d(across, row.transpose(2, 3), groups=planes)


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a critic's maps on real and generated pictures."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """What the generator pays for being told apart."""
    return -fake.mean()
