"""LGP-GAN (Xia 2021) as a renderer of reenact: eyes and mouth first, then the whole face.

It draws an emotion on the target's picture; the head stays still. This module holds the spec and
does not load torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from reenact.rendering.aligned_face import EmotionRenderer
from reenact.rendering.image_to_image import spec

WEIGHTS: Final = str(files("reenact_lgp_gan") / "lgp_gan.safetensors")


LGP_GAN: Final = spec(
    "lgp_gan",
    "LGP-GAN (Xia 2021): a photo shows an emotion, the head stays still",
    recipe="reenact_lgp_gan.training:build_recipe",
    training_file="plugins/reenact_lgp_gan/lgp_gan.toml",
    build="reenact_lgp_gan.network:build",
    renderer=EmotionRenderer,
    export="reenact_lgp_gan.network:export",
    shipped=WEIGHTS,
)
