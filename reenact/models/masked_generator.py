"""A generator with a colour and an attention mask, and its critic, conditioned on a vector.

The layers are those of LGP-GAN's global networks (Xia 2021, Tables II and III), which follow
StarGAN and GANimation. The generator draws `I = (1 − M) · C + M · I_x` (eq. 1): where the attention
mask M is 1, the input picture is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from reenact.models.weights import NetworkConfig, builder


def check_side(size_px: int) -> None:
    """Raise ValueError unless this side is a power of two from 32, so that it can be halved."""
    if size_px < 32 or size_px & (size_px - 1):
        raise ValueError(f"a side of {size_px} px is not a power of two from 32")


@dataclass(frozen=True, slots=True)
class MaskedConfig(NetworkConfig):
    """Sizes of both networks.

    Attributes:
        size_px: S, side of the pictures, a power of two from 32.
        conditions: K, length of the condition vector.
        width: channels of the first layers.
        blocks: residual blocks of the generator; the paper has 6, and 3 in its local generators.
        windowed: the condition planes fade to the border (ours). Instance normalisation removes
            constant planes, as in the papers, wherever the padding is out of sight, so that the
            vector acts only from the border inwards and is learned slowly.
        residual: the colours are a change of the picture (ours), so that a short training need not
            first learn to draw faces.
    """

    size_px: int = 128
    conditions: int = 17
    width: int = 64
    blocks: int = 6
    windowed: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a side that the critic cannot halve."""
        check_side(self.size_px)


def encoder_decoder(inputs: int, width: int, blocks: Iterable[nn.Module]) -> nn.Sequential:
    """Return the layers of Table II up to the heads; the blocks have 4 × width channels."""
    return nn.Sequential(
        *_normed(nn.Conv2d(inputs, width, 7, 1, 3, bias=False)),
        *_normed(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)),
        *_normed(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False)),
        *blocks,
        *_normed(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)),
        *_normed(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False)),
    )


def colour_head(width: int, residual: bool) -> nn.Sequential:
    """Return the colour head; a residual one is initialised to change nothing."""
    layer = nn.Conv2d(width, 3, 7, 1, 3, bias=False)
    if residual:
        nn.init.zeros_(layer.weight)
    return nn.Sequential(layer, nn.Tanh())


class MaskedGenerator(nn.Module):
    """Changes a picture according to a vector (Table II); local generators have 3 blocks."""

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        blocks = (ResidualBlock(4 * width) for _ in range(config.blocks))
        self.body = encoder_decoder(3 + config.conditions, width, blocks)
        self.colour = colour_head(width, config.residual)
        self.attention = nn.Sequential(nn.Conv2d(width, 1, 7, 1, 3, bias=False), nn.Sigmoid())

    def masks(self, picture: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the colours C (N, 3, H, W) in -1..1 and the attention M (N, 1, H, W) in 0..1.

        Args:
            picture: (N, 3, H, W) RGB in -1..1, sides divisible by 4.
            condition: (N, K).
        """
        features = self.body(with_planes(picture, condition, self.config.windowed))
        return coloured(picture, self.colour(features), self.config.residual), self.attention(
            features
        )

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Return the changed picture (N, 3, H, W) in -1..1 (eq. 1)."""
        return blended(picture, *self.masks(picture, condition))


build_masked = builder(MaskedConfig, MaskedGenerator)


class PlainGenerator(nn.Module):
    """The same layers without a mask: the whole picture is redrawn.

    Args:
        conditions: K, length of the condition vector.
        width: channels of the first layers.
        blocks: the layers between encoder and decoder, of 4 × width channels.
        windowed, residual: see `MaskedConfig`.
    """

    def __init__(
        self,
        conditions: int,
        width: int,
        blocks: Iterable[nn.Module],
        windowed: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self._windowed, self._residual = windowed, residual
        self.body = encoder_decoder(3 + conditions, width, blocks)
        self.colour = colour_head(width, residual)

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Return the changed picture (N, 3, H, W) in -1..1."""
        features = self.body(with_planes(picture, condition, self._windowed))
        return coloured(picture, self.colour(features), self._residual)


def coloured(picture: Tensor, colour: Tensor, residual: bool) -> Tensor:
    """Return the colours, added to the picture if they are residual."""
    return (picture + colour).clamp(-1, 1) if residual else colour


def with_planes(picture: Tensor, condition: Tensor, windowed: bool = False) -> Tensor:
    """Return pictures (N, 3, H, W) with a plane for each vector element, (N, 3 + K, H, W)."""
    planes = condition[:, :, None, None].expand(-1, -1, *picture.shape[2:])
    return torch.cat([picture, planes * window(picture) if windowed else planes], dim=1)


def window(picture: Tensor) -> Tensor:
    """Return a Hann window (H, W) for pictures (N, 3, H, W): 1 in the middle, 0 at the border."""
    down, across = (
        torch.hann_window(side, periodic=False, device=picture.device, dtype=picture.dtype)
        for side in picture.shape[2:]
    )
    return down[:, None] * across


def blended(picture: Tensor, colour: Tensor, attention: Tensor) -> Tensor:
    """Return (1 − M) · C + M · I_x (Xia 2021, eq. 1)."""
    return (1 - attention) * colour + attention * picture


def halving(widths: Sequence[int], slope: float = 0.01, axes: int = 2) -> list[nn.Module]:
    """Return 4×4 convolutions that halve a picture, each followed by a LeakyReLU.

    With three axes they are 4×4×4 and halve a video's time as well.
    """
    layers: list[nn.Module] = []
    convolution = nn.Conv3d if axes == 3 else nn.Conv2d
    for inputs, outputs in pairwise(widths):
        layers += [convolution(inputs, outputs, 4, 2, 1), nn.LeakyReLU(slope)]
    return layers


class ConditionCritic(nn.Module):
    """Scores patches of a picture, and predicts its condition vector (Table III).

    Args:
        shape: (h, w) of the pictures, px.
        conditions: K, length of the vector.
        width: channels of the first layer; each further layer doubles them.
        depth: number of stride-2 layers; the paper has 6 for a face, 4 for a region. Small pictures
            get fewer.
    """

    def __init__(
        self, shape: tuple[int, int], conditions: int, width: int = 64, depth: int = 6
    ) -> None:
        super().__init__()
        depth = min(depth, min(shape).bit_length() - 2)
        widths = [3, *(width << level for level in range(depth))]
        self.body = nn.Sequential(*halving(widths))
        self.real = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        whole = (shape[0] >> depth, shape[1] >> depth)
        self.condition = nn.Conv2d(widths[-1], conditions, whole, bias=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, 1, h, w), higher for real, and the vector (N, K)."""
        features = self.body(picture)
        return self.real(features), self.condition(features).flatten(1)


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor) -> Tensor:
    """Return the mean of (‖∇D(x̂)‖₂ − 1)² on lines between examples (Gulrajani 2017).

    `score` is D. The first axis of the examples is the batch.
    """
    count = (len(real), *(1,) * (real.ndim - 1))
    share = torch.rand(count, device=real.device, dtype=real.dtype)
    between = (share * real + (1 - share) * generated).requires_grad_(True)
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def total_variation(mask: Tensor) -> Tensor:
    """Return the sum over pixels of squared differences to the right and below, mean over N."""
    across = (mask[..., 1:] - mask[..., :-1]).square().sum()
    down = (mask[..., 1:, :] - mask[..., :-1, :]).square().sum()
    return (across + down) / len(mask)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with instance normalisation, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(width, width, 3, 1, 1, bias=False)),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(width, affine=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, W, h, w) to the same."""
        changed: Tensor = features + self.layers(features)
        return changed


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU()
