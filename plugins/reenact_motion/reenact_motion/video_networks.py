"""Layers that MoCoGAN, VGAN and TGAN share, small: videos of 16 frames, of any class.

All are conditioned alike: the class is one-hot beside the noise, and a critic also tells the class
(Odena 2017; MoCoGAN's categories are learned so). VGAN and TGAN have no classes in their papers'
main text (ours). Critics do not normalise (ours: a batch of a few videos has no statistics).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from reenact.models.masked_generator import check_side, halving
from reenact.models.upsampling import doubling, drawing
from reenact.models.weights import NetworkConfig
from reenact_motion.face_videos import FRAMES
from reenact_motion.network import CLASSES


@dataclass(frozen=True, slots=True)
class VideoConfig(NetworkConfig):
    """Sizes of the networks.

    Attributes:
        size_px: S, side of the frames, a power of two from 32 to 64.
        width: channels of the widest picture; each layer before it has twice as many.
    """

    width: int

    def __post_init__(self) -> None:
        """Refuse what 16 frames could not be doubled or halved with."""
        check_side(self.size_px)
        if self.size_px > 4 * FRAMES:
            raise ValueError(f"a side of {self.size_px} px is above {4 * FRAMES}")

    @property
    def widths(self) -> list[int]:
        """The channels from 4 × 4 px up to the last but one picture."""
        return [self.width << level for level in reversed(range(self.size_px.bit_length() - 3))]

    @property
    def start_frames(self) -> int:
        """Frames of a video where its pictures have 4 × 4 px."""
        return FRAMES >> len(self.widths)


class VideoGenerator(Protocol):
    """What the generators have in common; each is a module, too."""

    noise_length: int

    def __call__(self, noise: Tensor, emotion: Tensor) -> Tensor:
        """Return videos (N, 3, T, S, S) in -1..1.

        Args:
            noise: (N, noise_length), standard normal.
            emotion: (N,) class, an index into `EMOTIONS` less one.
        """
        ...


def with_class(codes: Tensor, emotion: Tensor) -> Tensor:
    """Return (N, K) codes with their classes, one-hot, beside them, (N, K + 7)."""
    named = nn.functional.one_hot(emotion, CLASSES).to(codes.dtype)
    return torch.cat([codes, named], dim=1)


class Start(nn.Module):
    """Maps codes (N, K) to the first features, (N, W, 4, 4) or (N, W, T, 4, 4)."""

    def __init__(self, codes: int, width: int, frames: int = 0) -> None:
        super().__init__()
        self._shape = (width, *([frames] if frames else []), 4, 4)
        self.layer = nn.Linear(codes, width * 16 * max(frames, 1), bias=False)
        self.normalised = nn.BatchNorm3d(width) if frames else nn.BatchNorm2d(width)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.normalised(self.layer(codes).view(-1, *self._shape)).relu()
        return features


class FrameGenerator(nn.Module):
    """Draws pictures (N, 3, S, S) in -1..1 from codes (N, K), as DCGAN does."""

    def __init__(self, codes: int, config: VideoConfig) -> None:
        super().__init__()
        widths = config.widths
        layers = (doubling(*pair) for pair in pairwise(widths))
        self.layers = nn.Sequential(Start(codes, widths[0]), *layers, drawing(widths[-1]))

    def forward(self, codes: Tensor) -> Tensor:
        """Return the pictures."""
        pictures: Tensor = self.layers(codes)
        return pictures

    def videos(self, codes: Tensor) -> Tensor:
        """Return videos (N, 3, T, S, S) whose frames have codes (N, T, K)."""
        pictures: Tensor = self(codes.flatten(0, 1))
        return pictures.view(*codes.shape[:2], *pictures.shape[1:]).transpose(1, 2)


class VideoCritic(nn.Module):
    """Judges videos (N, 3, T, S, S) by 4×4×4 convolutions, and tells their class."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        widths = [3, *reversed(config.widths)]
        self.body = nn.Sequential(*halving(widths, 0.2, axes=3), nn.Flatten())
        self.head = nn.Linear(widths[-1] * config.start_frames * 16, 1 + CLASSES)

    def forward(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N,), higher for real, and logits of the classes, (N, 7)."""
        told = self.head(self.body(videos)).float()
        return told[:, 0], told[:, 1:]


class FrameCritic(nn.Module):
    """Judges pictures (N, 3, S, S)."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        widths = [3, *reversed(config.widths)]
        self.layers = nn.Sequential(
            *halving(widths, 0.2), nn.Flatten(), nn.Linear(widths[-1] * 16, 1)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return scores (N,), higher for real."""
        scores: Tensor = self.layers(pictures)[:, 0].float()
        return scores
