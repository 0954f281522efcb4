"""Makes a torch module fast on this machine: OpenVINO on a CPU, half precision on CUDA.

An engine is called with NumPy arrays and answers with NumPy arrays; the picture leaves the
device once a frame.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import platformdirs
import torch
from torch import nn

from reenact.errors import ModelError, SinkError
from reenact.storage import atomic_write
from reenact.types import Array

log = logging.getLogger(__name__)


class Engine(Protocol):
    """A compiled network. Not thread-safe: one thread calls it."""

    name: str

    def hold(self, name: str, value: Array) -> None:
        """Keep an input on the device until it is held again (a target's reference)."""

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """Run with the held inputs and these, float32, and return the first output, float32."""


def choose_device(wish: str, engine: str = "auto") -> str:
    """Return "cuda" or "cpu", which OpenVINO runs on in any case.

    Raises:
        ModelError: CUDA was asked for and is not there.
    """
    if wish == "cpu" or engine == "openvino":
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
        module = module.cpu().float()
        cached = _cache_folder() / f"{_fingerprint(module, example)}.xml"
        model = _kept(cached)
        if model is None:
            model = _convert(module, example)
            _keep(model, cached)
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


class FileNetwork:
    """A network as a file without code, ONNX or OpenVINO, run on the CPU. Not thread-safe.

    Args:
        path: .onnx, or .xml with its .bin.
        inputs: how many it must take.
        exact: compute in single precision, also where the processor multiplies faster in half.

    Raises:
        ModelError: the file or OpenVINO is missing, or it is another network.
    """

    def __init__(self, path: Path, inputs: int, exact: bool = False) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ModelError(
                f"{path} needs OpenVINO ({error}); run: pip install openvino"
            ) from error
        if not path.is_file():
            raise ModelError(f"There is no model file {path}; check the path.")
        try:
            hints = {"INFERENCE_PRECISION_HINT": "f32"} if exact else {}
            self._compiled = openvino.Core().compile_model(path, "CPU", hints)
        except RuntimeError as error:
            raise ModelError(f"{path} is not a network that OpenVINO reads.") from error
        if len(self._compiled.inputs) != inputs:
            raise ModelError(
                f"{path} takes {len(self._compiled.inputs)} inputs instead of {inputs}."
            )

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Return all outputs, float32.

        Raises:
            ModelError: the inputs' shapes are not the network's.
        """
        try:
            outputs = self._compiled(list(inputs))
        except RuntimeError as error:
            raise ModelError(f"The network does not take {inputs[0].shape}.") from error
        return [np.asarray(outputs[port], np.float32) for port in self._compiled.outputs]


_CACHE_BYTES: Final = 512_000_000
"""The newest converted networks are kept, so much in all; the live generator takes 7 MB a size."""


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("reenact") / "openvino"


def _fingerprint(module: nn.Module, example: Mapping[str, Array]) -> str:
    """Name a network by all that its conversion depends on."""
    import openvino

    digest = hashlib.sha256()
    shapes = {name: value.shape for name, value in example.items()}
    digest.update(f"{openvino.__version__} {torch.__version__} {module} {shapes}".encode())
    digest.update(f"{getattr(module, 'config', None)}".encode())
    digest.update(inspect.getsource(sys.modules[type(module).__module__]).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:24]


def _convert(module: nn.Module, example: Mapping[str, Array]) -> Any:
    """Trace a module into an OpenVINO model with named inputs; takes seconds."""
    import openvino

    tensors = [torch.from_numpy(value) for value in example.values()]
    with torch.inference_mode():
        model = openvino.convert_model(
            module,
            example_input=tuple(tensors),
            input=[tuple(value.shape) for value in tensors],
        )
    for port, name in zip(model.inputs, example, strict=True):
        port.get_tensor().set_names({name})
    return model


def save_openvino(module: nn.Module, example: Mapping[str, Array], path: Path) -> None:
    """Write a module as an OpenVINO model, .xml with .bin, whole or not at all.

    Args:
        module: its forward takes the inputs in the example's order.
        example: float32 arrays by input name, of the shapes that will be used.
        path: of the .xml file.

    Raises:
        ModelError: OpenVINO is not installed.
        SinkError: it cannot be written.
    """
    try:
        model = _convert(module, example)
    except ImportError as error:
        raise ModelError(
            f"OpenVINO is not installed ({error}); run: pip install openvino"
        ) from error
    _save(model, path)


def _save(model: Any, path: Path) -> None:
    """Write a converted model; the .xml, which names the other file, comes last."""
    import openvino

    with atomic_write(path, parents=True) as partial:
        try:
            openvino.save_model(model, partial, compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError("OpenVINO could not write it; the disk may be full") from error
        partial.with_suffix(".bin").replace(path.with_suffix(".bin"))


def _kept(path: Path) -> Any | None:
    """Return the network that an earlier start stored; None: there is none, or it is damaged."""
    import openvino

    if not path.is_file():
        return None
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        log.info("%s is damaged, so the network is converted anew: %s", path, error)
        return None


def _keep(model: Any, path: Path) -> None:
    """Store a converted model for the next start; a cache that cannot be written is no error."""
    try:
        _save(model, path)
        _forget_oldest(path.parent, _CACHE_BYTES)
    except (SinkError, OSError) as error:
        log.info("The converted network is not kept for the next start: %s", error)


def _forget_oldest(folder: Path, limit_bytes: int) -> None:
    """Remove converted networks, the oldest first, until the newest and what else fits remain."""
    kept = 0
    newest_first = sorted(folder.glob("*.xml"), key=lambda file: -file.stat().st_mtime)
    for number, file in enumerate(newest_first):
        weights = file.with_suffix(".bin")
        kept += file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
        if number and kept > limit_bytes:
            file.unlink(missing_ok=True)
            weights.unlink(missing_ok=True)
