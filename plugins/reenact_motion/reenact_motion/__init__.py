"""MotionGAN (Otberdout 2022): how an emotion comes over a face, and TextureGAN, which draws it.

This module holds the specs and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from pydantic import Field

from reenact.config import Section, Share
from reenact.registry import MotionSpec
from reenact.rendering.image_to_image import LandmarkRenderer, spec
from reenact.types import Array, Drive, Image, Target

if TYPE_CHECKING:
    from reenact_motion.source import MotionGAN

NAME: Final = "motion_gan"
TEXTURE_NAME: Final = "texture_gan"


class TextureRenderer(LandmarkRenderer):
    """Adds what the network changes in the small picture to the target's first reference."""

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are loaded; raises as its parent."""
        super().prepare(target)
        self._picture = target.references[0].astype(np.float32)

    def reference(self, picture: Image, points: Array) -> Array:
        """Return the network's input for the target's picture, (1, 3, S, S) in -1..1."""
        self._small: Array = super().reference(picture, points)
        return self._small

    def render(self, drive: Drive) -> Image:
        """Draw one frame, with the detail of the reference wherever it does not change."""
        (drawn,) = self._engine({"condition": self.condition(drive)})
        change = np.ascontiguousarray((drawn[0] - self._small[0]).transpose(1, 2, 0))
        enlarged = cv2.resize(change, self._picture.shape[:2], interpolation=cv2.INTER_LINEAR)
        return np.clip(np.round(self._picture + 127.5 * enlarged), 0, 255).astype(np.uint8)


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
    renderer=TextureRenderer,
)
