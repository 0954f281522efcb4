"""pix2pix (Isola 2017), with the target's picture and the landmark map as its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.unet import UNet
from reenact.training.adversarial import AdversarialRecipe, read_config, unet_config
from reenact.training.picture_pairs import load_pictures

DROPOUT: Final = 0.5
"""Its only noise."""

DEFAULTS: Final = {"discriminator_rate": 2e-4}


def build_recipe(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe from the `[settings]` of a training file; see `AdversarialConfig`."""
    return recipe_of("pix2pix", {**DEFAULTS, **settings})


def recipe_of(name: str, settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Return pix2pix's networks with other weights of the losses, under another name."""
    config = read_config(settings)
    generator = UNet(unet_config(config, DROPOUT))
    discriminator = MarkovDiscriminator(inputs=7, width=config.width, spectral=False)
    return AdversarialRecipe(
        name, config, load_pictures(config), generator, discriminator, sees_landmarks=True
    )
