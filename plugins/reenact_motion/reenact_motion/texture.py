"""TextureGAN (Otberdout 2022), MotionGAN's second half: frames from a neutral face and landmarks.

    L = L_adv + λ₁ ‖G(I_n, Z) − I‖₁ + λ₂ (1 − cos(F(G(I_n, Z)), F(I_n)))

The paper's adversarial, reconstruction and identity losses. Its extractor F is a network for face
recognition that is not free to ship, so F is learned beside the generator, from real pictures
alone: of a batch it has to tell which two pictures show the same person. Generator and critic are
those of `training.adversarial`, since the survey (Syed 2023, §3.2.1) names no layers; λ and F are
ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, NonNegativeFloat
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn

from reenact.training.adversarial import (
    AdversarialConfig,
    AdversarialRecipe,
    adam,
    fusion_network,
    optimizer_step,
)
from reenact.training.picture_pairs import NeutralPairs, PictureMaterial, load_pictures
from reenact.training.sampling import read_settings
from reenact_motion import TEXTURE_NAME

TEMPERATURE: Final = 0.1
"""Of the similarities by which F tells people."""

FEATURES: Final = 64


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TextureConfig(AdversarialConfig):
    """The `[settings]`: those of Fan 2023 and λ₂, the weight of the identity."""

    identity_weight: NonNegativeFloat = 10.0


class IdentityNetwork(nn.Module):
    """F: maps (N, 3, S, S) pictures in -1..1 to (N, FEATURES) of length one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
            inputs = outputs
        pooled = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * inputs, FEATURES)]
        self.layers = nn.Sequential(*layers, *pooled)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features."""
        return F.normalize(self.layers(pictures).float(), dim=1)


class TextureRecipe(AdversarialRecipe):
    """See the module."""

    def __init__(self, config: TextureConfig, material: PictureMaterial) -> None:
        super().__init__(TEXTURE_NAME, config, material)
        self.networks["identity"] = IdentityNetwork(config.width)
        self.optimizers["identity"] = adam(self.networks["identity"], config.discriminator_rate)

    def further_losses(self, batch: Mapping[str, Any], generated: Tensor) -> dict[str, Tensor]:
        """Let F learn from the real pictures, and return the loss of the generated ones by it."""
        assert isinstance(self.config, TextureConfig)
        network = self.networks["identity"]
        known = network(batch["reference"])
        likeness = known @ network(batch["truth"]).T / TEMPERATURE
        told = F.cross_entropy(likeness, torch.arange(len(known), device=likeness.device))
        optimizer_step(self.optimizers["identity"], [told])
        network.requires_grad_(False)
        alike = (known.detach() * network(generated)).sum(dim=1)
        network.requires_grad_(True)
        return {"identity": self.config.identity_weight * (1 - alike).mean()}


def build_recipe(settings: Mapping[str, Any]) -> TextureRecipe:
    """Make the recipe from the `[settings]` of a training file; the reference is a calm frame."""
    config = read_settings(TextureConfig, settings)
    calm = partial(NeutralPairs, changes=config.augmentation)
    return TextureRecipe(config, load_pictures(config, calm, fusion_network(config)))
