"""The expression transfer network Ω of Fan 2023, eq. 2 and Table 1: a modified U-net.

`I = Ω(J, P_t)` maps the target's picture and the fused landmark map to the target's picture with
that expression. All kernels are 4×4, there is no pooling, up-sampling uses transposed convolutions,
and the output layer is Tanh without normalisation.

Choices where the paper is silent or contradicts itself:

- A down-sampling layer is LeakyReLU (0.2), convolution with stride 2, batch normalisation. An
  up-sampling layer is ReLU, transposed convolution with stride 2, batch normalisation. The very
  first layer is the convolution alone, as in DCGAN and pix2pix, which the paper follows: an
  activation would clip the picture itself.
- The bottleneck keeps (2, 2, 512) and has a LeakyReLU *and* a ReLU. It is read as pix2pix's
  innermost block: LeakyReLU, convolution to 1×1, ReLU, transposed convolution back, batch
  normalisation.
- Every up-sampling layer and the output layer also get the down-sampling layer of the same size
  (skip connections).
- For sizes other than 256, layers of 512 channels are removed or added, one for each halving.

At 256 px it has 54.4 million weights.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from reenact.models.weights import NetworkConfig, builder

MAP_CHANNELS: Final = 1
"""The landmark map J: `geometry.landmark_map`, in -1..1."""

_KERNEL: Final = 4
_MAX_WIDTH: Final = 1024


@dataclass(frozen=True, slots=True)
class UNetConfig(NetworkConfig):
    """Sizes of the network.

    Attributes:
        size_px: side of the pictures, a power of two from 32 to 1024.
        width: channels of the first layer; they double with each halving.
        most: maximum number of channels.
        dropout: dropout rate after the first three up-sampling layers during training (pix2pix's
            noise); Fan 2023 has none.
        residual: the network draws a change of the picture and initially changes nothing (ours),
            so that a short training need not first learn to draw faces.

    Raises:
        ValueError: a size is not allowed.
    """

    size_px: int = 256
    width: int = 64
    most: int = 512
    dropout: float = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        if self.size_px not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"size_px must be a power of two from 32 to 1024, not {self.size_px}")
        if not 0 < self.width <= self.most <= _MAX_WIDTH:
            raise ValueError(
                f"width {self.width} and most {self.most}: width must be positive and at most "
                f"`most`, and that at most {_MAX_WIDTH}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a share below 1, not {self.dropout}")

    def channels(self) -> list[int]:
        """Return the channels of the down-sampling layers: 64, 128, 256, 512, … down to 2 px."""
        halvings = self.size_px.bit_length() - 2
        return [min(self.width << level, self.most) for level in range(halvings)]


class UNet(nn.Module):
    """The network Ω; see the module's docstring."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNetConfig()
        channels = self.config.channels()
        self.down = nn.ModuleList([_convolution(3 + MAP_CHANNELS, channels[0])])
        for inputs, outputs in itertools.pairwise(channels):
            self.down.append(_down_sampling(inputs, outputs))
        deepest = channels[-1]
        self.bottleneck = nn.Sequential(
            nn.LeakyReLU(0.2),
            _convolution(deepest, deepest),
            nn.ReLU(),
            _transposed(deepest, deepest),
            nn.BatchNorm2d(deepest),
        )
        self.up = nn.ModuleList()
        below = deepest
        for level in range(len(channels) - 1, 0, -1):
            dropped = self.config.dropout if len(self.up) < 3 else 0.0
            outputs = channels[level - 1]
            self.up.append(_up_sampling(below + channels[level], outputs, dropped))
            below = outputs
        last = _transposed(below + channels[0], 3)
        self.output = nn.Sequential(nn.ReLU(), last, nn.Tanh())
        self.apply(start_small)
        if self.config.residual:
            nn.init.zeros_(last.weight)

    def forward(self, picture: Tensor, landmarks: Tensor) -> Tensor:
        """Draw the target with another expression.

        Args:
            picture: (N, 3, S, S) the target P_t, RGB in -1..1.
            landmarks: (N, 1, S, S) the landmark map J of the requested expression, in -1..1.

        Returns:
            (N, 3, S, S) RGB in -1..1.
        """
        result = torch.cat([picture, landmarks], dim=1)
        skips: list[Tensor] = []
        for layer in self.down:
            result = layer(result)
            skips.append(result)
        result = self.bottleneck(result)
        for layer in self.up:
            result = layer(torch.cat([result, skips.pop()], dim=1))
        drawn: Tensor = self.output(torch.cat([result, skips.pop()], dim=1))
        return (picture + drawn).clamp(-1, 1) if self.config.residual else drawn


build = builder(UNetConfig, UNet)


def start_small(module: nn.Module) -> None:
    """Initialise a layer from N(0, 0.02), as DCGAN and pix2pix do; for `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, _KERNEL, stride=2, padding=1)


def _transposed(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, _KERNEL, stride=2, padding=1)


def _down_sampling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LeakyReLU(0.2), _convolution(inputs, outputs), nn.BatchNorm2d(outputs))


def _up_sampling(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    layers = [nn.ReLU(), _transposed(inputs, outputs), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))
