"""GANimation (Pumarola 2018; survey: Syed 2023, §3.2.2) as a renderer of reenact.

It draws the actor's 17 action units on the target's picture; the head stays still. This module
holds the spec and the renderer, and does not load torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np

from reenact.face.topology import ACTION_UNITS
from reenact.rendering.aligned_face import AlignedRenderer, ramp_from_rest
from reenact.rendering.image_to_image import spec
from reenact.types import Array, Drive

WEIGHTS: Final = str(files("reenact_ganimation") / "ganimation.safetensors")


class GanimationRenderer(AlignedRenderer):
    """Draws the target's first reference with the driven action units."""

    condition_shape = (len(ACTION_UNITS),)

    def condition(self, drive: Drive) -> Array:
        """Return the action units times the intensity, (1, 17)."""
        units = np.clip(drive.expression.action_units * np.float32(drive.intensity), 0, 1)
        return np.ascontiguousarray(units[None], np.float32)

    def strength(self, drive: Drive) -> float:
        """Return 1, and less for faint units, so that a face at rest is the photo."""
        return ramp_from_rest(float(self.condition(drive).max()))


GANIMATION: Final = spec(
    "ganimation",
    "GANimation: action units change a photo, the head stays still",
    recipe="reenact_ganimation.training:build_recipe",
    training_file="plugins/reenact_ganimation/ganimation.toml",
    build="reenact.models.masked_generator:build_masked",
    renderer=GanimationRenderer,
    export="reenact_ganimation.training:export",
    shipped=WEIGHTS,
)
