"""MotionGAN (Otberdout 2022): how an emotion comes over a face, and TextureGAN, which draws it.

This module holds the specs and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from reenact.config import Section, Share
from reenact.registry import MotionSpec
from reenact.rendering.image_to_image import spec

if TYPE_CHECKING:
    from reenact_motion.source import MotionGAN

NAME: Final = "motion_gan"
TEXTURE_NAME: Final = "texture_gan"


class MotionGANSettings(Section):
    """The section `[drive.motion_gan]`."""

    weights: str = Field(
        "", description="path of a .safetensors file; empty: those that come with the plugin"
    )
    variety: Share = Field(
        1.0, description="how far motions differ from the mean motion of their emotion (0: not)"
    )


def _build(settings: MotionGANSettings) -> MotionGAN:
    from reenact_motion.source import MotionGAN

    return MotionGAN(settings)


MOTION_GAN: Final = MotionSpec(
    name=NAME,
    summary="how an emotion comes over a face, by MotionGAN (Otberdout 2022)",
    build=_build,
    settings=MotionGANSettings,
    recipe="reenact_motion.recipe:build_recipe",
)

TEXTURE_GAN: Final = spec(
    TEXTURE_NAME,
    "frames from a face and landmarks, by TextureGAN (Otberdout 2022; no weights are shipped)",
    recipe="reenact_motion.texture:build_recipe",
    training_file="plugins/reenact_motion/texture_gan.toml",
)
