"""A conditional GAN (Mirza & Osindero 2014; the row "cGAN" of Isola 2017, Table 1).

pix2pix without its pixel loss: the discriminator is its only loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reenact.training.adversarial import AdversarialRecipe
from reenact_baselines.pix2pix import DEFAULTS, recipe_of


def build_recipe(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe from the `[settings]` of a training file; see `AdversarialConfig`."""
    return recipe_of("cgan", {**DEFAULTS, "pixel_weight": 0.0, **settings})
