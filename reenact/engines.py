"""Makes a torch module fast on this machine: OpenVINO on a CPU, half precision on CUDA.

An engine is called with NumPy arrays and answers with NumPy arrays; the picture leaves the
device once a frame.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from reenact.errors import ModelError
from reenact.types import Array

log = logging.getLogger(__name__)


class Engine(Protocol):
    """A compiled network. Not thread-safe: one thread calls it."""

    name: str

    def hold(self, name: str, value: Array) -> None:
        """Keep an input on the device until it is held again (a target's reference)."""

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """Run with the held inputs and these, float32, and return the first output, float32."""


def choose_device(wish: str) -> str:
    """Return "cuda" or "cpu".

    Raises:
        ModelError: CUDA was asked for and is not there.
    """
    if wish == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if wish == "cuda":
        raise ModelError(
            "CUDA was asked for, but torch sees no GPU; set renderer.device=cpu, or install an "
            "NVIDIA driver and a CUDA build of torch (see `reenact doctor`)."
        )
    return "cpu"


def compile_module(
    module: nn.Module, example: Mapping[str, Array], device: str, engine: str, threads: int
) -> Engine:
    """Compile a module for fixed input shapes.

    Args:
        module: its forward takes the inputs in the example's order.
        example: float32 arrays by input name, of the shapes that will be used.
        device: "cpu" or "cuda".
        engine: "auto", "torch" or "openvino".
        threads: CPU threads; 0: all.
    """
    module = module.eval().requires_grad_(False)
    if engine == "openvino" or (engine == "auto" and device == "cpu"):
        try:
            return OpenVinoEngine(module, example, threads)
        except ImportError as error:
            if engine == "openvino":
                raise ModelError(
                    f"OpenVINO is not installed ({error}); run: pip install openvino, or set "
                    "renderer.engine=torch."
                ) from error
            log.warning("OpenVINO is not installed; torch runs instead, about half as fast.")
    return TorchEngine(module, list(example), device, threads)


class TorchEngine:
    """Plain torch: half precision on CUDA, single precision on a CPU."""

    def __init__(
        self, module: nn.Module, order: Sequence[str], device: str, threads: int = 0
    ) -> None:
        self.name = f"torch {device}"
        self._device = torch.device(device)
        self._module = module.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._order = order
        self._held: dict[str, torch.Tensor] = {}
        if threads and device == "cpu":
            torch.set_num_threads(threads)

    def hold(self, name: str, value: Array) -> None:
        """Keep an input on the device."""
        self._held[name] = torch.from_numpy(value).to(self._device)

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """Run the module."""
        fresh = {
            name: torch.from_numpy(value).to(self._device, non_blocking=True)
            for name, value in inputs.items()
        }
        half = self._device.type == "cuda"
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=half):
            answer = self._module(*({**self._held, **fresh}[name] for name in self._order))
        first = answer[0] if isinstance(answer, tuple) else answer
        result: Array = first.float().cpu().numpy()
        return result


class OpenVinoEngine:
    """OpenVINO on a CPU, in the precision that the processor multiplies best."""

    def __init__(self, module: nn.Module, example: Mapping[str, Array], threads: int = 0) -> None:
        import openvino

        self.name = "openvino cpu"
        tensors = [torch.from_numpy(value) for value in example.values()]
        with torch.inference_mode():
            model = openvino.convert_model(
                module.cpu().float(),
                example_input=tuple(tensors),
                input=[tuple(value.shape) for value in tensors],
            )
        for port, name in zip(model.inputs, example, strict=True):
            port.get_tensor().set_names({name})
        hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            hints["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(model, "CPU", hints)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._held: dict[str, Array] = {}
        self._output = compiled.output(0)

    def hold(self, name: str, value: Array) -> None:
        """Keep an input; its memory is shared with the request."""
        self._held[name] = np.ascontiguousarray(value)
        self._request.set_tensor(name, self._tensor(self._held[name], shared_memory=True))

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """Run the model; the answer is a copy."""
        for name, value in inputs.items():
            self._request.set_tensor(
                name, self._tensor(np.ascontiguousarray(value), shared_memory=True)
            )
        self._request.infer()
        result: Array = self._request.get_tensor(self._output).data.copy()
        return result
