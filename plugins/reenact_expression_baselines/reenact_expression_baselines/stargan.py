"""StarGAN (Choi 2018): one generator for all emotions, a critic that classifies them, a cycle.

The layers are those of the paper, from which Xia 2021 took Tables II and III. Losses: WGAN-GP 10,
classification 1, cycle 10, five critic steps, Adam .5/.999 at 1e-4, constant for half of the
training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from reenact.expression.emotions import EMOTIONS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import ConditionCritic, PlainGenerator, ResidualBlock
from reenact.models.weights import builder
from reenact.training.faces.material import FaceMaterial, by_emotion
from reenact.training.faces.recipe import FaceGanConfig, FaceRecipe, recipe_builder, sizes_of
from reenact.training.people import recipe_settings
from reenact_expression_baselines import weights
from reenact_expression_baselines.layers import BaselineConfig


@recipe_settings
class StarganTraining(FaceGanConfig):
    """The `[settings]` of the recipe; the defaults are the paper's.

    Attributes:
        blocks: residual blocks of the generator.
        class_weight, cycle_weight, penalty_weight: λ_cls, λ_rec, λ_gp.
    """

    blocks: PositiveInt = 6
    class_weight: NonNegativeFloat = 1.0
    cycle_weight: NonNegativeFloat = 10.0
    penalty_weight: NonNegativeFloat = 10.0


class StarganGenerator(PlainGenerator):
    """Maps faces (N, 3, S, S) in -1..1 and emotions (N, 8) to faces."""

    def __init__(self, config: BaselineConfig) -> None:
        blocks = [ResidualBlock(4 * config.width) for _ in range(config.depth)]
        planes = len(EMOTIONS)
        super().__init__(planes, config.width, blocks, config.windowed, config.residual)
        self.config = config


class StarganRecipe(FaceRecipe[StarganTraining]):
    """Trains StarGAN; see the module's docstring."""

    constant_share = 1 / 2

    def __init__(self, config: StarganTraining, material: FaceMaterial) -> None:
        network = StarganGenerator(sizes_of(BaselineConfig, config, depth=config.blocks))
        critic = ConditionCritic((config.size_px, config.size_px), len(EMOTIONS), config.width)
        super().__init__("stargan", config, material, network, {"critic": critic})

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the critic."""
        config = self.config
        weights = config.penalty_weight, config.class_weight
        return self.wasserstein_losses(batch, wanted, *weights)

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the generator."""
        config, generator = self.config, self.networks["generator"]
        faces, own = self.given(batch)
        drawn = generator(faces, wanted)
        scores, read = self.networks["critic"](drawn)
        cycle = faces.new_zeros(())
        if config.cycle_weight:
            cycle = F.l1_loss(generator(drawn, own).float(), faces)
        return {
            "adversarial": -scores.float().mean(),
            "classes": config.class_weight * F.cross_entropy(read.float(), wanted),
            "cycle": config.cycle_weight * cycle,
            **self.pair_losses((drawn, batch["faces"])),
        }


build = builder(BaselineConfig, StarganGenerator)
build_recipe = recipe_builder(StarganTraining, StarganRecipe, by_emotion)
export = conditional_exporter("stargan", build, EMOTIONS, weights("stargan"))
