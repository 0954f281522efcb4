"""The tracker's landmark network in torch, so that a loss can be differentiated through it.

MediaPipe ships "attention mesh" (Grishchenko 2020) as a TFLite file. The network reads 468
landmarks of a face, then crops its own features around lips and eyes and reads those more finely.
TFLite cannot be differentiated, so torch runs the file's operators here, with the file's own,
constant weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from flatbuffers import flexbuffers
from numpy.typing import NDArray
from torch import Tensor, nn

from reenact.errors import ModelError
from reenact.face.mediapipe_tracker import landmark_network
from reenact.face.topology import N_SKIN
from reenact.types import Array

_SIDE: Final = 192
"""Side of the crop that the network takes, px."""

_KINDS: Final = {0: np.float32, 1: np.float16, 2: np.int32}
"""TFLite's types of tensors."""

_MARGIN: Final = 1.5
"""Side of that crop, as a multiple of the landmarks' box, as in MediaPipe."""

_REFINED: Final = ("output_lips", "output_left_eye", "output_right_eye")
"""Outputs that refine the landmarks of a window, in the order of the windows."""

_WINDOW: Final = "Landmarks2TransformMatrix"
"""The operator that places a window around landmarks."""

_IRISES: Final = ("output_left_iris", "output_right_iris")


@dataclass(frozen=True, slots=True)
class _Operator:
    """One operator: its function, and the numbers of its input and output tensors."""

    run: Callable[..., Tensor]
    inputs: tuple[int, ...]
    output: int


class FaceMeshNetwork(nn.Module):
    """Reads the landmarks of face crops, differentiably. Its weights are constant.

    Raises:
        ModelError: this version of mediapipe has no such file, or one with other operators.
    """

    def __init__(self) -> None:
        super().__init__()
        model, names = landmark_network()
        graph = model.subgraphs[0]
        self._input = int(graph.inputs[0])
        self._outputs = {graph.tensors[i].name.decode(): i for i in graph.outputs.tolist()}
        self._operators: list[_Operator] = []
        constants = {
            number: _constant(tensor, model.buffers[tensor.buffer].data)
            for number, tensor in enumerate(graph.tensors)
            if model.buffers[tensor.buffer].data is not None
        }
        used: set[int] = set()
        windows = []
        for operator in graph.operators:
            name = _name(names, model.operatorCodes[operator.opcodeIndex])
            inputs, output = tuple(operator.inputs.tolist()), int(operator.outputs[0])
            if name == "DEQUANTIZE":
                constants[output] = constants[inputs[0]].astype(np.float32)
                continue
            if name == _WINDOW:
                windows.append(_custom(operator)["subset_idxs"])
            run = _operation(name, operator, graph.tensors[output].shape)
            self._operators.append(_Operator(run, inputs, output))
            used.update(inputs)
        self._constants = sorted(used & set(constants))
        for number in self._constants:
            value = torch.from_numpy(_torch_order(constants[number]))
            self.register_buffer(f"constant_{number}", value, persistent=False)
        for name, landmarks in zip(_REFINED, windows, strict=True):
            self.register_buffer(name, torch.tensor(landmarks), persistent=False)

    def forward(self, pictures: Tensor, crops: Tensor) -> Tensor:
        """Return float32 (N, 478, 2) landmarks, -1 to 1 from edge to edge of the pictures.

        Args:
            pictures: (N, 3, H, W) RGB, -1 to 1.
            crops: (N, 2, 3) of `face_crop`, the positions of the faces.
        """
        with torch.autocast(pictures.device.type, enabled=False):
            grid = F.affine_grid(crops, [len(crops), 3, _SIDE, _SIDE], align_corners=False)
            faces = F.grid_sample(pictures.float(), grid, align_corners=False) * 0.5 + 0.5
            return self._read(faces) @ crops[..., :2].transpose(1, 2) + crops[:, None, :, 2]

    def _read(self, faces: Tensor) -> Tensor:
        """Return landmarks (N, 478, 2), -1 to 1, of crops (N, 3, 192, 192), 0 to 1."""
        known = {number: self.get_buffer(f"constant_{number}") for number in self._constants}
        known[self._input] = faces
        for operator in self._operators:
            operands = [known[number] for number in operator.inputs]
            known[operator.output] = operator.run(*operands)
        points = known[self._outputs["output_mesh_identity"]].reshape(-1, N_SKIN, 3)[..., :2]
        for name in _REFINED:
            finer = known[self._outputs[name]].reshape(len(faces), -1, 2)
            points = points.index_copy(1, self.get_buffer(name), finer)
        irises = [known[self._outputs[name]].reshape(-1, 5, 2) for name in _IRISES]
        return torch.cat([points, *irises], dim=1) * (2 / _SIDE) - 1


def face_crop(points: Array, size_px: int) -> Array:
    """Return where the network's crop of a face lies in its picture, float32 (2, 3).

    The affine takes coordinates of the crop to those of the picture, both -1 to 1 from edge to edge
    (see `torch.nn.functional.affine_grid`). The crop is a square around the landmarks, upright with
    the outer corners of the eyes.

    Args:
        points: (478, 3) px.
        size_px: side of the picture.
    """
    across = points[263, :2] - points[33, :2]
    across = across / max(float(np.hypot(*across)), 1e-6)
    axes = np.stack([across, np.array([-across[1], across[0]], np.float32)])
    turned = points[:N_SKIN, :2] @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = (low + high) / 2 @ axes
    reach = float((high - low).max()) * _MARGIN / 2
    unit = 2 / size_px
    columns = [axes.T * reach * unit, ((middle + 0.5) * unit - 1)[:, None]]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _name(names: Mapping[int, str], code: Any) -> str:
    name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return str(code.customCode.decode()) if name == "CUSTOM" else name


def _custom(operator: Any) -> Any:
    return flexbuffers.Loads(bytes(operator.customOptions))


def _constant(tensor: Any, data: Any) -> NDArray[Any]:
    return np.frombuffer(bytes(data), _KINDS[tensor.type]).reshape(tensor.shape)


def _torch_order(constant: NDArray[Any]) -> NDArray[Any]:
    """Move the channels of filters to torch's place; leave all else."""
    return np.array(np.moveaxis(constant, -1, 1) if constant.ndim == 4 else constant)


def _operation(name: str, operator: Any, output_shape: Any) -> Callable[..., Tensor]:
    """Return the function of an operator, for pictures as (N, C, H, W).

    Raises:
        ModelError: the operator is unknown.
    """
    options = operator.builtinOptions
    if name in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        return partial(
            _convolution,
            stride=options.strideW,
            same=options.padding == 0,
            depthwise=name == "DEPTHWISE_CONV_2D",
        )
    if name == "MAX_POOL_2D":
        return partial(F.max_pool2d, kernel_size=options.filterWidth, stride=options.strideW)
    if name == "RESHAPE":
        return partial(_reshaped, shape=tuple(output_shape.tolist())[1:])
    if name == _WINDOW:
        return partial(_window_around, options=_custom(operator))
    if name == "TransformTensorBilinear":
        return partial(_cut_out, side=_custom(operator)["output_width"])
    if name in _PLAIN:
        return _PLAIN[name]
    raise ModelError(f"MediaPipe's landmark network has an unknown operator {name}; use 0.10.21.")


def _convolution(
    x: Tensor, filters: Tensor, bias: Tensor, *, stride: int, same: bool, depthwise: bool
) -> Tensor:
    if depthwise:
        filters = filters.transpose(0, 1)
    if same:  # TensorFlow pads one more at the end if the padding is odd
        lacking = max(filters.shape[-1] - stride, 0)
        x = F.pad(x, (lacking // 2, lacking - lacking // 2) * 2)
    return F.conv2d(x, filters, bias, stride, groups=len(filters) if depthwise else 1)


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.reshape(len(x), *shape)


def _with_channels(x: Tensor, paddings: Tensor) -> Tensor:
    """Pad with channels of zeros; the file pads no other axis."""
    before, after = paddings[3].tolist()
    return F.pad(x, (0, 0, 0, 0, before, after))


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply; of the (1, 4, 4) factors of a matrix only the planar part is used."""
    return x * (factor[:, :2, [0, 1, 3]] if factor.dim() == 3 else factor)


def _window_around(landmarks: Tensor, options: Mapping[str, Any]) -> Tensor:
    """Return affines (N, 2, 3) from px of a window to px of the landmarks' features.

    The window encloses a subset of the landmarks (N, 468, 3) and is upright with two of them. No
    gradient passes through it: a picture gets no better by where it is looked at.
    """
    points = landmarks[..., :2].detach()
    left, right = (points[:, options[f"{side}_rotation_idx"]] for side in ("left", "right"))
    across = F.normalize(right - left)
    down = torch.stack([-across[:, 1], across[:, 0]], dim=1)
    axes = torch.stack([across, down], dim=1)
    turned = points[:, options["subset_idxs"]] @ axes.transpose(1, 2)
    low, high = turned.amin(1), turned.amax(1)
    middle = ((low + high)[:, None] / 2 @ axes)[:, 0]
    sides = torch.tensor([options["output_width"], options["output_height"]], device=points.device)
    scale = (high - low) * options["scale_x"] / sides
    matrix = axes.transpose(1, 2) * scale[:, None]
    shift = middle - (matrix @ (sides / 2))
    return torch.cat([matrix, shift[..., None]], dim=2)


def _cut_out(features: Tensor, matrix: Tensor, side: int) -> Tensor:
    """Crop (N, C, side, side) out of features by the matrix of `_window_around`."""
    whole = features.shape[-1]
    linear = matrix[..., :2] * (side / whole)
    shift = (matrix @ matrix.new_tensor([side / 2, side / 2, 1])) * (2 / whole) - 1
    theta = torch.cat([linear, shift[..., None]], dim=2)
    grid = F.affine_grid(theta, [len(theta), features.shape[1], side, side], align_corners=False)
    return F.grid_sample(features, grid, align_corners=False)


def _out_of_window(points: Tensor, matrix: Tensor) -> Tensor:
    """Map (N, K, 2) px of a window to px of the picture."""
    return points @ matrix[..., :2].transpose(1, 2) + matrix[:, None, :, 2]


_PLAIN: Final[Mapping[str, Callable[..., Tensor]]] = {
    "ADD": torch.add,
    "PRELU": lambda x, slope: F.prelu(x, slope.flatten()),
    "PAD": _with_channels,
    "MUL": _scaled,
    "STRIDED_SLICE": lambda x, *_bounds: x,  # always of everything
    "TransformLandmarks": _out_of_window,
}
