"""Trains MotionGAN: a conditional Wasserstein GAN with gradient penalty on tangent vectors.

    L = E[D(v)] - E[D(G(z, c))] + λ E[(‖∇D‖ - 1)²],  v = log_µ(q)       (Otberdout 2022, eq. 5)

and the reconstruction ‖G(z, c) - v‖₁ with a real v of the same class (eq. 6), with its own weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from torch import nn
from torch.utils.data import Dataset

from reenact.errors import ReenactError
from reenact.expression.emotions import EMOTIONS
from reenact.models.masked_generator import gradient_penalty
from reenact.models.weights import save_model
from reenact.training.adversarial import as_floats, optimizer_step
from reenact.training.augmentation import Rng
from reenact.training.deformation_transfer import load_motions
from reenact.training.loop import Recipe
from reenact.training.people import (
    PeopleData,
    describe,
    read_settings,
    recipe_settings,
    split_people,
)
from reenact.training.sampling import Batch, Batches
from reenact_motion import NAME
from reenact_motion.measures import Figures, by_class
from reenact_motion.network import CLASSES, NOISE, MotionCritic, MotionGenerator
from reenact_motion.segments import Segment, find_segments
from reenact_motion.srvf import Curve, exp_map, karcher_mean, log_map

BETAS: Final = (0.5, 0.9)
"""β of Adam in WGAN-GP, with a little more momentum."""


@recipe_settings
class MotionTraining(PeopleData):
    """The `[settings]`: data and loss weights.

    Attributes:
        batch_size: motions per critic step.
        learning_rate: learning rate of both networks, constant.
        critic_steps: critic steps per generator step.
        penalty: λ of the gradient penalty.
        reconstruction_weight: weight of the reconstruction.
    """

    batch_size: PositiveInt = 64
    learning_rate: NonNegativeFloat = 2e-4
    critic_steps: PositiveInt = 5
    penalty: NonNegativeFloat = 10.0
    reconstruction_weight: NonNegativeFloat = 1.0


def build_recipe(settings: Mapping[str, Any]) -> MotionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        ReenactError: the data is missing, or lacks an emotion.
    """
    return MotionRecipe(read_settings(MotionTraining, settings))


class MotionSampler:
    """Draws batches of motions for `Batches`; all classes are drawn equally often.

    A motion is interpolated between two of its class, in the tangent space of their mean, because
    there are few.
    """

    def __init__(self, tangents: Sequence[Curve], shape: tuple[int, int]) -> None:
        self._tangents = np.concatenate(tangents).astype(np.float32)
        self._counts = np.array([len(of_class) for of_class in tangents])
        self._starts = np.cumsum(self._counts) - self._counts
        self._shape = shape

    def draw(self, rng: Rng) -> Batch:
        """Return one batch."""
        emotion = rng.integers(CLASSES, size=self._shape)
        places = rng.random((2, *self._shape)) * self._counts[emotion]
        first, second = self._tangents[self._starts[emotion] + places.astype(int)]
        share = rng.uniform(0, 0.5, (*self._shape, 1, 1)).astype(np.float32)
        return {"tangent": first + share * (second - first), "emotion": emotion}


class MotionRecipe(Recipe):
    """Trains MotionGAN; see the module's docstring."""

    averaged = "generator"

    def __init__(self, config: MotionTraining) -> None:
        self.config = config
        self._clips, held_out = split_people(config, load_motions)
        segments = find_segments(self._clips)
        generator, critic = MotionGenerator(), MotionCritic()
        points = points_by_class(segments)
        means = [karcher_mean(of_class) for of_class in points]
        generator.means.copy_(torch.tensor(np.stack(means)))
        lengths = [[s.duration_s for s in segments if s.emotion == n + 1] for n in range(CLASSES)]
        generator.durations.copy_(torch.tensor([[np.mean(x), np.std(x)] for x in lengths]))
        self._tangents = [log_map(mean, of) for mean, of in zip(means, points, strict=True)]
        self._figures = Figures(segments, find_segments(held_out))
        self.networks: dict[str, nn.Module] = {"generator": generator, "critic": critic}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(network.parameters(), config.learning_rate, betas=BETAS)
            for name, network in self.networks.items()
        }

    def batches(self, seed: int, steps: int) -> Dataset[dict[str, Any]]:
        """Return the dataset of batches, one for each step."""
        shape = (self.config.critic_steps, self.config.batch_size)
        return Batches(MotionSampler(self._tangents, shape).draw, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train the critic on all parts of the batch, then the generator on the last one."""
        del progress
        config, losses = self.config, {}
        generator, critic = self.networks["generator"], self.networks["critic"]
        for real, emotion in zip(batch["tangent"], batch["emotion"], strict=True):
            noise = torch.randn(len(real), NOISE, device=real.device)
            with torch.no_grad():
                made = generator(noise, emotion)
            gap = critic(made, emotion).mean() - critic(real, emotion).mean()
            penalty = gradient_penalty(partial(critic, emotion=emotion), real, made)
            terms = {"critic": gap, "penalty": config.penalty * penalty}
            optimizer_step(self.optimizers["critic"], terms.values())
            losses = as_floats(terms)
        made = generator(noise, emotion)
        terms = {
            "adversarial": -critic(made, emotion).mean(),
            "reconstruction": config.reconstruction_weight * (made - real).abs().mean(),
        }
        optimizer_step(self.optimizers["generator"], terms.values())
        return {**losses, **as_floats(terms)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the figures of `measures.Figures` on the motions of held-out people."""
        device = next(network.parameters()).device

        def draw(emotion: int, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
            noise = torch.tensor(rng.standard_normal((count, NOISE)), device=device)
            number = torch.full((count,), emotion - 1, device=device)
            tangent = network(noise.float(), number).detach().cpu().double().numpy()
            mean = network.get_buffer("means")[emotion - 1].cpu().double().numpy()
            return exp_map(mean, tangent)

        return self._figures.of(draw)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes them."""
        header = {
            "architecture": NAME,
            "data": describe(self._clips, self.config),
            **facts,
        }
        save_model(path, network.state_dict(), header)


def points_by_class(segments: Sequence[Segment]) -> list[Curve]:
    """Return the points of the sphere of each class, (N, T - 1, M).

    Raises:
        ReenactError: there is no motion of a class.
    """
    found = by_class(segments)
    for emotion in range(1, len(EMOTIONS)):
        if emotion not in found:
            raise ReenactError(
                f"No clip shows a motion from neutral to {EMOTIONS[emotion]}; add clips that do."
            )
    return list(found.values())
