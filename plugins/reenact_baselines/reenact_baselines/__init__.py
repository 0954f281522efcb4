"""pix2pix, CGAN and G2-GAN, the baselines of Fan 2023, as renderers.

This module holds the specs and does not load torch.
"""

from __future__ import annotations

from typing import Final

from reenact.imaging import to_unit
from reenact.rendering.image_to_image import LandmarkRenderer, map_planes, spec
from reenact.types import Array, Image


class G2GANRenderer(LandmarkRenderer):
    """Removes the expression from the target's picture once, then adds that of each frame."""

    def reference(self, picture: Image, points: Array) -> Array:
        """Return the picture with a resting face."""
        import torch

        from reenact_baselines.g2gan import G2GANNetwork

        assert isinstance(self.network, G2GANNetwork)
        device = next(self.network.parameters()).device
        inputs = to_unit(picture[None]), map_planes([points], picture.shape[0])
        with torch.inference_mode():
            resting = self.network.remove(*(torch.from_numpy(one).to(device) for one in inputs))
        neutral: Array = resting.float().cpu().numpy()
        return neutral


PIX2PIX: Final = spec(
    "pix2pix",
    "the image-to-image network of Isola 2017, as a baseline",
    recipe="reenact_baselines.pix2pix:build_pix2pix",
    training_file="plugins/reenact_baselines/pix2pix.toml",
)
CGAN: Final = spec(
    "cgan",
    "a conditional GAN without pixel loss, as a baseline",
    recipe="reenact_baselines.pix2pix:build_cgan",
    training_file="plugins/reenact_baselines/cgan.toml",
)
G2GAN: Final = spec(
    "g2gan",
    "G2-GAN of Song 2018, through a neutral face, as a baseline",
    recipe="reenact_baselines.g2gan:build_recipe",
    training_file="plugins/reenact_baselines/g2gan.toml",
    build="reenact_baselines.g2gan:build",
    renderer=G2GANRenderer,
)
