"""MotionGAN (Otberdout 2022), which generates motions, and TextureGAN, which draws them.

This module holds the specs and does not load torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import Field

from reenact.config import Section, Share, UserPath
from reenact.face.geometry import estimate_pose, to_face_frame, to_image, transform_points
from reenact.registry import MotionSpec
from reenact.rendering.aligned_face import AlignedRenderer, ramp_from_rest
from reenact.rendering.image_to_image import map_planes, spec
from reenact.types import Array, Drive, Target

if TYPE_CHECKING:
    from reenact_motion.source import MotionGAN

NAME: Final = "motion_gan"
TEXTURE_NAME: Final = "texture_gan"
TEXTURE_WEIGHTS: Final = str(files("reenact_motion") / f"{TEXTURE_NAME}.safetensors")


class TextureRenderer(AlignedRenderer):
    """Draws the target's first reference with the driven expression; the head stays still."""

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are already loaded; raises like the base class."""
        super().prepare(target)
        self._pose = estimate_pose(target.landmarks[0])

    def condition(self, drive: Drive) -> Array:
        """Return the landmark map in the photo's pose, (1, 1, S, S) in -1..1."""
        shape = to_face_frame(drive.landmarks, estimate_pose(drive.landmarks))
        points = transform_points(to_image(shape, self._pose), self._affine)
        return map_planes([points], self._size)

    def strength(self, drive: Drive) -> float:
        """Return 1, and less for faint expressions, so that a face at rest is the photo."""
        return ramp_from_rest(float(np.abs(drive.expression.action_units).max()))


class MotionGANSettings(Section):
    """The section `[drive.motion_gan]`."""

    weights: UserPath = Field(
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
    "frames from a face and landmarks, by TextureGAN (Otberdout 2022)",
    recipe="reenact_motion.texture:build_recipe",
    training_file="plugins/reenact_motion/texture_gan.toml",
    renderer=TextureRenderer,
    export="reenact_motion.texture:export",
    shipped=TEXTURE_WEIGHTS,
)
