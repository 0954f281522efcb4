"""`reenact export`: writes the networks of a generator as files for other programs.

Each exportable renderer names the parts it consists of (`RendererSpec.export`). They are written,
read back and compared with torch. export.json beside them describes their inputs and outputs. All
operators are in ONNX opset 17, which OpenVINO, ONNX Runtime and TensorRT read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from torch import nn

from reenact.errors import ModelError, NoWeightsError
from reenact.models.inference import FileNetwork, save_openvino
from reenact.models.weights import load_built
from reenact.storage import atomic_write, make_folder, write_json
from reenact.types import Array

Format = Literal["onnx", "openvino"]

_OPSET: Final = 17

_ENDINGS: Final[dict[str, str]] = {"onnx": ".onnx", "openvino": ".xml"}

_MAX_DIFFERENCE: Final = 0.01
"""Maximum difference between the outputs of a file and of torch, for pictures in -1 to 1."""


class Exporter(Protocol):
    """Writes the networks of one renderer."""

    def __call__(
        self, folder: Path, kind: Format, size_px: int, weights: Path | None = None
    ) -> Iterator[str]:
        """Write the networks and export.json; existing files of these names are replaced.

        Args:
            folder: output folder; it is created if it is missing.
            kind: file format.
            size_px: side of the pictures that the networks take.
            weights: weight file for the renderer; None: its own.

        Yields:
            A message for the user after each file.

        Raises:
            ModelError: the weights or a library are missing or unsuitable, or a file gives other
                outputs than torch when read back.
            SinkError: the folder cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One network of a generator.

    Attributes:
        name: file name without a suffix.
        module: the network, in evaluation mode.
        inputs: an example of each input by name, in order.
        outputs: names of the outputs, in order.
        meanings: description of each input and output, by name.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    meanings: Mapping[str, str]


def write_parts(
    folder: Path, kind: Format, parts: Iterable[Part], facts: Mapping[str, Any]
) -> Iterator[str]:
    """Write the parts of a generator and export.json, see `Exporter`.

    Args:
        folder: output folder.
        kind: file format.
        parts: the networks.
        facts: properties of the generator for export.json.

    Yields:
        A message for the user after each file.
    """
    make_folder(folder)
    networks: dict[str, Any] = {}
    for part in parts:
        path = folder / f"{part.name}{_ENDINGS[kind]}"
        if kind == "onnx":
            _save_onnx(part, path)
        else:
            save_openvino(part.module, part.inputs, path)
        outputs = _outputs_of(part)
        difference = _difference(part, outputs, path)
        if difference > _MAX_DIFFERENCE:
            raise ModelError(
                f"{path} differs by {difference:.3f} from the network it was made from. Please "
                "report this with the output of `reenact doctor`."
            )
        networks[path.name] = _described(part, outputs)
        yield f"{path}: read back, it differs from torch by at most {difference:.1e}."
    write_json(folder / "export.json", {**facts, "networks": networks})


def conditional_exporter(
    name: str,
    build: Callable[[str], tuple[nn.Module, int]],
    conditions: Sequence[str],
    shipped: str = "",
) -> Exporter:
    """Return the exporter of a generator that maps an aligned face and a condition to a face.

    The exported file takes pictures of the size that the network was trained at.

    Args:
        name: name of the renderer.
        build: builds the network from the config in its weights; also returns its side, px.
        conditions: names of the condition vector's elements; empty: the condition is a landmark
            map.
        shipped: weights that come with the renderer; "": none.
    """

    def export(
        folder: Path, kind: Format, size_px: int, weights: Path | None = None
    ) -> Iterator[str]:
        if weights is None and not shipped:
            raise NoWeightsError(
                f"{name} has no weights of its own: train it, and name the file with --weights."
            )
        weights = weights or Path(shipped)
        network, side, header = load_built(weights, build, name)
        inputs = {
            "face": np.zeros((1, 3, side, side), np.float32),
            "condition": np.full(
                (1, len(conditions)) if conditions else (1, 1, side, side), 0.5, np.float32
            ),
        }
        meanings = {
            "face": "RGB in -1 to 1, aligned as by reenact.rendering.aligned_face.to_frame",
            "condition": ", ".join(conditions)
            or "landmark map of the aligned face in -1 to 1 (reenact.face.geometry)",
            "drawn": "the changed face, RGB in -1 to 1; `gain` is a factor on its change",
        }
        part = Part(name, network, inputs, ("drawn",), meanings)
        yield from write_parts(
            folder, kind, [part], {"renderer": name, "gain": float(header.get("gain", 1))}
        )

    return export


def _save_onnx(part: Part, path: Path) -> None:
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


def _outputs_of(part: Part) -> list[Array]:
    """Return torch's outputs for the example inputs."""
    with torch.inference_mode():
        answer = part.module(*(torch.from_numpy(value) for value in part.inputs.values()))
    return [value.numpy() for value in (answer if isinstance(answer, tuple) else (answer,))]


def _difference(part: Part, outputs: Sequence[Array], path: Path) -> float:
    """Run the file on the example inputs and return the maximum difference from torch."""
    read_back = FileNetwork(path, len(part.inputs), exact=True)(list(part.inputs.values()))
    return max(
        float(np.abs(mine - theirs).max()) for mine, theirs in zip(outputs, read_back, strict=True)
    )


def _described(part: Part, outputs: Sequence[Array]) -> dict[str, Any]:
    named = zip(part.outputs, outputs, strict=True)
    return {
        "inputs": {name: _shaped(part, name, value) for name, value in part.inputs.items()},
        "outputs": {name: _shaped(part, name, value) for name, value in named},
    }


def _shaped(part: Part, name: str, value: Array) -> dict[str, Any]:
    return {"shape": list(value.shape), "type": "float32", "meaning": part.meanings[name]}
