"""ExprGAN (Ding 2018): a face is an identity code and an expression code of any intensity.

The expression code has five numbers for each of the eight emotions, positive for the requested one
and negative for the others; their magnitude is the intensity. Drawn with the code of what it shows,
a face must be reconstructed. Q must predict the code from the drawn face. A separate discriminator
makes the identity codes uniform over -1..1. The identity loss (its recognition network, VGG-Face,
needs a download) and the three training stages are left out. The loss weights are chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, cast

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import ConditionCritic, coloured, total_variation
from reenact.models.upsampling import doubling, drawing
from reenact.models.weights import builder
from reenact.training.faces.material import FaceMaterial, by_emotion
from reenact.training.faces.recipe import (
    FaceGanConfig,
    FaceRecipe,
    critic_log_loss,
    recipe_builder,
    sizes_of,
)
from reenact.training.people import recipe_settings
from reenact_expression_baselines import weights
from reenact_expression_baselines.layers import BaselineConfig, halving

EMOTION_LENGTH: Final = 5
"""Numbers of each emotion in the expression code."""

IDENTITY_LENGTH: Final = 50
"""Numbers of the identity code."""


@recipe_settings
class ExprganTraining(FaceGanConfig):
    """The `[settings]` of the recipe.

    Attributes:
        depth: layers of the encoder.
        same_weight: weight of the reconstruction.
        code_weight: weight of the code's prediction (Q).
        class_weight: weight of the emotion's classification.
        prior_weight: weight of the identity codes' distribution.
        smooth_weight: weight of the total variation.
    """

    critic_steps: PositiveInt = 1
    rate: NonNegativeFloat = 2e-4
    depth: PositiveInt = 4
    same_weight: NonNegativeFloat = 10.0
    code_weight: NonNegativeFloat = 1.0
    class_weight: NonNegativeFloat = 1.0
    prior_weight: NonNegativeFloat = 0.01
    smooth_weight: NonNegativeFloat = 1e-5


def expression_code(emotions: Tensor, size: Tensor) -> Tensor:
    """Return the code, (N, 8 · `EMOTION_LENGTH`) in -1..1.

    Args:
        emotions: (N, 8), 0 to 1.
        size: (N, `EMOTION_LENGTH`), 0 to 1.
    """
    signed = 2 * emotions[:, :, None] - 1
    return (signed * size[:, None]).flatten(1)


class ExprganGenerator(nn.Module):
    """Maps faces (N, 3, S, S) in -1..1 and emotions times their intensity (N, 8) to faces."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths()
        self.side, self.channels = config.size_px >> len(widths), widths[-1]
        self.encoder = nn.Sequential(*halving([3, *widths]))
        self.identity = nn.Linear(widths[-1] * self.side**2, IDENTITY_LENGTH)
        self.start = nn.Linear(
            IDENTITY_LENGTH + EMOTION_LENGTH * len(EMOTIONS), widths[-1] * self.side**2
        )
        up = list(reversed(widths))
        self.decoder = nn.Sequential(*(doubling(*pair) for pair in pairwise(up)), drawing(up[-1]))

    def encode(self, faces: Tensor) -> Tensor:
        """Return the identity codes, (N, `IDENTITY_LENGTH`) in -1..1."""
        code: Tensor = self.identity(self.encoder(faces).flatten(1)).tanh()
        return code

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Return the picture of both codes, (N, 3, S, S) in -1..1; a change if `residual`.

        Args:
            identity: (N, `IDENTITY_LENGTH`) in -1..1.
            expression: (N, 8 · `EMOTION_LENGTH`), see `expression_code`.
        """
        start = self.start(torch.cat([identity, expression], dim=1))
        features = start.unflatten(1, (self.channels, self.side, self.side))
        drawn: Tensor = self.decoder(features.relu())
        return drawn

    def forward(self, faces: Tensor, emotions: Tensor) -> Tensor:
        """Return the faces with other emotions; the largest element of each is its intensity."""
        size = emotions.amax(dim=1, keepdim=True)
        wanted = emotions / size.clamp(min=1e-6)
        code = expression_code(wanted, size.expand(-1, EMOTION_LENGTH))
        return coloured(faces, self.decode(self.encode(faces), code), self.config.residual)


class ExprganRecipe(FaceRecipe[ExprganTraining]):
    """Trains ExprGAN; see the module's docstring."""

    def __init__(self, config: ExprganTraining, material: FaceMaterial) -> None:
        network = ExprganGenerator(sizes_of(BaselineConfig, config))
        codes = (1 + EMOTION_LENGTH) * len(EMOTIONS)
        critics = {
            "critic": ConditionCritic((config.size_px, config.size_px), codes, config.width),
            "prior": nn.Sequential(
                nn.Linear(IDENTITY_LENGTH, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
            ),
        }
        super().__init__("exprgan", config, material, network, critics)

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the discriminators of faces and of identity codes."""
        generator = self._generator()
        with torch.no_grad():
            faces = self.given(batch)[0]
            identity = generator.encode(faces)
            generated = generator.decode(identity, expression_code(wanted, _sizes(wanted)))
            generated = coloured(faces, generated, self.config.residual)
        scores, read = self.networks["critic"](batch["faces"])
        false, _ = self.networks["critic"](generated)
        even = 2 * torch.rand_like(identity) - 1
        known = F.cross_entropy(read[:, : len(EMOTIONS)].float(), self.shows(batch))
        prior = self.networks["prior"]
        return {
            "critic": critic_log_loss(scores, false),
            "read": self.config.class_weight * known,
            "prior": critic_log_loss(prior(even), prior(identity)),
        }

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of encoder and decoder."""
        config, generator = self.config, self._generator()
        faces, shown = self.given(batch)
        identity, size = generator.encode(faces), _sizes(wanted)
        code = expression_code(wanted, size)
        drawn = coloured(faces, generator.decode(identity, code), config.residual)
        level = batch["other_intensity" if config.pair_weight else "intensity"].clamp(0, 1)
        own = expression_code(shown, level[:, None].expand(-1, EMOTION_LENGTH))
        same = coloured(faces, generator.decode(identity, own), config.residual)
        scores, read = self.networks["critic"](drawn)
        count = len(EMOTIONS)
        return {
            "adversarial": F.softplus(-scores.float()).mean(),
            "prior_fooled": config.prior_weight
            * F.softplus(-self.networks["prior"](identity)).mean(),
            "classes": config.class_weight * F.cross_entropy(read[:, :count].float(), wanted),
            "code": config.code_weight * F.mse_loss(read[:, count:].float(), code),
            "same": config.same_weight * F.l1_loss(same.float(), faces),
            "smooth": config.smooth_weight * total_variation(drawn.float()),
            **self.pair_losses((drawn, batch["faces"])),
        }

    def _generator(self) -> ExprganGenerator:
        return cast(ExprganGenerator, self.networks["generator"])


def _sizes(wanted: Tensor) -> Tensor:
    """Return the magnitudes of new codes, uniform over 0..1, (N, `EMOTION_LENGTH`)."""
    return torch.rand(len(wanted), EMOTION_LENGTH, device=wanted.device)


build = builder(BaselineConfig, ExprganGenerator)
build_recipe = recipe_builder(ExprganTraining, ExprganRecipe, by_emotion)
export = conditional_exporter("exprgan", build, EMOTIONS, weights("exprgan"))
