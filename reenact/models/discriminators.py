"""Critics: the Markov (patch) discriminator with spectral normalisation of Fan 2023, §III-B."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture given what it was made from.

    Args:
        inputs: channels of the picture and of its condition together.
        channels: widths of the strided 4×4 convolutions.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inputs
        for output in channels:
            layers += [spectral_norm(nn.Conv2d(width, output, 4, 2, 1)), nn.LeakyReLU(0.2)]
            width = output
        layers.append(spectral_norm(nn.Conv2d(width, 1, 4, 1, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Map (N, 3, H, W) and (N, C, H, W) to unbounded verdicts (N, 1, h, w)."""
        verdict: Tensor = self.layers(torch.cat([picture, condition], dim=1))
        return verdict
