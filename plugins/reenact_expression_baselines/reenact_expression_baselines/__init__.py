"""StarGAN, AttGAN and ExprGAN, which Xia 2021 and Wang 2025 compare with, as renderers.

The target's picture shows an emotion; the head stays still. This module holds the specs and loads
no torch.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.rendering.aligned_face import EmotionRenderer
from reenact.rendering.image_to_image import spec
from reenact.types import Array, Drive


class ExprganRenderer(EmotionRenderer):
    """Asks for an emotion whose code is as large as its intensity."""

    def condition(self, drive: Drive) -> Array:
        """Return the weights of the emotions times the intensity, (1, 8)."""
        return super().condition(drive) * np.float32(min(super().strength(drive), 1.0))

    def strength(self, drive: Drive) -> float:
        """Return 1, but for a faint emotion, so that neutral is the photo."""
        return min(5 * super().strength(drive), 1.0)


STARGAN: Final = spec(
    "stargan",
    "StarGAN of Choi 2018, driven by emotions, as a baseline",
    recipe="reenact_expression_baselines.stargan:build_recipe",
    training_file="plugins/reenact_expression_baselines/stargan.toml",
    build="reenact_expression_baselines.stargan:build",
    renderer=EmotionRenderer,
    export="reenact_expression_baselines.stargan:export",
)
ATTGAN: Final = spec(
    "attgan",
    "AttGAN of He 2019, driven by emotions, as a baseline",
    recipe="reenact_expression_baselines.attgan:build_recipe",
    training_file="plugins/reenact_expression_baselines/attgan.toml",
    build="reenact_expression_baselines.attgan:build",
    renderer=EmotionRenderer,
    export="reenact_expression_baselines.attgan:export",
)
EXPRGAN: Final = spec(
    "exprgan",
    "ExprGAN of Ding 2018, driven by emotions and their intensity, as a baseline",
    recipe="reenact_expression_baselines.exprgan:build_recipe",
    training_file="plugins/reenact_expression_baselines/exprgan.toml",
    build="reenact_expression_baselines.exprgan:build",
    renderer=ExprganRenderer,
    export="reenact_expression_baselines.exprgan:export",
)
