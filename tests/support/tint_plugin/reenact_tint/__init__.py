"""A renderer in a plugin, as small as one can be that is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reenact.rendering.image_to_image import spec

if TYPE_CHECKING:
    from torch import nn


def build(config: str) -> tuple[nn.Module, int]:
    """Make the network of a weight file; `config` is what `save` wrote."""
    from reenact_tint.network import Tint

    return Tint(), int(config)


TINT = spec(
    "tint",
    "the target's picture, tinted where the landmarks are",
    recipe="reenact_tint.network:build_recipe",
    training_file="tint.toml",
    build=build,
)
