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


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a critic's maps on real and generated pictures."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """What the generator pays for being told apart."""
    return -fake.mean()
