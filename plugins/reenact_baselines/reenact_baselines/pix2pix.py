"""pix2pix (Isola 2017) with the target's picture and the landmark map as its input, and CGAN.

CGAN is pix2pix without its pixel loss, so that the discriminator is its only loss: the row "cGAN"
of Isola 2017, Table 1, after Mirza & Osindero 2014. Both are Fan 2023's recipe with other settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reenact.training.adversarial import AdversarialRecipe, build_adversarial

DEFAULTS: Final[Mapping[str, Any]] = {
    "dropout": 0.5,
    "spectral": False,
    "critic_relu": False,
    "critic_sees_landmarks": True,
    "discriminator_rate": 2e-4,
}


def build_pix2pix(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe from the `[settings]` of a training file; see `PictureGanConfig`."""
    return build_adversarial("pix2pix", {**DEFAULTS, **settings})


def build_cgan(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe from the `[settings]` of a training file; see `PictureGanConfig`."""
    return build_adversarial("cgan", {**DEFAULTS, "pixel_weight": 0.0, **settings})
