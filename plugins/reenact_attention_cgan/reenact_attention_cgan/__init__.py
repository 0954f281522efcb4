"""The attention cGAN (Wang 2025) as a renderer of reenact: emotions at levels of intensity.

The head stays still. This module holds the spec and the renderer, and loads no torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np

from reenact.expression.emotions import LEVELS
from reenact.rendering.aligned_face import EmotionRenderer
from reenact.rendering.image_to_image import spec
from reenact.types import Array, Drive

WEIGHTS: Final = str(files("reenact_attention_cgan") / "attention_cgan.safetensors")

STEPS: Final = len(LEVELS) - 1
"""The levels from neutral to intense; they are 1 / `STEPS` of the intensity apart."""


class AttentionRenderer(EmotionRenderer):
    """Conditions on the emotion and a mixture of the two levels nearest to its intensity."""

    condition_shape = (EmotionRenderer.condition_shape[0] + len(LEVELS),)

    def condition(self, drive: Drive) -> Array:
        """Return emotion and level, (1, 12); below subtle the emotion is partly neutral."""
        place = min(super().strength(drive), 1) * STEPS
        level = np.maximum(1 - np.abs(np.arange(len(LEVELS), dtype=np.float32) - place), 0)
        emotion = super().condition(drive)[0] * (1 - level[0])
        emotion[0] = level[0]
        return np.asarray(np.concatenate([emotion, level])[None], np.float32)

    def strength(self, drive: Drive) -> float:
        """Return 1 from subtle on, and less below, so that neutral is the photo."""
        return min(super().strength(drive) * STEPS, 1.0)


ATTENTION_CGAN: Final = spec(
    "attention_cgan",
    "a cGAN with attention (Wang 2025): emotions at levels of intensity",
    recipe="reenact_attention_cgan.training:build_recipe",
    training_file="plugins/reenact_attention_cgan/attention_cgan.toml",
    build="reenact_attention_cgan.network:build",
    renderer=AttentionRenderer,
    export="reenact_attention_cgan.network:export",
    shipped=WEIGHTS,
)
