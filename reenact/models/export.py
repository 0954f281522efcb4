"""`reenact export`: the live generator as files for other programs.

There are two networks: `encoder` runs once per reference, `generator` once per frame. Their inputs
and outputs are described in export.json beside them. `HeadMesh.maps` computes the maps; weights
trained on a target come with a residual flow for it (`residual_flow.read_personal_flow`). All
operators are in ONNX opset 17, which OpenVINO, ONNX Runtime and TensorRT read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reenact.errors import ModelError, SinkError
from reenact.models.inference import FileNetwork, save_openvino
from reenact.models.warp_unet import WarpUNet, input_shapes, read_config
from reenact.models.warp_unet_inputs import FLOW, shipped_weights
from reenact.models.weights import load_model, read_header
from reenact.storage import atomic_write, write_json
from reenact.types import Array

Format = Literal["onnx", "openvino"]

_OPSET: Final = 17

_ENDINGS: Final[dict[str, str]] = {"onnx": ".onnx", "openvino": ".xml"}

_MAX_DIFFERENCE: Final = 0.01
"""Largest difference between the outputs of a file and of torch, for pictures in -1 to 1."""

_MEANINGS: Final = {
    "reference": "RGB of the target's crop, -1 to 1",
    "person": "coverage of the reference by the person, 0 to 1; 0.5 everywhere if unknown",
    "scene": "the reference with the head inpainted, -1 to 1 (background.scene_behind)",
    "background": "from the encoder",
    "features": "from the encoder",
    "maps": "HeadMesh(read_personal_flow(weights)).maps(reference's landmarks, driven landmarks, "
    "size, size / 2, Lighting.of(reference, its landmarks)), all in reenact.rendering",
    "picture": "RGB, about -1 to 1",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the networks, with example inputs by name."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]


class _Encoder(nn.Module):
    def __init__(self, network: WarpUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.encode(reference, person, scene)


class _Generator(nn.Module):
    def __init__(self, network: WarpUNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, reference: Tensor, background: Tensor, features: Tensor, maps: Tensor
    ) -> Tensor:
        picture: Tensor = self.network(reference, background, features, maps)[0]
        return picture


def export_generator(
    folder: Path, kind: Format, size_px: int, weights: Path | None = None
) -> Iterator[str]:
    """Write encoder, generator and export.json; existing files of these names are replaced.

    Args:
        folder: output folder; it is created if it is missing.
        kind: file format.
        size_px: side of the pictures that the networks take.
        weights: file for `warp_unet`; None: the shipped one.

    Yields:
        A line for the user after each file.

    Raises:
        ModelError: the weights or a library are missing or unsuitable, or a file that was read back
            gives other outputs than torch.
        SinkError: the folder cannot be written.
    """
    weights = weights or shipped_weights()
    network = WarpUNet(read_config(weights))
    load_model(weights, network, "warp_unet")
    network.eval().requires_grad_(False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be written: {error.strerror or error}.") from error
    described: dict[str, Any] = {"size": size_px, "weights": read_header(weights), "networks": {}}
    for part in _parts(network, size_px):
        path = folder / f"{part.name}{_ENDINGS[kind]}"
        if kind == "onnx":
            _save_onnx(part, path)
        else:
            save_openvino(part.module, part.inputs, path)
        outputs = _outputs_of(part)
        difference = _difference(part, outputs, path)
        if difference > _MAX_DIFFERENCE:
            raise ModelError(
                f"{path} differs from the network it was made from by {difference:.3f}; please "
                "report this with the output of `reenact doctor`."
            )
        described["networks"][path.name] = _described(part, outputs)
        yield f"{path}: read back, it differs from torch by at most {difference:.1e}."
    write_json(folder / "export.json", described)


def _parts(network: WarpUNet, size_px: int) -> tuple[_Part, _Part]:
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
        _Part("encoder", _Encoder(network).eval(), encoded, ("background", "features")),
        _Part("generator", _Generator(network).eval(), drawn, ("picture",)),
    )


def _save_onnx(part: _Part, path: Path) -> None:
    try:
        with atomic_write(path) as partial, warnings.catch_warnings():
            # The tracer warns about values that it does not fold into constants.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                part.module,
                tuple(torch.from_numpy(value) for value in part.inputs.values()),
                str(partial),
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
            )
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(
            f"The network could not be written as ONNX ({error}); run in the program's folder: "
            "pip install '.[export]'"
        ) from error


def _outputs_of(part: _Part) -> list[Array]:
    """Return torch's outputs for the example inputs."""
    with torch.inference_mode():
        answer = part.module(*(torch.from_numpy(value) for value in part.inputs.values()))
    return [value.numpy() for value in (answer if isinstance(answer, tuple) else (answer,))]


def _difference(part: _Part, outputs: Sequence[Array], path: Path) -> float:
    """Run the file on the example inputs and return the largest difference from torch."""
    read_back = FileNetwork(path, len(part.inputs), exact=True)(list(part.inputs.values()))
    return max(
        float(np.abs(mine - theirs).max()) for mine, theirs in zip(outputs, read_back, strict=True)
    )


def _described(part: _Part, outputs: Sequence[Array]) -> dict[str, Any]:
    named = zip(part.outputs, outputs, strict=True)
    return {
        "inputs": {name: _shaped(name, value) for name, value in part.inputs.items()},
        "outputs": {name: _shaped(name, value) for name, value in named},
    }


def _shaped(name: str, value: Array) -> dict[str, Any]:
    return {"shape": list(value.shape), "type": "float32", "meaning": _MEANINGS[name]}
