"""Shared parts of the baselines: sizes, and layers that halve pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from reenact.models.masked_generator import check_side
from reenact.models.weights import NetworkConfig


@dataclass(frozen=True, slots=True)
class BaselineConfig(NetworkConfig):
    """Sizes of a baseline's networks.

    Attributes:
        size_px: S, side of the faces, a power of two from 32.
        width: channels of the first layers.
        depth: residual blocks of StarGAN and CycleGAN; layers of AttGAN's and ExprGAN's encoders.
        windowed, residual: see `masked_generator.MaskedConfig`; only StarGAN's planes are windowed.
    """

    width: int
    depth: int
    windowed: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a side that the networks cannot halve."""
        check_side(self.size_px)

    def widths(self) -> list[int]:
        """Return the channels of an encoder's layers, which end at 4 × 4 px or before."""
        depth = min(self.depth, self.size_px.bit_length() - 3)
        return [self.width << level for level in range(depth)]


def halving(widths: Sequence[int]) -> list[nn.Module]:
    """Return 4×4 convolutions that halve a picture, with batch normalisation."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
        layers.append(nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)))
    return layers
