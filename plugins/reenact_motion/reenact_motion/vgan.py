"""VGAN (Vondrick 2016): a moving foreground before a background that stands still.

    G(z) = m(z) ⊙ f(z) + (1 − m(z)) ⊙ b(z)                                             (eq. 2)

Foreground f and mask m are drawn by 4×4×4 convolutions in time and space, the background b by
convolutions of one picture. The loss is the usual one (eq. 1) with .1 ‖m‖₁, so that little moves;
Adam .5/.999 runs at 2e-4, with batches of 64. Different: 16 frames instead of 32, classes
(`video_networks`), the mean of the mask instead of its sum, and the widths.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from reenact.models.upsampling import doubling, drawing
from reenact.models.weights import builder
from reenact.training.people import recipe_settings
from reenact_motion.network import CLASSES
from reenact_motion.video_networks import FrameGenerator, Start, VideoConfig, with_class
from reenact_motion.video_training import VideoRecipe, VideoTraining, recipe_builder


@recipe_settings
class VganTraining(VideoTraining):
    """The `[settings]`.

    Attributes:
        mask_weight: λ of the mask.
    """

    batch_size: PositiveInt = 64
    mask_weight: NonNegativeFloat = 0.1


class VganGenerator(nn.Module):
    """Satisfies `video_networks.VideoGenerator`."""

    noise_length = 100

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        self.config = config
        codes, widths = self.noise_length + CLASSES, config.widths
        layers = (doubling(*pair, axes=3) for pair in pairwise(widths))
        self.moving = nn.Sequential(Start(codes, widths[0], config.start_frames), *layers)
        self.foreground = drawing(widths[-1], axes=3)
        self.mask = nn.Sequential(nn.ConvTranspose3d(widths[-1], 1, 4, 2, 1), nn.Sigmoid())
        self.background = FrameGenerator(codes, config)

    def streams(self, noise: Tensor, emotion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return f (N, 3, T, S, S), m (N, 1, T, S, S) in 0..1 and b (N, 3, 1, S, S)."""
        codes = with_class(noise, emotion)
        features = self.moving(codes)
        background = self.background(codes)[:, :, None]
        return self.foreground(features), self.mask(features), background

    def forward(self, noise: Tensor, emotion: Tensor) -> Tensor:
        """Return videos (N, 3, T, S, S)."""
        return composed(*self.streams(noise, emotion))


class VganRecipe(VideoRecipe):
    """See the module."""

    def draw(self, noise: Tensor, emotion: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return videos, and the loss of their masks."""
        assert isinstance(self.config, VganTraining)
        generator = cast(VganGenerator, self.networks["generator"])
        foreground, mask, background = generator.streams(noise, emotion)
        loss = self.config.mask_weight * mask.float().mean()
        return composed(foreground, mask, background), {"mask": loss}


def composed(foreground: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Return m ⊙ f + (1 − m) ⊙ b (eq. 2)."""
    return mask * foreground + (1 - mask) * background


build = builder(VideoConfig, VganGenerator)
build_recipe = recipe_builder("vgan", VganTraining, VganRecipe, VganGenerator)
