"""ExprGAN (Ding 2018): a face is an identity code and an expression code of any intensity.

The code of an emotion has five numbers for each of the eight, positive for the wanted one and
negative for the others; their size is the intensity. Drawn with the code of what it shows, a face
has to come back; Q has to read the code off what is drawn; identity codes have to be spread evenly
over -1..1, by a discriminator of their own. Left out: the identity loss (its recognition network,
VGG-Face, is a download) and the three stages of the training. The weights are chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact.models.export import Format, write_conditional
from reenact.models.masked_generator import ConditionCritic, total_variation
from reenact.training.adversarial import FaceGanConfig, FaceRecipe
from reenact.training.labels import FaceMaterial, by_emotion, load_faces, shown
from reenact.training.sampling import read_settings
from reenact_expression_baselines.layers import BaselineConfig, doubling, drawing, halving, sizes

CODES: Final = 5
"""Numbers of each emotion in the expression code."""

IDENTITY: Final = 50
"""Numbers of the identity code."""


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ExprganTraining(FaceGanConfig):
    """The `[settings]` of the recipe.

    Attributes:
        depth: layers of the encoder.
        same_weight: of the reconstruction.
        code_weight: of reading the code (Q).
        class_weight: of telling the emotion.
        prior_weight: of the identity codes' distribution.
        smooth_weight: of the total variation.
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
    """Return the code (N, 8 · `CODES`) of emotions (N, 8), 0 to 1, and sizes (N, CODES), 0 to 1."""
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
        self.identity = nn.Linear(widths[-1] * self.side**2, IDENTITY)
        self.start = nn.Linear(IDENTITY + CODES * len(EMOTIONS), widths[-1] * self.side**2)
        up = list(reversed(widths))
        self.decoder = nn.Sequential(*(doubling(*pair) for pair in pairwise(up)), drawing(up[-1]))

    def encode(self, faces: Tensor) -> Tensor:
        """Return the identity codes, (N, 50) in -1..1."""
        code: Tensor = self.identity(self.encoder(faces).flatten(1)).tanh()
        return code

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Return the faces of both codes."""
        start = self.start(torch.cat([identity, expression], dim=1))
        features = start.unflatten(1, (self.channels, self.side, self.side))
        drawn: Tensor = self.decoder(features.relu())
        return drawn

    def forward(self, faces: Tensor, emotions: Tensor) -> Tensor:
        """Return the faces with other emotions; the largest number of each is its intensity."""
        size = emotions.amax(dim=1, keepdim=True)
        wanted = emotions / size.clamp(min=1e-6)
        return self.decode(self.encode(faces), expression_code(wanted, size.expand(-1, CODES)))


class ExprganRecipe(FaceRecipe):
    """See the module."""

    def __init__(self, config: ExprganTraining, material: FaceMaterial) -> None:
        self.config = config
        network = ExprganGenerator(sizes(config, config.depth))
        codes = (1 + CODES) * len(EMOTIONS)
        critics = {
            "critic": ConditionCritic((config.size_px, config.size_px), codes, config.width),
            "prior": nn.Sequential(nn.Linear(IDENTITY, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)),
        }
        super().__init__("exprgan", config, material, network, critics)

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the discriminators of faces and of identity codes."""
        generator = self._generator()
        with torch.no_grad():
            identity = generator.encode(batch["faces"])
            generated = generator.decode(identity, expression_code(wanted, _sizes(wanted)))
        scores, read = self.networks["critic"](batch["faces"])
        false, _ = self.networks["critic"](generated)
        even = 2 * torch.rand_like(identity) - 1
        known = F.cross_entropy(read[:, : len(EMOTIONS)].float(), shown(batch))
        prior = self.networks["prior"]
        return {
            "critic": F.softplus(-scores.float()).mean() + F.softplus(false.float()).mean(),
            "read": self.config.class_weight * known,
            "prior": F.softplus(-prior(even)).mean() + F.softplus(prior(identity)).mean(),
        }

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of encoder and decoder."""
        config, generator, faces = self.config, self._generator(), batch["faces"]
        identity, size = generator.encode(faces), _sizes(wanted)
        code = expression_code(wanted, size)
        drawn = generator.decode(identity, code)
        own = batch["intensity"].clamp(0, 1)[:, None].expand(-1, CODES)
        same = generator.decode(identity, expression_code(shown(batch), own))
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
            **self.pair_losses(batch, shown(batch)),
        }

    def _generator(self) -> ExprganGenerator:
        return cast(ExprganGenerator, self.networks["generator"])


def _sizes(wanted: Tensor) -> Tensor:
    """Return the sizes of new codes, even over 0..1, (N, CODES)."""
    return torch.rand(len(wanted), CODES, device=wanted.device)


def build(config: str) -> tuple[ExprganGenerator, int]:
    """Build the generator from the config text of a weight file."""
    made = BaselineConfig.from_json(config)
    return ExprganGenerator(made), made.size_px


def build_recipe(settings: Mapping[str, Any]) -> ExprganRecipe:
    """Make the recipe from the `[settings]` of a training file; see `ExprganTraining`."""
    config = read_settings(ExprganTraining, settings)
    return ExprganRecipe(config, load_faces(config, by_emotion))


def export(folder: Path, kind: Format, size_px: int, weights: Path | None = None) -> Iterator[str]:
    """Write the generator; satisfies `models.export.Exporter`. It keeps its own side."""
    del size_px
    return write_conditional(
        folder, kind, weights, name="exprgan", build=build, conditions=EMOTIONS
    )
