"""Compiles a torch module for this machine: OpenVINO on a CPU, half precision on CUDA.

An engine takes and returns NumPy arrays; the picture leaves the device once per frame.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from reenact import __version__
from reenact.errors import ModelError, SinkError
from reenact.storage import atomic_write, cache_folder
from reenact.types import Array

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

Computation = Callable[[], "tuple[torch.Tensor, ...]"]

_WARM_UP_RUNS: Final = 3
"""Warm-up runs before a graph is recorded: libraries choose and allocate in their first runs."""


class Engine(Protocol):
    """A compiled network. Not thread-safe: one thread calls it."""

    name: str

    def hold(self, name: str, value: Array) -> None:
        """Keep an input, such as a target's reference, on the device until it is replaced."""

    def __call__(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run on these inputs and the held ones, float32, and return all outputs, float32."""


def choose_device(wish: str, engine: str = "auto") -> str:
    """Return "cuda" or "cpu"; OpenVINO always runs on the CPU.

    Raises:
        ModelError: CUDA was requested and is not available.
    """
    if wish == "cpu" or engine == "openvino":
        return "cpu"
    if _may_have_cuda():
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if wish == "cuda":
        raise ModelError(
            "CUDA was requested, but torch sees no GPU; choose the device cpu, or install an "
            "NVIDIA driver and a CUDA build of torch (see `reenact doctor`)."
        )
    return "cpu"


def _may_have_cuda() -> bool:
    """Return False if CUDA is certainly missing, without the second that loading torch takes."""
    if version("torch").endswith("+cpu"):
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def compile_module(
    make: Callable[[], nn.Module],
    example: Mapping[str, Array],
    device: str,
    engine: str,
    threads: int,
    *,
    key: str,
) -> Engine:
    """Compile a module for fixed input shapes.

    Args:
        make: builds the module; its forward takes the inputs in the example's order. If an earlier
            start cached the converted network, it is not called and torch is not loaded.
        example: float32 arrays by input name, in the shapes that will be used.
        device: "cpu" or "cuda".
        engine: "auto", "torch" or "openvino".
        threads: CPU threads; 0: the fastest number.
        key: architecture, version, config and `file_digest` of the weights. Converted networks are
            cached under it, so modules with equal keys must compute the same.
    """
    if engine == "openvino" or (engine == "auto" and device == "cpu"):
        try:
            return OpenVinoEngine(make, example, threads, key=key)
        except ImportError as error:
            if engine == "openvino":
                raise ModelError(
                    f"OpenVINO is not installed ({error}); run: pip install openvino, or set "
                    "renderer.engine=torch."
                ) from error
            log.warning("OpenVINO is not installed; torch runs instead, about half as fast.")
    return TorchEngine(make(), example, device, threads)


def file_digest(path: Path) -> str:
    """Return a digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


class TorchEngine:
    """Plain torch: single precision on a CPU; half precision and a CUDA graph on CUDA.

    The inputs have fixed memory on the device. A call copies its inputs there through page-locked
    memory, runs, and copies the outputs back; on CUDA everything in between is one graph.

    Args:
        module: the network.
        example: float32 arrays by input name, in the order of the module's forward; the shapes
            are fixed.
        device: "cpu" or "cuda".
        threads: CPU threads; 0: torch's default.
        record: makes a function that repeats a computation on the same memory; None: `_recorded`
            on CUDA, the computation itself on a CPU.
    """

    def __init__(
        self,
        module: nn.Module,
        example: Mapping[str, Array],
        device: str,
        threads: int = 0,
        record: Callable[[Computation], Computation] | None = None,
    ) -> None:
        import torch

        self.name = f"torch {device}"
        self._torch = torch
        self._on_cuda = device == "cuda"
        module = module.eval().requires_grad_(False)
        module = module.to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._on_cuda:
            for part in module.modules():
                if isinstance(part, torch.nn.Conv2d):
                    part.half()
        self._module = module
        self._threads = 0 if self._on_cuda else threads
        self._inputs = {
            name: torch.from_numpy(value).to(device, copy=True) for name, value in example.items()
        }
        self._staged = {name: self._page_locked(value) for name, value in self._inputs.items()}
        if record is None and self._on_cuda:
            record = _recorded
        self._run = record(self._compute) if record else self._compute
        self._answers: list[torch.Tensor] = []

    def hold(self, name: str, value: Array) -> None:
        """Keep an input on the device."""
        staged = self._staged[name]
        staged.copy_(self._torch.from_numpy(value))
        self._inputs[name].copy_(staged, non_blocking=True)
        if self._on_cuda:  # before the staging memory is overwritten
            self._torch.cuda.current_stream().synchronize()

    def __call__(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run the module."""
        for name, value in inputs.items():
            self._staged[name].copy_(self._torch.from_numpy(value))
            self._inputs[name].copy_(self._staged[name], non_blocking=True)
        with _torch_threads(self._threads):
            outputs = self._run()
        self._answers = self._answers or [self._page_locked(output) for output in outputs]
        for answer, output in zip(self._answers, outputs, strict=True):
            answer.copy_(output, non_blocking=True)
        if self._on_cuda:
            self._torch.cuda.current_stream().synchronize()
        return tuple(answer.numpy().copy() for answer in self._answers)

    def _compute(self) -> tuple[torch.Tensor, ...]:
        torch = self._torch
        with (
            torch.no_grad(),
            torch.autocast("cuda", torch.float16, enabled=self._on_cuda),
        ):
            answer = self._module(*self._inputs.values())
            outputs = answer if isinstance(answer, tuple) else (answer,)
            return tuple(output.float() for output in outputs)

    def _page_locked(self, like: torch.Tensor) -> torch.Tensor:
        return self._torch.empty(like.shape, pin_memory=self._on_cuda)


def _recorded(compute: Computation) -> Computation:
    """Record a computation as a CUDA graph; the result replays it into the same outputs."""
    import torch

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_RUNS):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = compute()

    def replay() -> tuple[torch.Tensor, ...]:
        graph.replay()
        return outputs

    return replay


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many CPU threads inside the block; 0: do not change the number."""
    import torch

    before = torch.get_num_threads()
    if count in (0, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OpenVinoEngine:
    """OpenVINO on a CPU, with the precision and number of threads that are fastest there."""

    def __init__(
        self,
        make: Callable[[], nn.Module],
        example: Mapping[str, Array],
        threads: int,
        *,
        key: str,
    ) -> None:
        import openvino

        self.name = "openvino cpu"
        path = cache_folder() / "openvino" / f"{_cache_name(key, example)}.xml"
        model = _read_cached(path)
        if model is None:
            model = _convert(make().eval().requires_grad_(False).cpu().float(), example)
            _write_cached(model, path)
        compiled = _compile(_core(), model, threads)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._held: dict[str, Array] = {}
        self._outputs = compiled.outputs

    def hold(self, name: str, value: Array) -> None:
        """Keep an input; its memory is shared with the request."""
        self._held[name] = np.ascontiguousarray(value)
        self._request.set_tensor(name, self._tensor(self._held[name], shared_memory=True))

    def __call__(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run the model and return copies of its outputs."""
        for name, value in inputs.items():
            self._request.set_tensor(
                name, self._tensor(np.ascontiguousarray(value), shared_memory=True)
            )
        self._request.infer()
        return tuple(self._request.get_tensor(output).data.copy() for output in self._outputs)


_TRIALS: Final = 12
"""Runs of each candidate; the fastest counts, because other programs slow some of them down."""

_NOTABLE: Final = 0.9
"""A precision replaces float32 if it takes less than this share of its time. Likewise
all threads must be faster than half of them by this factor, since the tracker needs a core."""

_MANY_CORES: Final = 4
"""With fewer cores the network uses all: the tracker needs a sixth of the time."""


@functools.cache
def _core() -> Any:
    """Return the only core; freed by another thread, one would take away the stack for signals."""
    import openvino

    return openvino.Core()


def _compile(core: Any, model: Any, threads: int) -> Any:
    """Compile a model with the precision and number of threads that are fastest on this machine.

    Both are measured with the first network and stored beside the cached networks. OpenVINO's own
    choice, bfloat16 if the CPU supports it, may be slower than float32.

    Args:
        core: OpenVINO's core.
        model: the network.
        threads: number of threads that the user set; 0: the fastest.
    """
    import openvino

    path = cache_folder() / "openvino" / "fastest.json"
    cores = os.cpu_count() or 1
    machine = f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} {cores} {openvino.__version__}"
    hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    kept = {}
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.get("machine") != machine:
        kinds = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        offered = {"bf16": "BF16", "f16": "FP16"}
        others = [short for short, name in offered.items() if name in kinds]
        best: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}

        def time_of(choice: dict[str, Any]) -> float:
            return _time(core.compile_model(model, "CPU", hints | choice))

        if others or cores >= _MANY_CORES:
            best_s = time_of(best)
            for precision in others:
                other = {"INFERENCE_PRECISION_HINT": precision}
                if (other_s := time_of(other)) < _NOTABLE * best_s:
                    best, best_s = other, other_s
            half = best | {"INFERENCE_NUM_THREADS": cores // 2}
            if cores >= _MANY_CORES and best_s > _NOTABLE * time_of(half):
                best = half
        kept = {"machine": machine, "hints": best}
        with contextlib.suppress(SinkError), atomic_write(path, parents=True) as partial:
            partial.write_text(json.dumps(kept), encoding="utf-8")
    hints |= kept["hints"]
    if threads:
        hints["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(model, "CPU", hints)


def _time(compiled: Any) -> float:
    """Return the duration of the fastest of several runs, s."""
    request = compiled.create_infer_request()
    took_s = []
    for _ in range(_TRIALS):
        start_s = time.perf_counter()
        request.infer()
        took_s.append(time.perf_counter() - start_s)
    return min(took_s)


class FileNetwork:
    """A network in a file, ONNX or OpenVINO, run on the CPU. Not thread-safe.

    Args:
        path: .onnx, or .xml with its .bin.
        inputs: required number of inputs.
        exact: compute in single precision even if half precision is faster.

    Raises:
        ModelError: the file or OpenVINO is missing, or the network has another number of inputs.
    """

    def __init__(self, path: Path, inputs: int, exact: bool = False) -> None:
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            raise ModelError(
                f"{path} needs OpenVINO ({error}); run: pip install openvino"
            ) from error
        if not path.is_file():
            raise ModelError(f"There is no model file {path}; check the path.")
        try:
            hints = {"INFERENCE_PRECISION_HINT": "f32"} if exact else {}
            self._compiled = _core().compile_model(path, "CPU", hints)
        except RuntimeError as error:
            raise ModelError(f"{path} is not a network that OpenVINO can read.") from error
        if len(self._compiled.inputs) != inputs:
            raise ModelError(
                f"{path} takes {len(self._compiled.inputs)} inputs instead of {inputs}."
            )

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Return all outputs, float32.

        Raises:
            ModelError: the inputs have other shapes than the network's.
        """
        try:
            outputs = self._compiled(list(inputs))
        except RuntimeError as error:
            raise ModelError(f"The network does not take {inputs[0].shape}.") from error
        return [np.asarray(outputs[port], np.float32) for port in self._compiled.outputs]


_MAX_CACHE_BYTES: Final = 512_000_000
"""Size of the cache of converted networks; the live generator takes 7 MB per size."""


def _cache_name(key: str, example: Mapping[str, Array]) -> str:
    """Hash everything that a conversion depends on: versions, key and input shapes."""
    shapes = {name: value.shape for name, value in example.items()}
    versions = [__version__, *(version(name) for name in ("openvino", "torch"))]
    return hashlib.sha256(f"{versions} {key} {shapes}".encode()).hexdigest()[:24]


def _convert(module: nn.Module, example: Mapping[str, Array]) -> Any:
    """Trace a module into an OpenVINO model with named inputs; takes seconds."""
    import openvino
    import torch

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
    """Write a module as an OpenVINO model, .xml and .bin, atomically.

    Args:
        module: its forward takes the inputs in the example's order.
        example: float32 arrays by input name, in the shapes that will be used.
        path: path of the .xml file.

    Raises:
        ModelError: OpenVINO is not installed.
        SinkError: the file cannot be written.
    """
    try:
        model = _convert(module, example)
    except ImportError as error:
        raise ModelError(
            f"OpenVINO is not installed ({error}); run: pip install openvino"
        ) from error
    _save(model, path)


def _save(model: Any, path: Path) -> None:
    """Write a converted model; the .xml file is written last, because it refers to the .bin."""
    import openvino

    with atomic_write(path, parents=True) as partial:
        try:
            openvino.save_model(model, partial, compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError("OpenVINO could not write it; the disk may be full") from error
        partial.with_suffix(".bin").replace(path.with_suffix(".bin"))


def _read_cached(path: Path) -> Any | None:
    """Return the network that an earlier start cached; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        return _core().read_model(path)
    except RuntimeError as error:
        log.info("%s is damaged, so the network is converted again: %s", path, error)
        return None


def _write_cached(model: Any, path: Path) -> None:
    """Cache a converted model for the next start; failure to write is not an error."""
    try:
        _save(model, path)
        _remove_oldest(path.parent, _MAX_CACHE_BYTES)
    except (SinkError, OSError) as error:
        log.info("The converted network is not cached for the next start: %s", error)


def _remove_oldest(folder: Path, limit_bytes: int) -> None:
    """Remove the oldest converted networks beyond the limit; the newest is always kept."""
    kept = 0
    newest_first = sorted(folder.glob("*.xml"), key=lambda file: -file.stat().st_mtime)
    for number, file in enumerate(newest_first):
        weights = file.with_suffix(".bin")
        kept += file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
        if number and kept > limit_bytes:
            file.unlink(missing_ok=True)
            weights.unlink(missing_ok=True)
