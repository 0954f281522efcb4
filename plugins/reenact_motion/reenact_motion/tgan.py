"""TGAN (Saito 2017): one network draws a code for each moment, another a picture from it.

    v = (G₁(z₀, z₁¹), …, G₁(z₀, z₁ᵀ)),  (z₁¹, …, z₁ᵀ) = G₀(z₀)                     (§3, eq. 3)

G₀ is made of transposed convolutions in time, G₁ of those of a picture, the critic of convolutions
in both. It is a Wasserstein GAN (eq. 4) whose critic is kept Lipschitz by clipping the singular
values of its layers to 1 (§4). Codes have 100 numbers, and RMSprop runs at 5e-5. Different: the
critic learns once for each step, and its values are clipped each time, not every fifth; both codes
enter one linear layer; a head of the critic tells the class (`video_networks`); the widths.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from reenact.models.upsampling import doubling
from reenact.models.weights import builder
from reenact.training.people import recipe_settings
from reenact_motion.face_videos import FRAMES
from reenact_motion.network import CLASSES
from reenact_motion.video_networks import FrameGenerator, VideoConfig, with_class
from reenact_motion.video_training import VideoRecipe, VideoTraining, recipe_builder

CODES: Final = 100
"""Numbers of z₀ and of each z₁."""


@recipe_settings
class TganTraining(VideoTraining):
    """The `[settings]`; the rate is the paper's."""

    rate: NonNegativeFloat = 5e-5


class TganGenerator(nn.Module):
    """Satisfies `video_networks.VideoGenerator`."""

    noise_length = CODES

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        self.config = config
        # From one moment to FRAMES of them.
        widths = [config.widths[0], *[config.widths[0]] * (FRAMES.bit_length() - 2)]
        self.first = nn.Linear(CODES + CLASSES, widths[0])
        layers = (doubling(*pair, axes=1) for pair in pairwise(widths))
        last = nn.ConvTranspose1d(widths[-1], CODES, 4, 2, 1)
        self.moments = nn.Sequential(*layers, last, nn.Tanh())
        self.frames = FrameGenerator(2 * CODES + CLASSES, config)

    def forward(self, noise: Tensor, emotion: Tensor) -> Tensor:
        """Return videos (N, 3, T, S, S)."""
        codes = with_class(noise, emotion)
        moments = self.moments(self.first(codes).relu()[:, :, None]).transpose(1, 2)
        still = codes[:, None].expand(-1, FRAMES, -1)
        return self.frames.videos(torch.cat([still, moments], dim=2))


class TganRecipe(VideoRecipe):
    """See the module."""

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return RMSprop."""
        return torch.optim.RMSprop(network.parameters(), self.config.rate)

    def critic_loss(self, real: Tensor, drawn: Tensor) -> Tensor:
        """Return the loss of the critic (eq. 4)."""
        return drawn.mean() - real.mean()

    def generator_loss(self, drawn: Tensor) -> Tensor:
        """Return the loss of the generator (eq. 4)."""
        return -drawn.mean()

    def after_critic(self) -> None:
        """Clip the singular values of the critic."""
        clip_singular_values(self.networks["critic"])


@torch.no_grad()
def clip_singular_values(network: nn.Module) -> None:
    """Set the singular values above 1 of all weights to 1 (§4.1).

    That of a convolution is taken as a matrix W with a row for each output channel. W Wᵀ, which is
    much smaller, has the squares of the singular values and the same left vectors.
    """
    for weight in network.parameters():
        if weight.ndim > 1:
            matrix = weight.flatten(1)
            with torch.autocast(matrix.device.type, enabled=False):  # bfloat16 has no eigenvalues
                squares, left = torch.linalg.eigh(matrix @ matrix.T)
                scale = squares.clamp(min=1).rsqrt()
                weight.copy_(((left * scale) @ left.T @ matrix).view_as(weight))


build = builder(VideoConfig, TganGenerator)
build_recipe = recipe_builder("tgan", TganTraining, TganRecipe, TganGenerator)
