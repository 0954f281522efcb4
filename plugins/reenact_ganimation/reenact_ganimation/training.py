"""Trains GANimation: unpaired, by a critic that also reads action units off pictures.

The weights of the losses are those of the authors' published settings: condition 4000 over their
batch of 25, cycle 10, attention .1, its smoothness 1e-5, gradient penalty 10; five steps of the
critic for one of the generator. A calm frame is the input and its action units count as 0, so that
the cycle goes back to 0; the other frames' units are relative to it, as they are live. The wanted
units are those of another person of the batch, so no pair is ever compared pixel by pixel.

The attention mask keeps the input where it is 1, and may close there for ever. Its loss keeps it
small, as the authors' does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.errors import ConfigError
from reenact.evaluation.face_reader import units_of
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.models.masked_generator import (
    ConditionCritic,
    MaskedConfig,
    MaskedGenerator,
    blended,
    gradient_penalty,
    total_variation,
)
from reenact.training.adversarial import adam, as_floats, optimizer_step, save_weights
from reenact.training.augmentation import Pair
from reenact.training.loop import Recipe, Schedule
from reenact.training.picture_pairs import (
    NeutralPairs,
    PictureMaterial,
    collate,
    load_pictures,
    measure,
)
from reenact.training.sampling import Batch, PairBatches, PictureData, read_settings

CRITIC_STEPS: Final = 5
"""Steps of the critic for one of the generator; each sees a batch of its own."""


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GanimationConfig(PictureData):
    """The `[settings]` of the recipe; the defaults are the authors'.

    Attributes:
        size_px: side of the pictures, a power of two.
        batch_size: pictures that the critic sees in each of its steps.
        width, blocks: of the networks, see `MaskedConfig`.
        rate: of Adam for both; constant for two thirds of the training, then linear to 0.
        condition_weight, cycle_weight, attention_weight, smooth_weight, penalty_weight: of losses.
    """

    size_px: PositiveInt = 128
    batch_size: PositiveInt = 25
    width: PositiveInt = 64
    blocks: PositiveInt = 6
    rate: NonNegativeFloat = 1e-4
    condition_weight: NonNegativeFloat = 160.0
    cycle_weight: NonNegativeFloat = 10.0
    attention_weight: NonNegativeFloat = 0.1
    smooth_weight: NonNegativeFloat = 1e-5
    penalty_weight: NonNegativeFloat = 10.0


def units_collate(pairs: Sequence[Pair], size_px: int) -> Batch:
    """Make a batch with `units`, (N, 17): those of the truth relative to the reference."""
    rests = [
        to_face_frame(pair.reference_landmarks, estimate_pose(pair.reference_landmarks))
        for pair in pairs
    ]
    units = [units_of(pair.truth_landmarks, rest) for pair, rest in zip(pairs, rests, strict=True)]
    return {**collate(pairs, size_px), "units": np.stack(units)}


class GanimationRecipe(Recipe):
    """See the module."""

    averaged = "generator"

    def __init__(self, config: GanimationConfig, material: PictureMaterial) -> None:
        self.config, self._material = config, material
        try:
            sizes = MaskedConfig(config.size_px, width=config.width, blocks=config.blocks)
        except ValueError as error:
            raise ConfigError(f"settings.size_px: {error}.") from error
        generator, critic = MaskedGenerator(sizes), ConditionCritic(sizes)
        self.networks: dict[str, nn.Module] = {"generator": generator, "critic": critic}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: adam(network, config.rate) for name, network in self.networks.items()
        }
        self.schedules: Mapping[str, Schedule] = dict.fromkeys(self.networks, falling)

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step, each for all steps of the critic."""
        config = self.config
        stack = partial(units_collate, size_px=config.size_px)
        count = CRITIC_STEPS * config.batch_size
        return PairBatches(self._material.sampler, stack, count, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Let the critic learn five times, then the generator once."""
        del progress
        parts = [
            {name: values[number::CRITIC_STEPS] for name, values in batch.items()}
            for number in range(CRITIC_STEPS)
        ]
        for part in parts:
            judged = self._critic_losses(part)
            optimizer_step(self.optimizers["critic"], judged.values())
        drawn = self._generator_losses(parts[-1])
        optimizer_step(self.optimizers["generator"], drawn.values())
        return {**as_floats(judged), **as_floats(drawn)}

    def _critic_losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return WGAN-GP's losses and the error of the units read off real pictures."""
        config = self.config
        generator, critic = self.networks["generator"], self.networks["critic"]
        real, wanted = batch["truth"], _others(batch["units"])
        with torch.no_grad():
            generated = generator(batch["reference"], wanted).float()
        real_scores, read = critic(real)
        generated_scores, _ = critic(generated)
        assert isinstance(critic, ConditionCritic)
        penalty = gradient_penalty(critic, real, generated)
        return {
            "critic": generated_scores.float().mean() - real_scores.float().mean(),
            "penalty": config.penalty_weight * penalty,
            "read": config.condition_weight * F.mse_loss(read.float(), batch["units"]),
        }

    def _generator_losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of the generator; the critic learns nothing from them."""
        config, critic = self.config, self.networks["critic"]
        generator = self.networks["generator"]
        assert isinstance(generator, MaskedGenerator)
        reference, wanted = batch["reference"], _others(batch["units"])
        colour, mask = generator.masks(reference, wanted)
        generated = blended(reference, colour, mask)
        back_colour, back_mask = generator.masks(generated, torch.zeros_like(wanted))
        critic.requires_grad_(False)
        scores, read = critic(generated)
        critic.requires_grad_(True)
        back = blended(generated, back_colour, back_mask)
        masks = torch.cat([mask, back_mask]).float()
        return {
            "adversarial": -scores.float().mean(),
            "units": config.condition_weight * F.mse_loss(read.float(), wanted),
            "cycle": config.cycle_weight * F.l1_loss(back.float(), reference),
            "attention": config.attention_weight * masks.square().mean(),
            "smooth": config.smooth_weight * total_variation(masks),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR and SSIM on held-out people; what is drawn has the true frame's units."""
        device = next(network.parameters()).device

        def draw(batch: Mapping[str, Any]) -> Tensor:
            picture: Tensor = network(batch["reference"], batch["units"])
            return picture

        size_px = self.config.size_px
        return measure(draw, self._material.held_out, size_px, device, units_collate)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that says what they are."""
        assert isinstance(network, MaskedGenerator)
        config, material = network.config.to_json(), self._material
        save_weights(
            "ganimation", network, config=config, material=material, path=path, facts=facts
        )


def falling(progress: float) -> float:
    """Return the factor on the rates: 1 for 20 of 30 epochs, then linear to 0."""
    return min(1.0, 3 * (1 - progress))


def _others(units: Tensor) -> Tensor:
    """Return the units of the next person of the batch."""
    return units.roll(1, dims=0)


def build_recipe(settings: Mapping[str, Any]) -> GanimationRecipe:
    """Make the recipe from the `[settings]` of a training file; see `GanimationConfig`.

    Photos are not used: they have no calm picture of the same person.
    """
    config = read_settings(GanimationConfig, settings)
    return GanimationRecipe(config, load_pictures(config, NeutralPairs))
