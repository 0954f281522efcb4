"""Trains GANimation: unpaired, by a critic that also predicts action units.

The loss weights are those of the authors' published settings. Their condition weight of 4000
multiplies a mean squared error over faces and units that is divided once more by their batch of 25,
hence 160 here. Their smoothness of 1e-5 multiplies a sum over the batch, hence 2.5e-4 of the mean
here. The others: cycle 10, attention .1, gradient penalty 10; five critic steps per generator step.
The losses of both masks, of the way there and of the way back, are added. The requested units are
those of another face of the batch, changed at random by up to .1, so no pair is compared pixel by
pixel.

The attention mask keeps the input where it is 1, and may close there permanently. As in the
authors' code, its loss keeps it small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from reenact.expression.emotions import acted_units
from reenact.face.topology import ACTION_UNITS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import (
    ConditionCritic,
    MaskedConfig,
    MaskedGenerator,
    blended,
    build_masked,
)
from reenact.training.faces.material import FaceMaterial
from reenact.training.faces.recipe import FaceGanConfig, FaceRecipe, recipe_builder, sizes_of
from reenact.training.people import recipe_settings
from reenact.types import Array
from reenact_ganimation import WEIGHTS


@recipe_settings
class GanimationTraining(FaceGanConfig):
    """The `[settings]` of the recipe; the defaults are the authors'.

    Attributes:
        size_px: side of the aligned faces, a power of two.
        batch_size: faces that the critic sees in each of its steps.
        blocks: of the generator, see `MaskedConfig`.
        condition_weight, cycle_weight, attention_weight, smooth_weight, penalty_weight: of losses.
        unit_noise: largest change, at random, of each requested unit; none of pairs.
    """

    batch_size: PositiveInt = 25
    blocks: PositiveInt = 6
    condition_weight: NonNegativeFloat = 160.0
    cycle_weight: NonNegativeFloat = 10.0
    attention_weight: NonNegativeFloat = 0.1
    smooth_weight: NonNegativeFloat = 2.5e-4
    penalty_weight: NonNegativeFloat = 10.0
    unit_noise: NonNegativeFloat = 0.1


class GanimationRecipe(FaceRecipe[GanimationTraining]):
    """Trains GANimation; see the module's docstring.

    Both learning rates are constant for 20 of 30 epochs.
    """

    constant_share = 2 / 3

    def __init__(self, config: GanimationTraining, material: FaceMaterial) -> None:
        sizes = sizes_of(MaskedConfig, config)
        side = config.size_px
        critic = ConditionCritic((side, side), sizes.conditions, config.width)
        super().__init__("ganimation", config, material, MaskedGenerator(sizes), {"critic": critic})

    def shows(self, batch: Mapping[str, Tensor], prefix: str = "") -> Tensor:
        """Return the action units of the faces, (N, 17)."""
        return batch[f"{prefix}units"]

    def wanted(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the requested action units, (N, 17)."""
        wanted = super().wanted(batch)
        if self.paired:
            return wanted
        return wanted + self.config.unit_noise * (2 * torch.rand_like(wanted) - 1)

    def acted(self) -> Array:
        """Return the action units of the acted emotions, (7, 17)."""
        return acted_units()[1:].copy()

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return WGAN-GP's losses and the error of the units read off real faces."""
        config = self.config
        weights = config.penalty_weight, config.condition_weight
        return self.wasserstein_losses(batch, wanted, *weights, F.mse_loss)

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the generator."""
        config, critic = self.config, self.networks["critic"]
        generator = cast(MaskedGenerator, self.networks["generator"])
        faces, own = self.given(batch)
        colour, mask = generator.masks(faces, wanted)
        generated = blended(faces, colour, mask)
        scores, read = critic(generated)
        cycle, masks = generated.new_zeros(()), [mask.float()]
        if config.cycle_weight:
            back_colour, back_mask = generator.masks(generated, own)
            back = blended(generated, back_colour, back_mask)
            cycle = F.l1_loss(back.float(), faces)
            masks.append(back_mask.float())
        return {
            "adversarial": -scores.float().mean(),
            "units": config.condition_weight * F.mse_loss(read.float(), wanted),
            "cycle": config.cycle_weight * cycle,
            "attention": config.attention_weight * sum(mask.mean() for mask in masks),
            "smooth": config.smooth_weight * sum(map(_steps, masks)),
            **self.pair_losses((generated, batch["faces"]), (colour, batch["faces"])),
        }


def _steps(mask: Tensor) -> Tensor:
    """Return the sum over pixels of absolute differences to the right and below, mean over N."""
    across, down = mask.diff(dim=3).abs().sum(), mask.diff(dim=2).abs().sum()
    return (across + down) / len(mask)


build_recipe = recipe_builder(GanimationTraining, GanimationRecipe)
export = conditional_exporter("ganimation", build_masked, ACTION_UNITS, shipped=WEIGHTS)
