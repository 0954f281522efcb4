"""Trains generators of short face videos against critics: MoCoGAN, VGAN and TGAN.

What a paper adds to that, its networks and losses, stands in its module. The best step is that
whose own videos are told most surely as their class by the recogniser of expressions: no real face
is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.errors import ConfigError
from reenact.evaluation.clips import find_clip_files
from reenact.evaluation.face_reader import FaceReader
from reenact.models.weights import save_model
from reenact.training.adversarial import adam, as_floats, frozen, optimizer_step
from reenact.training.faces.recipe import critic_log_loss
from reenact.training.loop import Recipe
from reenact.training.people import describe, read_settings, recipe_settings, split_people
from reenact.training.sampling import Batch, Batches
from reenact_motion.face_videos import FaceVideo, VideoData, VideoSampler, load_videos
from reenact_motion.video_measures import draw_videos, figures_of
from reenact_motion.video_networks import VideoConfig, VideoCritic

SHOWN: Final = 3
"""Videos of each class that a validation draws."""


@recipe_settings
class VideoTraining(VideoData):
    """The settings that all three have.

    Attributes:
        critic_steps: of the critics for one of the generator; each sees videos of its own.
        width: channels of the networks' largest features, see `VideoConfig`.
        rate: of the optimizers, constant.
        class_weight: of telling the class; ours but for MoCoGAN.
    """

    critic_steps: PositiveInt = 1
    width: PositiveInt = 64
    rate: NonNegativeFloat = 2e-4
    class_weight: NonNegativeFloat = 1.0


class VideoRecipe(Recipe):
    """A generator of videos against critics; its losses are those of a usual GAN with classes.

    Args:
        name: of the weights.
        config: data, sizes and rates.
        generator: satisfies `video_networks.VideoGenerator`.
        videos: what is learned from.
        description: of that, for the header of the weights.
    """

    averaged = "generator"
    critic_kinds: ClassVar[Mapping[str, Callable[[VideoConfig], nn.Module]]] = {
        "critic": VideoCritic
    }

    def __init__(
        self,
        name: str,
        config: VideoTraining,
        generator: Callable[[VideoConfig], nn.Module],
        videos: Sequence[FaceVideo],
        description: str,
    ) -> None:
        self.config, self._name = config, name
        self._sizes = sizes = _sizes(config)
        self._data = description
        self._sampler = VideoSampler(videos)
        critics = {key: kind(sizes) for key, kind in self.critic_kinds.items()}
        self.networks: dict[str, nn.Module] = {"generator": generator(sizes), **critics}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": self.optimizer(self.networks["generator"]),
            "critic": self.optimizer(nn.ModuleDict(critics)),
        }
        self._critics = list(critics)
        self._noise_length: int = self.networks["generator"].noise_length  # type: ignore[assignment]

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return what trains a network."""
        return adam(network, self.config.rate)

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step, each for all steps of the critics."""
        count = self.config.critic_steps * self.config.batch_size
        return Batches(partial(self._sampler.draw, count=count), seed, steps)

    def critic_losses(self, real: Tensor, emotion: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Return the losses of the critics: `critic`, and `read` of telling real videos' classes.

        Args:
            real: (N, 3, T, S, S) in -1..1.
            emotion: (N,) their classes, and those of the drawn.
            drawn: as `real`, without gradients.
        """
        scores, read = self.networks["critic"](real)
        false, _ = self.networks["critic"](drawn)
        return {
            "critic": self.critic_loss(scores, false),
            "read": self.config.class_weight * F.cross_entropy(read, emotion),
        }

    def generator_losses(self, drawn: Tensor, emotion: Tensor) -> dict[str, Tensor]:
        """Return the losses of drawn videos by the critics, which learn nothing from them."""
        scores, read = self.networks["critic"](drawn)
        return {
            "adversarial": self.generator_loss(scores),
            "classes": self.config.class_weight * F.cross_entropy(read, emotion),
        }

    def critic_loss(self, real: Tensor, drawn: Tensor) -> Tensor:
        """Return the loss of separating real from drawn videos, of the critic's scores."""
        return critic_log_loss(real, drawn)

    def generator_loss(self, drawn: Tensor) -> Tensor:
        """Return the adversarial loss of drawn videos, of the critic's scores."""
        return F.softplus(-drawn).mean()

    def draw(self, noise: Tensor, emotion: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return videos, and losses of the generator that no critic tells."""
        return self.networks["generator"](noise, emotion), {}

    def after_critic(self) -> None:
        """Do what follows each step of the critics."""

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Let the critics learn some times, then the generator once."""
        del progress
        count = self.config.critic_steps
        judged: dict[str, Tensor] = {}
        for number in range(count):
            real, emotion = batch["videos"][number::count], batch["emotion"][number::count]
            with torch.no_grad():
                drawn, _ = self.draw(self._noise(real), emotion)
            judged = self.critic_losses(real, emotion, drawn)
            optimizer_step(self.optimizers["critic"], judged.values())
            self.after_critic()
        with frozen(*(self.networks[name] for name in self._critics)):
            drawn, losses = self.draw(self._noise(real), emotion)
            losses |= self.generator_losses(drawn, emotion)
        optimizer_step(self.optimizers["generator"], losses.values())
        return {**as_floats(judged), **as_floats(losses)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the figures of some drawn videos of each class, see `figures_of`.

        Only their first and last frames are read. The score is what the recogniser believes.
        """
        with FaceReader() as reader:
            figures = figures_of(draw_videos(network, SHOWN), reader, read=2)
        known = {name: value for name, value in figures.items() if value is not None}
        names = ("recognised", "believed", "tracked", "consecutive_ssim")
        return {**{name: known[name] for name in names}, "score": known["believed"]}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that says what they are."""
        header = {"architecture": self._name, "config": self._sizes.to_json(), "data": self._data}
        save_model(path, network.state_dict(), {**header, **facts})

    def _noise(self, real: Tensor) -> Tensor:
        return torch.randn(len(real), self._noise_length, device=real.device)


def _sizes(config: VideoTraining) -> VideoConfig:
    try:
        return VideoConfig(config.size_px, config.width)
    except ValueError as error:
        raise ConfigError(f"settings.size_px: {error}.") from error


Settings = TypeVar("Settings", bound=VideoTraining)


def recipe_builder(
    name: str,
    settings_type: type[Settings],
    recipe: type[VideoRecipe],
    generator: Callable[[VideoConfig], nn.Module],
) -> Callable[[Mapping[str, Any]], VideoRecipe]:
    """Return the function that makes a recipe from the `[settings]` of a training file.

    It raises ReenactError if a setting is wrong, or the data is missing or does not fit.
    """

    def build_recipe(settings: Mapping[str, Any]) -> VideoRecipe:
        config = read_settings(settings_type, settings)
        _sizes(config)  # before the data is read
        clips, _ = split_people(config, find_clip_files)
        return recipe(name, config, generator, load_videos(clips, config), describe(clips, config))

    return build_recipe
