"""The networks of `warp_unet` for `reenact export`.

There are two: `encoder` runs once per reference, `generator` once per frame. `HeadMesh.maps`
computes the maps; weights trained on a target come with a residual flow for it
(`residual_flow.read_personal_flow`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from reenact.models.export import Format, Part, write_parts
from reenact.models.warp_unet import Picture, WarpUNet
from reenact.models.warp_unet_inputs import FLOW, input_shapes, read_config, shipped_weights
from reenact.models.weights import load_model, read_header
from reenact.types import Array

_MEANINGS: Final = {
    "reference": "RGB of the target's crop, -1 to 1",
    "person": "coverage of the reference by the person, 0 to 1; 0.5 everywhere if unknown",
    "scene": "the reference with the head inpainted, -1 to 1 (background.scene_behind)",
    "background": "from the encoder",
    "features": "from the encoder",
    "maps": "HeadMesh(read_personal_flow(weights)).maps(reference's landmarks, driven landmarks, "
    "size, size / 2), all in reenact.rendering",
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
        for name, shape in input_shapes(network.config, size_px).items()
    }
    # Coverages are 0 to 1; the flow is up to a tenth of the side.
    drawn["maps"] = np.abs(drawn["maps"])
    drawn["maps"][:, FLOW] *= 0.1
    person = rng.uniform(0, 1, (1, 1, size_px, size_px)).astype(np.float32)
    encoded = {"reference": drawn["reference"], "person": person, "scene": drawn["background"]}
    return (
        Part("encoder", network.encoder, encoded, ("background", "features"), _MEANINGS),
        Part("generator", Picture(network).eval(), drawn, ("picture",), _MEANINGS),
    )
