"""The networks of the attention cGAN (Wang 2025, §II-B and C).

The paper gives neither depth nor widths nor the combination of the two attentions. The layers used
here are those of LGP-GAN (Xia 2021, Table II) without a mask. The notation of eq. 5 to 9 is that of
Roy 2018 (scSE), so both attentions are added as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS, LEVELS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import PlainGenerator, ResidualBlock, check_side, halving
from reenact.models.weights import NetworkConfig, builder
from reenact_attention_cgan import WEIGHTS

CODES: Final = (*EMOTIONS, *(f"level {name}" for name in LEVELS))
"""Names of the elements of a condition: an emotion, and a level z of intensity.

The paper has a separate model, or z, for each emotion.
"""

CONDITIONS: Final = len(CODES)


@dataclass(frozen=True, slots=True)
class AttentionConfig(NetworkConfig):
    """Sizes of both networks.

    Attributes:
        size_px: S, side of the faces, a power of two from 32.
        width: channels of the first layers.
        blocks: residual blocks with attention.
        reduction: factor by which W_down of eq. 6 reduces the channels.
        windowed, residual: see `masked_generator.MaskedConfig`.
    """

    size_px: int = 128
    width: int = 64
    blocks: int = 6
    reduction: int = 16
    windowed: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a side that the discriminator cannot halve."""
        check_side(self.size_px)


class ChannelAttention(nn.Module):
    """Weights channels by their spatial mean (eq. 5 to 7)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.down, self.up = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same."""
        pooled = features.mean(dim=(2, 3))
        shares: Tensor = self.up(self.down(pooled).relu()).sigmoid()
        return shares[:, :, None, None] * features


class SpatialAttention(nn.Module):
    """Weights positions by a projection of their channels (eq. 8 and 9)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same."""
        shares: Tensor = self.squeeze(features).sigmoid()
        return shares * features


class AttentionBlock(ResidualBlock):
    """A residual block whose change is weighted by both attentions."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__(channels)
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same."""
        change = self.layers(features)
        weighed: Tensor = features + self.channel(change) + self.spatial(change)
        return weighed


class AttentionGenerator(PlainGenerator):
    """Maps a face (N, 3, S, S) and a condition (N, 12) to a face."""

    def __init__(self, config: AttentionConfig) -> None:
        blocks = [AttentionBlock(4 * config.width, config.reduction) for _ in range(config.blocks)]
        super().__init__(CONDITIONS, config.width, blocks, config.windowed, config.residual)
        self.config = config


class IdentityExtractor(nn.Module):
    """φ of eq. 16: features that identify the people of the training set.

    The paper names no extractor. Free ones with weights (FaceNet, ArcFace) need a download, and
    dlib's has no gradient. This one is trained with the discriminator, on the training faces alone.
    """

    def __init__(self, people: int, width: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width]
        self.body = nn.Sequential(*halving(widths))
        self.people = nn.Linear(widths[-1], people)

    def features(self, faces: Tensor) -> Tensor:
        """Return φ(x), (N, F), of length 1."""
        pooled: Tensor = self.body(faces).mean(dim=(2, 3))
        return nn.functional.normalize(pooled, dim=1)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the logits of the people, (N, P)."""
        logits: Tensor = self.people(16 * self.features(faces))
        return logits


build = builder(AttentionConfig, AttentionGenerator)
export = conditional_exporter("attention_cgan", build, CODES, WEIGHTS)
