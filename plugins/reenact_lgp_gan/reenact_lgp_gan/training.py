"""Trains LGP-GAN by eq. 2 to 9 of Xia 2021.

`log D` in eq. 2 is part of a Wasserstein loss, whose critic has no logarithm (Gulrajani 2017); here
it is the critic's score. Eq. 8 and 9 are minimised, so the sign of L_adv in them is inverted. ‖M‖₂
of eq. 7 is divided by the root of the number of pixels, so that its weight does not depend on the
size. The clips have no expression labels: faces are labelled by their action units where these are
clear, and each emotion is drawn equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from reenact.models.masked_generator import ConditionCritic
from reenact.training.faces.material import FaceMaterial, by_emotion
from reenact.training.faces.recipe import (
    FaceGanConfig,
    FaceRecipe,
    critic_losses,
    recipe_builder,
    sizes_of,
)
from reenact.training.people import recipe_settings
from reenact_lgp_gan.network import LOCAL_BLOCKS, LgpConfig, LgpGenerator, critics, cut_out


@recipe_settings
class LgpTraining(FaceGanConfig):
    """The `[settings]` of the recipe; the defaults are the paper's.

    Attributes:
        blocks, local_blocks: of the generators, see `LgpConfig`.
        penalty_weight: λ_gp of eq. 2.
        class_weight, cycle_weight, self_weight, attention_weight: λ1 to λ4 of eq. 8 and 9.
    """

    blocks: PositiveInt = 6
    local_blocks: PositiveInt = LOCAL_BLOCKS
    penalty_weight: NonNegativeFloat = 10.0
    class_weight: NonNegativeFloat = 1.0
    cycle_weight: NonNegativeFloat = 10.0
    self_weight: NonNegativeFloat = 10.0
    attention_weight: NonNegativeFloat = 0.1


class LgpRecipe(FaceRecipe[LgpTraining]):
    """Trains LGP-GAN; see the module's docstring.

    All learning rates are constant for 100,000 of 200,000 steps.
    """

    constant_share = 1 / 2

    def __init__(self, config: LgpTraining, material: FaceMaterial) -> None:
        sizes = sizes_of(LgpConfig, config)
        super().__init__("lgp_gan", config, material, LgpGenerator(sizes), critics(sizes))

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return L_D of eq. 8, summed over the three critics."""
        with torch.no_grad():
            generated = self._generator().draw(self.given(batch)[0], wanted).pictures
        losses = [
            critic_loss(self._critic(name), real, generated[name], self.shows(batch), self.config)
            for name, real in cut_out(batch["faces"]).items()
        ]
        return {name: torch.stack([one[name] for one in losses]).sum() for name in losses[0]}

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the terms of L_G, eq. 9."""
        config, generator = self.config, self._generator()
        faces, own = self.given(batch)
        drawn = generator.draw(faces, wanted)
        judged = {name: self._critic(name)(one) for name, one in drawn.pictures.items()}
        cycle = same = faces.new_zeros(())
        if config.cycle_weight:
            cycle = F.l1_loss(generator(drawn.pictures["face"], own).float(), faces)
        if config.self_weight:
            same = F.l1_loss(generator(faces, own).float(), faces)
        true = cut_out(batch["faces"])
        parts = [
            (one[name], true[name]) for one in (drawn.pictures, drawn.colours) for name in true
        ]
        adversarial = torch.stack([-scores.float().mean() for scores, _ in judged.values()])
        classes = torch.stack([cross_entropy(read, wanted) for _, read in judged.values()])
        return {
            "adversarial": adversarial.sum(),
            "classes": config.class_weight * classes.sum(),
            "cycle": config.cycle_weight * cycle,
            "self": config.self_weight * same,
            "attention": config.attention_weight * attention_loss(drawn.masks),
            **self.pair_losses(*parts),
        }

    def _generator(self) -> LgpGenerator:
        return cast(LgpGenerator, self.networks["generator"])

    def _critic(self, name: str) -> ConditionCritic:
        return cast(ConditionCritic, self.networks[name])


def critic_loss(
    critic: ConditionCritic, real: Tensor, generated: Tensor, emotions: Tensor, config: LgpTraining
) -> dict[str, Tensor]:
    """Return one critic's share of eq. 2 and 3, to be minimised."""
    losses, read = critic_losses(critic, real, generated, config.penalty_weight)
    return {**losses, "read": config.class_weight * cross_entropy(read, emotions)}


def cross_entropy(read: Tensor, emotions: Tensor) -> Tensor:
    """Return the mean of -log D(f | I), of logits and one-hot emotions (N, 8), eq. 3 and 4."""
    return F.cross_entropy(read.float(), emotions)


def attention_loss(masks: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of ‖M‖₂ / √pixels over the masks, mean over the batch (eq. 7)."""
    norms = [mask.float().flatten(1).square().mean(dim=1).sqrt() for mask in masks.values()]
    return torch.stack(norms).sum(dim=0).mean()


build_recipe = recipe_builder(LgpTraining, LgpRecipe, by_emotion)
