"""CycleGAN (Zhu 2017): two generators between two domains, and a cycle through both.

The survey names it as a baseline of GANimation (Syed 2023, §5). It takes no condition, so that each
pair of domains has a model of its own, as in StarGAN's and GANimation's papers. A target's photo is
calm; so the pairs here are neutral and each of the seven emotions. The seven models are trained in
turns, a step is of one emotion, and one file keeps them. From one emotion to another there is no
way but through neutral.

    L_GAN = E[(D_Y(G(x)) − 1)²] + E[(D_X(F(y)) − 1)²]                                  (eq. 1)
    L_cyc = ‖F(G(x)) − x‖₁ + ‖G(F(y)) − y‖₁                                            (eq. 2)
    L     = L_GAN + λ L_cyc + ½ λ (‖G(y) − y‖₁ + ‖F(x) − x‖₁)                  (eq. 3 and §5.2)

Least squares are those of §4, where a critic's loss is halved. λ is 10, Adam .5/.999 runs at 2e-4,
constant for half of the training, with batches of one face; six residual blocks at 128 px.
Different from the paper: a critic is shown what is drawn now instead of one of the last 50
pictures, and normalises by the batch, which is the instance where a batch holds one face. The
generator's layers are those of StarGAN, which took them from here. Several processes cannot train
it together, since each would draw another emotion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.errors import ReenactError
from reenact.expression.emotions import EMOTIONS
from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import ResidualBlock, colour_head, coloured, encoder_decoder
from reenact.models.weights import builder
from reenact.training.adversarial import adam, square_loss
from reenact.training.augmentation import Rng
from reenact.training.faces.material import FaceMaterial, by_emotion
from reenact.training.faces.recipe import FaceGanConfig, FaceRecipe, recipe_builder, sizes_of
from reenact.training.people import recipe_settings
from reenact.training.sampling import Batch, Batches
from reenact_expression_baselines.layers import BaselineConfig


@recipe_settings
class CycleganTraining(FaceGanConfig):
    """The `[settings]` of the recipe; the defaults are the paper's.

    Attributes:
        blocks: residual blocks of each generator.
        cycle_weight: λ.
        same_weight: of the last term of eq. 3, as a share of λ.
    """

    batch_size: PositiveInt = 1
    critic_steps: PositiveInt = 1
    rate: NonNegativeFloat = 2e-4
    blocks: PositiveInt = 6
    cycle_weight: NonNegativeFloat = 10.0
    same_weight: NonNegativeFloat = 0.5


class Translator(nn.Module):
    """Maps faces (N, 3, S, S) in -1..1 of one domain to the other."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self._residual = config.residual
        blocks = [ResidualBlock(4 * config.width) for _ in range(config.depth)]
        self.body = encoder_decoder(3, config.width, blocks)
        self.colour = colour_head(config.width, config.residual)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the faces in the other domain."""
        return coloured(faces, self.colour(self.body(faces)), self._residual)


class CycleganGenerator(nn.Module):
    """Maps faces (N, 3, S, S) in -1..1 and emotions (N, 8) to faces.

    Each emotion has a network of its own; of several emotions the pictures are mixed, and the share
    of neutral keeps the face.
    """

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.translators = nn.ModuleList(Translator(config) for _ in EMOTIONS[1:])

    def forward(self, faces: Tensor, emotions: Tensor) -> Tensor:
        """Return the faces with other emotions."""
        shares = emotions[:, :, None, None, None].unbind(1)
        drawn = shares[0] * faces
        for share, translator in zip(shares[1:], self.translators, strict=True):
            # An exported network has no branches, so that it draws all emotions.
            exported: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            if exported or bool(share.any()):
                drawn = drawn + share * translator(faces)
        return drawn


class CycleganRecipe(FaceRecipe[CycleganTraining]):
    """See the module."""

    constant_share = 1 / 2

    def __init__(self, config: CycleganTraining, material: FaceMaterial) -> None:
        self._emotions = sorted(set(material.groups) - {0})
        if 0 not in material.groups or not self._emotions:
            raise ReenactError(
                "CycleGAN needs faces at rest and faces that show an emotion; add clips, or bend "
                "some to emotions by --set settings.acted_frames=6."
            )
        sizes = sizes_of(BaselineConfig, config, depth=config.blocks)
        critics = {"critic": _critics(config.width), "calm_critic": _critics(config.width)}
        super().__init__("cyclegan", config, material, CycleganGenerator(sizes), critics)
        self.networks["calming"] = nn.ModuleList(Translator(sizes) for _ in EMOTIONS[1:])
        both = nn.ModuleList([self.networks["generator"], self.networks["calming"]])
        self.optimizers["generator"] = adam(both, config.rate)

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step, each of one emotion, with as many `calm_faces`."""
        count = self.config.critic_steps * self.config.batch_size
        return Batches(partial(_drawn, self.material, self._emotions, count), seed, steps)

    def wanted(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the emotion of the batch, (N, 8)."""
        return self.shows(batch)

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the loss of the critics of both domains."""
        acting, calming, critic, calm_critic = self._of(wanted)
        faces, calm = batch["faces"], batch["calm_faces"]
        with torch.no_grad():
            acted, calmed = acting(calm), calming(faces)
        loss = (
            square_loss(_judged(critic, faces), 1.0)
            + square_loss(_judged(critic, acted), 0.0)
            + square_loss(_judged(calm_critic, calm), 1.0)
            + square_loss(_judged(calm_critic, calmed), 0.0)
        )
        return {"critic": loss / 2}

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of both generators of an emotion."""
        acting, calming, critic, calm_critic = self._of(wanted)
        faces, calm = batch["faces"], batch["calm_faces"]
        acted, calmed = acting(calm), calming(faces)
        adversarial = square_loss(_judged(critic, acted), 1.0)
        adversarial = adversarial + square_loss(_judged(calm_critic, calmed), 1.0)
        cycle = _l1(calming(acted), calm) + _l1(acting(calmed), faces)
        same = _l1(acting(faces), faces) + _l1(calming(calm), calm)
        weight, losses = self.config.cycle_weight, {}
        if self.config.pair_weight:
            losses = self.pair_losses((acting(batch["other_faces"]), faces))
        return {
            "adversarial": adversarial,
            "cycle": weight * cycle,
            "same": self.config.same_weight * weight * same,
            **losses,
        }

    def _of(self, wanted: Tensor) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        """Return the networks of a batch's emotion: to it, from it, its critic and neutral's."""
        number = int(wanted[0].argmax()) - 1
        generator = self.networks["generator"]
        assert isinstance(generator, CycleganGenerator)
        banks = (self.networks[name] for name in ("calming", "critic", "calm_critic"))
        calming, critic, calm_critic = (bank.get_submodule(str(number)) for bank in banks)
        return generator.translators[number], calming, critic, calm_critic


def _critics(width: int) -> nn.ModuleList:
    """Return the critic of a picture for each emotion."""
    return nn.ModuleList(
        MarkovDiscriminator(3, width, spectral=False, relu=False) for _ in EMOTIONS[1:]
    )


def _judged(critic: nn.Module, faces: Tensor) -> Tensor:
    """Return what a critic says of pictures without a condition."""
    scores: Tensor = critic(faces[:, :0], faces)
    return scores


def _l1(drawn: Tensor, wanted: Tensor) -> Tensor:
    return F.l1_loss(drawn.float(), wanted)


def _drawn(material: FaceMaterial, emotions: Sequence[int], count: int, rng: Rng) -> Batch:
    """Draw faces of one emotion, and as many that are calm."""
    batch = material.draw(rng, count, [int(rng.choice(emotions))])
    return {**batch, "calm_faces": material.draw(rng, count, [0])["faces"]}


build = builder(BaselineConfig, CycleganGenerator)
build_recipe = recipe_builder(CycleganTraining, CycleganRecipe, by_emotion)
export = conditional_exporter("cyclegan", build, EMOTIONS)
