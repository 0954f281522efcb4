"""Losses on pictures in -1..1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a critic's maps on real and generated pictures."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """What the generator pays for being told apart."""
    return -fake.mean()
