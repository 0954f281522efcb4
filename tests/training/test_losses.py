from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reenact.evaluation import metrics
from reenact.imaging import from_unit
from reenact.training.losses import (
    gradient_l1,
    ssim_loss,
    structural_similarity,
    texture_l1,
    weighted_l1,
)

ONES = torch.ones(1, 1, 64, 64)


@pytest.fixture
def noise() -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def blurred(picture: Tensor) -> Tensor:
    return F.avg_pool2d(picture, 3, 1, 1)


def test_equal_pictures_cost_nothing(noise: Tensor) -> None:
    for loss in (weighted_l1, gradient_l1, texture_l1):
        assert loss(noise, noise, ONES) == 0


def test_weights_count() -> None:
    zero, one = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    half = ONES.clone()
    half[..., :32] = 0
    assert weighted_l1(one, zero, half) == pytest.approx(0.5)


def test_gradient_loss_ignores_brightness_and_sees_edges(noise: Tensor) -> None:
    assert gradient_l1(noise + 0.3, noise, ONES) == pytest.approx(0, abs=1e-6)
    assert gradient_l1(blurred(noise), noise, ONES) > 0.3


def test_texture_loss_forgives_a_shift_but_not_blur(noise: Tensor) -> None:
    shifted = texture_l1(noise.roll(5, -1), noise, ONES)
    assert texture_l1(blurred(noise), noise, ONES) > 4 * shifted


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_structural_similarity_agrees_with_the_metric(
    noise: Tensor, precision: torch.dtype | None
) -> None:
    """Under bfloat16 autocast as well."""
    other = blurred(noise)
    with torch.autocast("cpu", dtype=precision, enabled=precision is not None):
        found = structural_similarity(other, noise)
    measured = metrics.ssim(*(from_unit(x[0].numpy()) for x in (noise, other)))
    assert found.shape[-2:] == (54, 54)
    assert float(found.mean()) == pytest.approx(measured, abs=0.004)


def test_ssim_loss_asks_for_contrast_that_blur_lost(noise: Tensor) -> None:
    assert ssim_loss(noise, noise, ONES) == pytest.approx(0, abs=1e-5)
    assert ssim_loss(blurred(noise), noise, ONES) > 0.2
    half = ONES.clone()
    half[..., :32] = 0
    damaged = torch.cat([blurred(noise)[..., :25], noise[..., 25:]], dim=-1)
    assert ssim_loss(damaged, noise, half) == pytest.approx(0, abs=1e-3)
