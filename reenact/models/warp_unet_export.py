"""The network of `warp_unet` for `reenact export`.

`rendering.layers` composes the picture that the network repairs, and adds the network's output. The
network is the same for every output size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from reenact.models.export import Format, Part, write_parts
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS, input_shapes, read_config
from reenact.models.weights import load_model, read_header

_MEANINGS: Final = {
    "layered": "RGB in -1 to 1 of the box around the face: rendering.layers.in_box of what "
    "rendering.layers.lay_over returns",
    "maps": "the same box, rendering.layers.maps_in_box, of rendering.head_mesh.head_mesh().maps("
    "reference's landmarks, driven landmarks, 256, 128); landmarks are px of a crop of 256 px",
    "residual": "what rendering.layers.add_residual adds to the picture",
}


def export_generator(
    folder: Path, kind: Format, size_px: int, weights: Path | None = None
) -> Iterator[str]:
    """Write the generator and export.json; see `export.Exporter`."""
    weights = weights or SHIPPED_WEIGHTS
    network = WarpUNet(read_config(weights))
    load_model(weights, network, "warp_unet")
    network.eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    example = {
        name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in input_shapes().items()
    }
    part = Part("generator", network, example, ("residual",), _MEANINGS)
    facts = {"size": size_px, "weights": read_header(weights)}
    yield from write_parts(folder, kind, (part,), facts)
