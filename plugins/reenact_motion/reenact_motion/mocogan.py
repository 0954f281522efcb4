"""MoCoGAN (Tulyakov 2018): a video is one content and a path of motion codes.

    z_C ~ N(0, I), once;  z_M(1…T) = GRU(ε(1…T));  frame t = G_I(z_C, z_M(t), z_A)        (§3.1)

One critic judges single frames and another whole videos. The latter also tells the class z_A:

    min max  E[log D_I(x)] + E[log(1 − D_I(G))] + E[log D_V(v)] + E[log(1 − D_V(G))] + λ L_I

(eq. 6 and 7), where L_I is learned from real videos, too, as in the authors' code. As there,
content has 50 numbers, motion 10, and Adam .5/.999 runs at 2e-4. Different: the generator maximises
log D, one frame of each video is judged, λ is 1, and the layers are those of `video_networks`.
"""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from reenact.models.weights import builder
from reenact.training.faces.recipe import critic_log_loss
from reenact_motion.face_videos import FRAMES
from reenact_motion.network import CLASSES
from reenact_motion.video_networks import (
    FrameCritic,
    FrameGenerator,
    VideoConfig,
    VideoCritic,
    with_class,
)
from reenact_motion.video_training import VideoRecipe, VideoTraining, recipe_builder

CONTENT: Final = 50
MOTION: Final = 10
"""Numbers of the codes."""


class MocoganGenerator(nn.Module):
    """Satisfies `video_networks.VideoGenerator`."""

    noise_length = CONTENT + MOTION * (1 + FRAMES)
    """The content, where the path of motion begins, and what moves it at each frame."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        self.config = config
        self.motion = nn.GRU(MOTION, MOTION, batch_first=True)
        self.frames = FrameGenerator(CONTENT + MOTION + CLASSES, config)

    def forward(self, noise: Tensor, emotion: Tensor) -> Tensor:
        """Return videos (N, 3, T, S, S)."""
        content, moves = noise[:, :CONTENT], noise[:, CONTENT:].view(-1, 1 + FRAMES, MOTION)
        path, _ = self.motion(moves[:, 1:], moves[None, :, 0].contiguous())
        still = with_class(content, emotion)[:, None].expand(-1, FRAMES, -1)
        return self.frames.videos(torch.cat([path, still], dim=2))


class MocoganRecipe(VideoRecipe):
    """See the module."""

    critic_kinds: ClassVar = {"critic": VideoCritic, "frame_critic": FrameCritic}

    def critic_losses(self, real: Tensor, emotion: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Return the losses of both critics, and of telling the classes of real videos."""
        losses = super().critic_losses(real, emotion, drawn)
        frames = self.networks["frame_critic"]
        told = critic_log_loss(frames(_one_frame(real)), frames(_one_frame(drawn)))
        return {**losses, "critic": losses["critic"] + told}

    def generator_losses(self, drawn: Tensor, emotion: Tensor) -> dict[str, Tensor]:
        """Return the losses of the generator by both critics."""
        losses = super().generator_losses(drawn, emotion)
        told = self.generator_loss(self.networks["frame_critic"](_one_frame(drawn)))
        return {**losses, "adversarial": losses["adversarial"] + told}


def _one_frame(videos: Tensor) -> Tensor:
    """Return a frame of each video, drawn at random, (N, 3, S, S)."""
    frames = torch.randint(FRAMES, (len(videos),), device=videos.device)
    return videos[torch.arange(len(videos), device=videos.device), :, frames]


build = builder(VideoConfig, MocoganGenerator)
build_recipe = recipe_builder("mocogan", VideoTraining, MocoganRecipe, MocoganGenerator)
