"""The networks of `warp_unet` for `reenact export`.

There are two: `encoder` runs once per reference, `generator` once per frame. For every size they
work on the cells of `NETWORK_PX`; pictures are scaled inside of them, and the reference is sampled
at the output's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from reenact.models.export import Format, Part, write_parts
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import (
    FLOW,
    NETWORK_PX,
    input_shapes,
    read_config,
    shipped_weights,
)
from reenact.models.weights import load_model, read_header
from reenact.types import Array

_MEANINGS: Final = {
    "reference": "RGB of the target's crop, -1 to 1; for the generator also the person's share of "
    "it, 0 to 1 (background.layers_of)",
    "person": "coverage of the reference by the person, 0 to 1; 0.5 everywhere if unknown",
    "scene": "the reference with the person inpainted, -1 to 1 (background.layers_of)",
    "background": "from the encoder",
    "features": "from the encoder",
    "maps": "reenact.rendering.head_mesh.head_mesh().maps(reference's landmarks, driven landmarks, "
    "256, 128); landmarks are px of a crop of 256 px, whatever the size",
    "picture": "RGB, about -1 to 1",
}


def export_generator(
    folder: Path, kind: Format, size_px: int, weights: Path | None = None
) -> Iterator[str]:
    """Write encoder, generator and export.json; see `export.Exporter`."""
    weights = weights or shipped_weights()
    network = WarpUNet(read_config(weights))
    load_model(weights, network, "warp_unet")
    network.eval().requires_grad_(False)
    facts = {"size": size_px, "weights": read_header(weights)}
    yield from write_parts(folder, kind, _parts(network, size_px), facts)


def _parts(network: WarpUNet, size_px: int) -> tuple[Part, Part]:
    rng = np.random.default_rng(0)
    drawn: dict[str, Array] = {
        name: rng.uniform(-1, 1, shape).astype(np.float32)
        for name, shape in input_shapes(network.config, NETWORK_PX).items()
    }
    picture, scene = (rng.uniform(-1, 1, (1, 3, size_px, size_px)) for _ in range(2))
    person = rng.uniform(0, 1, (1, 1, size_px, size_px)).astype(np.float32)
    drawn["reference"] = np.concatenate([picture.astype(np.float32), person], axis=1)
    drawn["background"] = scene.astype(np.float32)
    # Coverages are 0 to 1; the flow is up to a tenth of the side.
    drawn["maps"] = np.abs(drawn["maps"])
    drawn["maps"][:, FLOW] *= 0.1
    encoded = {
        "reference": drawn["reference"][:, :3],
        "person": person,
        "scene": drawn["background"],
    }
    encoder: nn.Module = network.encoder
    if size_px != NETWORK_PX:
        encoder = _Encoder(network, size_px)
    generator = _Generator(network, size_px)
    return (
        Part("encoder", encoder.eval(), encoded, ("background", "features"), _MEANINGS),
        Part("generator", generator.eval(), drawn, ("picture",), _MEANINGS),
    )


class _Encoder(nn.Module):
    """Encodes pictures of another size than the network's; its background has theirs."""

    def __init__(self, network: WarpUNet, size_px: int) -> None:
        super().__init__()
        self.network, self.size_px = network, size_px

    def forward(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        coarse = _resize(scene, NETWORK_PX)
        background, features = self.network.encode(
            _resize(reference, NETWORK_PX), _resize(person, NETWORK_PX), coarse
        )
        return scene + _resize(background - coarse, self.size_px), features


class _Generator(nn.Module):
    """Draws at another size than the network's, as `rendering.layers` does."""

    def __init__(self, network: WarpUNet, size_px: int) -> None:
        super().__init__()
        self.network, self.size_px = network, size_px

    def forward(
        self, reference: Tensor, background: Tensor, features: Tensor, maps: Tensor
    ) -> Tensor:
        layered = self.network.layered(reference, background, maps)
        residual = self.network.residual(_resize(layered, NETWORK_PX), features, maps)
        return layered + _resize(residual, self.size_px)


def _resize(x: Tensor, size_px: int) -> Tensor:
    """Resize (N, C, S, S), by the mean of areas where it shrinks by a whole number."""
    factor, rest = divmod(int(x.shape[-1]), size_px)  # tracing, it is a tensor
    if factor > 1 and not rest:
        return F.avg_pool2d(x, factor)
    return F.interpolate(x, size=(size_px, size_px), mode="bilinear", align_corners=False)
