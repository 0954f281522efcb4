"""The patch discriminator of Fan 2023, §III-B."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from reenact.models.unet import start_small

_STRIDED: Final = 3
"""Stride-2 layers of the Markov discriminator, which has 30×30 logits at 256 px."""


class MarkovDiscriminator(nn.Module):
    """The Markov discriminator D_I of Fan 2023, eq. 7, and pix2pix's, from which it derives.

    Input layer: 4×4 convolution with stride 2, LeakyReLU (0.2). Down-sampling layers: convolution,
    spectral normalisation, ReLU; two with stride 2 and one with stride 1. Output layer: one
    convolution; the sigmoid is part of the loss. Table 2, which gives the widths, is missing from
    the available text, so the widths are those of pix2pix's 70×70 discriminator, which also has
    30×30 logits at 256 px.

    Args:
        inputs: channels of condition and picture together.
        width: channels of the input layer; they double up to eight times as many.
        spectral: spectral normalisation (Fan 2023) or, if False, batch normalisation (Isola 2017).
        relu: ReLU (Fan 2023) or, if False, LeakyReLU (Isola 2017).
    """

    def __init__(
        self, inputs: int = 6, width: int = 64, *, spectral: bool = True, relu: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level in range(_STRIDED):
            stride = 2 if level < _STRIDED - 1 else 1
            layer = nn.Conv2d(width << level, width << (level + 1), 4, stride, 1)
            start_small(layer)
            layers += (
                [spectral_norm(layer)] if spectral else [layer, nn.BatchNorm2d(layer.out_channels)]
            )
            layers.append(nn.ReLU() if relu else nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(width << _STRIDED, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, condition: Tensor, picture: Tensor) -> Tensor:
        """Classify patches.

        Args:
            condition: (N, C, S, S) input of the generator, in -1..1.
            picture: (N, 3, S, S) RGB in -1..1.

        Returns:
            (N, 1, S/8 - 2, S/8 - 2) logits, positive for real.
        """
        logits: Tensor = self.layers(torch.cat([condition, picture], dim=1))
        return logits
