"""StarGAN, AttGAN, ExprGAN and CycleGAN, the baselines of other papers, as renderers.

They draw an emotion on the target's picture; the head stays still. This module holds the specs and
does not load torch.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np

from reenact.registry import RendererSpec
from reenact.rendering.aligned_face import EmotionRenderer
from reenact.rendering.image_to_image import spec
from reenact.types import Array, Drive


class ExprganRenderer(EmotionRenderer):
    """Conditions on an emotion whose code is scaled by its intensity."""

    def condition(self, drive: Drive) -> Array:
        """Return the weights of the emotions times the intensity, (1, 8)."""
        return super().condition(drive) * np.float32(min(super().strength(drive), 1.0))

    def strength(self, drive: Drive) -> float:
        """Return 1, and less for a faint emotion, so that neutral is the photo."""
        return min(5 * super().strength(drive), 1.0)


def weights(name: str) -> str:
    """Return the path of the weights that come with a renderer."""
    return str(files("reenact_expression_baselines") / f"{name}.safetensors")


def _baseline(
    name: str,
    summary: str,
    renderer: type[EmotionRenderer] = EmotionRenderer,
    *,
    shipped: bool = True,
) -> RendererSpec:
    module = f"reenact_expression_baselines.{name}"
    return spec(
        name,
        summary,
        recipe=f"{module}:build_recipe",
        training_file=f"plugins/reenact_expression_baselines/{name}.toml",
        build=f"{module}:build",
        renderer=renderer,
        export=f"{module}:export",
        shipped=weights(name) if shipped else "",
    )


STARGAN: Final = _baseline("stargan", "StarGAN of Choi 2018, driven by emotions, as a baseline")
ATTGAN: Final = _baseline("attgan", "AttGAN of He 2019, driven by emotions, as a baseline")
EXPRGAN: Final = _baseline(
    "exprgan",
    "ExprGAN of Ding 2018, driven by emotions and their intensity, as a baseline",
    ExprganRenderer,
)
CYCLEGAN: Final = _baseline(
    "cyclegan", "CycleGAN of Zhu 2017, a network for each emotion, as a baseline", shipped=False
)
