"""AttGAN (He 2019): an encoder, and a decoder conditioned on the requested emotion; no cycle.

Drawn with its own emotion, a face must be reconstructed; drawn with another one, the critic must
recognise that. Losses: reconstruction 100, classification 1 for the critic and 10 for the
generator, WGAN-GP 10, five critic steps, Adam .5/.999 at 2e-4, batch 32. The critic is that of Xia
2021, Table III, instead of the paper's with instance normalisation. As in the paper, one shortcut
joins encoder and decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import ConditionCritic, coloured, with_planes
from reenact.models.upsampling import doubling, drawing
from reenact.models.weights import builder
from reenact.training.faces.material import FaceMaterial, by_emotion
from reenact.training.faces.recipe import FaceGanConfig, FaceRecipe, recipe_builder, sizes_of
from reenact.training.people import recipe_settings
from reenact_expression_baselines import weights
from reenact_expression_baselines.layers import BaselineConfig, halving


@recipe_settings
class AttganTraining(FaceGanConfig):
    """The `[settings]` of the recipe; the defaults are the paper's.

    Attributes:
        depth: layers of the encoder.
        same_weight: weight of the reconstruction, λ1.
        class_weight, critic_class_weight: weights of the classification, λ2 and λ3.
        penalty_weight: weight of the gradient penalty.
    """

    batch_size: PositiveInt = 32
    rate: NonNegativeFloat = 2e-4
    depth: PositiveInt = 5
    same_weight: NonNegativeFloat = 100.0
    class_weight: NonNegativeFloat = 10.0
    critic_class_weight: NonNegativeFloat = 1.0
    penalty_weight: NonNegativeFloat = 10.0


class AttganGenerator(nn.Module):
    """Maps faces (N, 3, S, S) in -1..1 and emotions (N, 8) to faces."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths()
        self.encoder = nn.ModuleList(halving([3, *widths]))
        self.up = doubling(widths[-1] + len(EMOTIONS), widths[-2])
        rest = [2 * widths[-2], *reversed(widths[:-2])]
        self.decoder = nn.Sequential(*(doubling(*pair) for pair in pairwise(rest)))
        self.last = drawing(rest[-1])

    def forward(self, faces: Tensor, emotions: Tensor) -> Tensor:
        """Return the faces with other emotions."""
        levels = [faces]
        for layer in self.encoder:
            levels.append(layer(levels[-1]))
        features = torch.cat([self.up(with_planes(levels[-1], emotions)), levels[-2]], dim=1)
        return coloured(faces, self.last(self.decoder(features)), self.config.residual)


class AttganRecipe(FaceRecipe[AttganTraining]):
    """Trains AttGAN; see the module's docstring."""

    def __init__(self, config: AttganTraining, material: FaceMaterial) -> None:
        network = AttganGenerator(sizes_of(BaselineConfig, config))
        critic = ConditionCritic((config.size_px, config.size_px), len(EMOTIONS), config.width)
        super().__init__("attgan", config, material, network, {"critic": critic})

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the critic."""
        config = self.config
        weights = config.penalty_weight, config.critic_class_weight
        return self.wasserstein_losses(batch, wanted, *weights)

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the generator."""
        config, generator = self.config, self.networks["generator"]
        faces, own = self.given(batch)
        drawn = generator(faces, wanted)
        scores, read = self.networks["critic"](drawn)
        same = generator(faces, own)
        return {
            "adversarial": -scores.float().mean(),
            "classes": config.class_weight * F.cross_entropy(read.float(), wanted),
            "same": config.same_weight * F.l1_loss(same.float(), faces),
            **self.pair_losses((drawn, batch["faces"])),
        }


build = builder(BaselineConfig, AttganGenerator)
build_recipe = recipe_builder(AttganTraining, AttganRecipe, by_emotion)
export = conditional_exporter("attgan", build, EMOTIONS, weights("attgan"))
