"""The attention cGAN (Wang 2025) as a renderer of reenact: emotions at levels of intensity.

The head stays still. This module holds the spec and the renderer, and loads no torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np

from reenact.rendering.aligned_face import EmotionRenderer
from reenact.rendering.image_to_image import spec
from reenact.types import Array, Drive

WEIGHTS: Final = str(files("reenact_attention_cgan") / "attention_cgan.safetensors")

LEVELS: Final = 4
"""neutral, subtle, moderate and intense, at intensities 0, 1/3, 2/3 and 1."""


class AttentionRenderer(EmotionRenderer):
    """Asks for the emotion, and for a mixture of the two levels nearest to its intensity."""

    condition_shape = (EmotionRenderer.condition_shape[0] + LEVELS,)

    def condition(self, drive: Drive) -> Array:
        """Return emotion and level, (1, 12); below subtle the emotion is part neutral."""
        place = min(self._intensity(drive), 1) * (LEVELS - 1)
        level = np.maximum(1 - np.abs(np.arange(LEVELS, dtype=np.float32) - place), 0)
        emotion = super().condition(drive)[0] * (1 - level[0])
        emotion[0] = level[0]
        return np.asarray(np.concatenate([emotion, level])[None], np.float32)

    def strength(self, drive: Drive) -> float:
        """Return 1 from subtle on, and a share of it below, so that neutral is the photo."""
        return min(self._intensity(drive) * (LEVELS - 1), 1.0)

    @staticmethod
    def _intensity(drive: Drive) -> float:
        return drive.intensity * float(1 - drive.emotion[0])


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
