"""The recipe of Fan 2023's expression transfer network Ω (eq. 7 to 9, §V-B).

    reenact train configs/train/fan2023.toml

µ1 = 1, µ2 = 100, Adam (0.5, 0.999), rates 2e-4 and 1e-4, batch 8: the defaults of
`AdversarialConfig`. The paper trains 120 epochs; steps and minutes stand in the training file.
Where it differs: the pairs are two frames of one person's clip (the paper's are pictures of data
sets that are given out on request), moved, scaled and recoloured besides the paper's left-right
flip, and the landmark map has the lines of 478 landmarks instead of 68.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.unet import UNet
from reenact.training.adversarial import (
    AdversarialRecipe,
    material_of,
    read_config,
    unet_config,
)


def build_recipe(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        ReenactError: the data is missing or its landmarks do not fit.
    """
    config = read_config(settings)
    generator = UNet(unet_config(config))
    critic = MarkovDiscriminator(inputs=6, width=config.width)
    return AdversarialRecipe("fan2023", config, material_of(config), generator, critic)
