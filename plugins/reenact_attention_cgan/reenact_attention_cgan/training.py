"""Trains the attention cGAN by eq. 10 to 18 of Wang 2025.

The paper gives no loss weights, learning rates, batch size or number of epochs; the defaults are
chosen here. Eq. 15 compares with a real picture of the requested intensity: another frame of the
same clip. The level of a frame follows from its action units (`emotions.LEVELS`) instead of the
paper's manual labels. The auxiliary classifier also predicts the emotion, because one network has
all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from reenact.expression.emotions import EMOTIONS, LEVELS
from reenact.models.masked_generator import ConditionCritic
from reenact.training.faces.clips import LabelledClip
from reenact.training.faces.material import FaceMaterial, one_hot
from reenact.training.faces.recipe import (
    FaceGanConfig,
    FaceRecipe,
    critic_log_loss,
    recipe_builder,
    sizes_of,
)
from reenact.training.people import recipe_settings
from reenact.types import Array
from reenact_attention_cgan.network import (
    CONDITIONS,
    AttentionConfig,
    AttentionGenerator,
    IdentityExtractor,
)

LEVEL_STARTS: Final = tuple(LEVELS.values())[1:]
"""The minimum intensities of subtle, moderate and intense faces."""


@recipe_settings
class AttentionTraining(FaceGanConfig):
    """The `[settings]` of the recipe.

    Attributes:
        blocks, reduction: see `AttentionConfig`.
        pixel_weight, cycle_weight, identity_weight, level_weight: λ_pix, λ_rec, λ_id, λ_int of
            eq. 17 and 18.
        saturating: True: eq. 10 as published. False: -log D(G), whose gradient does not vanish
            while the discriminator is sure (Goodfellow 2014).
    """

    critic_steps: PositiveInt = 1
    rate: NonNegativeFloat = 2e-4
    blocks: PositiveInt = 6
    reduction: PositiveInt = 16
    pixel_weight: NonNegativeFloat = 10.0
    cycle_weight: NonNegativeFloat = 10.0
    identity_weight: NonNegativeFloat = 1.0
    level_weight: NonNegativeFloat = 1.0
    saturating: bool = True


class AttentionRecipe(FaceRecipe[AttentionTraining]):
    """Trains the attention cGAN; see the module's docstring."""

    paired = True

    def __init__(self, config: AttentionTraining, material: FaceMaterial) -> None:
        sizes = sizes_of(AttentionConfig, config)
        side = config.size_px
        critics = {
            "critic": ConditionCritic((side, side), CONDITIONS, config.width),
            "identity": IdentityExtractor(len(material.people), config.width),
        }
        super().__init__("attention_cgan", config, material, AttentionGenerator(sizes), critics)

    def shows(self, batch: Mapping[str, Tensor], prefix: str = "") -> Tensor:
        """Return the emotions and levels z of the faces, (N, 12)."""
        return labels(batch[f"{prefix}emotions"], batch[f"{prefix}intensity"])

    def acted(self) -> Array:
        """Return all emotions but neutral at the highest level, (7, 12)."""
        return conditions()

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return L_D of eq. 18, and the loss of the identity extractor."""
        with torch.no_grad():
            generated = self.networks["generator"](self.given(batch)[0], wanted).float()
        real, read = self.networks["critic"](batch["faces"])
        false, _ = self.networks["critic"](generated)
        known = self.networks["identity"](batch["faces"])
        return {
            "critic": critic_log_loss(real, false),  # eq. 11
            "read": self.config.level_weight * classification(read, wanted),
            "people": F.cross_entropy(known.float(), batch["people"]),
        }

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the terms of L_G, eq. 17."""
        config, generator = self.config, self.networks["generator"]
        source, shown = self.given(batch)
        drawn = generator(source, wanted)
        scores, read = self.networks["critic"](drawn)
        cycle = source.new_zeros(())
        if config.cycle_weight:
            cycle = F.l1_loss(generator(drawn, shown).float(), source)
        extractor = cast(IdentityExtractor, self.networks["identity"])
        alike = extractor.features(source) - extractor.features(drawn)
        return {
            "adversarial": adversarial_loss(scores, config.saturating),
            "pixels": config.pixel_weight * F.l1_loss(drawn.float(), batch["faces"]),
            "cycle": config.cycle_weight * cycle,
            "identity": config.identity_weight * alike.float().abs().sum(dim=1).mean(),
            "level": config.level_weight * classification(read, wanted),
            **self.pair_losses((drawn, batch["faces"])),
        }


def adversarial_loss(generated: Tensor, saturating: bool) -> Tensor:
    """Return L_adv^G of eq. 10, log(1 - D(G)), of logits; or -log D(G)."""
    if saturating:
        return -F.softplus(generated.float()).mean()
    return F.softplus(-generated.float()).mean()


def classification(read: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of -log D_int (eq. 13 and 14), of the level and of the emotion (ours)."""
    count = len(EMOTIONS)
    emotion = F.cross_entropy(read[:, :count].float(), wanted[:, :count])
    return F.cross_entropy(read[:, count:].float(), wanted[:, count:]) + emotion


def labels(emotions: Tensor, intensity: Tensor) -> Tensor:
    """Return the condition (N, 12) of faces: the emotion, neutral below the first level, and z.

    Args:
        emotions: (N, 8) weights.
        intensity: (N,), 1 as acted.
    """
    bounds = torch.tensor(LEVEL_STARTS, device=intensity.device, dtype=intensity.dtype)
    level = torch.bucketize(intensity, bounds, right=True)
    emotion = torch.where(level > 0, emotions[:, 1:].argmax(dim=1) + 1, 0)
    pair = F.one_hot(emotion, len(EMOTIONS)), F.one_hot(level, len(LEVELS))
    return torch.cat(pair, dim=1).to(intensity.dtype)


def conditions() -> Array:
    """Return the conditions (7, 12) of all emotions but neutral at the highest level."""
    level = np.eye(len(LEVELS), dtype=np.float32)[[-1] * (len(EMOTIONS) - 1)]
    return np.concatenate([one_hot(range(1, len(EMOTIONS))), level], axis=1)


def by_level(clip: LabelledClip) -> NDArray[np.intp]:
    """Return the group (N,) of each face of a clip: one for each emotion at each level."""
    level = np.searchsorted(LEVEL_STARTS, clip.intensity, side="right")
    emotion = np.where(level > 0, clip.emotions[:, 1:].argmax(axis=1) + 1, 0)
    return np.asarray(emotion * len(LEVELS) + level, np.intp)


build_recipe = recipe_builder(AttentionTraining, AttentionRecipe, by_level)
