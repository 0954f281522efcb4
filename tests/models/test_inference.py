from __future__ import annotations

import copy
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reenact.models import inference as engines
from reenact.models.inference import (
    Computation,
    OpenVinoEngine,
    TorchEngine,
    compile_module,
)
from reenact.types import Array


class Affine(nn.Module):
    """Two inputs, of which one is held; the second output is not asked for."""

    def __init__(self, gain: float = 2.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, held: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
        return held + self.gain * fresh, fresh


def example() -> dict[str, Array]:
    return {"held": np.zeros((1, 3), np.float32), "fresh": np.zeros((1, 3), np.float32)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REENACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_held_and_fresh_inputs(engine: str) -> None:
    compiled = compile_module(Affine, example(), "cpu", engine, threads=1, key="affine 1")
    compiled.hold("held", np.full((1, 3), 10, np.float32))
    for value in (1.0, -4.0):
        answer = compiled({"fresh": np.full((1, 3), value, np.float32)})[0]
        np.testing.assert_allclose(answer, np.full((1, 3), 10 + 2 * value), atol=0.05)
    compiled.hold("held", np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(compiled({"fresh": np.ones((1, 3), np.float32)})[0], 2, atol=0.05)


def test_answers_do_not_share_memory() -> None:
    compiled = compile_module(Affine, example(), "cpu", "openvino", threads=1, key="affine 1")
    compiled.hold("held", np.zeros((1, 3), np.float32))
    first = compiled({"fresh": np.ones((1, 3), np.float32)})[0]
    compiled({"fresh": np.zeros((1, 3), np.float32)})[0]
    np.testing.assert_allclose(first, 2, atol=0.05)


def test_a_graph_is_recorded_once_and_replayed_on_its_own_memory() -> None:
    """On a CPU a stand-in replays: like CUDA's graphs, it writes into the outputs of the record."""
    recorded = []

    def record(compute: Computation) -> Computation:
        outputs = compute()
        recorded.append(outputs)

        def replay() -> tuple[Tensor, ...]:
            for output, new in zip(outputs, compute(), strict=True):
                output.copy_(new)
            return outputs

        return replay

    engine = TorchEngine(Affine(), example(), "cpu", record=record)
    engine.hold("held", np.full((1, 3), 10, np.float32))
    first, again = (engine({"fresh": np.full((1, 3), gain, np.float32)}) for gain in (1.0, -4.0))
    np.testing.assert_allclose(first[0], 12)  # not overwritten by the second
    np.testing.assert_allclose(again[0], 2)
    np.testing.assert_allclose(again[1], -4)
    assert len(recorded) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda_draws_the_same_as_a_cpu() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 3, 3))
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, 1, 3, 32, 32)).astype(np.float32)
    on_cpu = TorchEngine(copy.deepcopy(module), {"picture": pictures[0]}, "cpu")
    on_cuda = TorchEngine(module, {"picture": pictures[0]}, "cuda")
    for picture in pictures:
        expected, drawn = (engine({"picture": picture})[0] for engine in (on_cpu, on_cuda))
        np.testing.assert_allclose(drawn, expected, atol=5e-3)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's signal stacks")
def test_a_signal_is_survived_after_another_thread_has_freed_a_network() -> None:
    script = """
import numpy, signal, sys, threading, torch
from reenact.models.inference import compile_module
numbers = {"x": numpy.zeros((1, 3), numpy.float32)}
engines = [compile_module(lambda: torch.nn.Linear(3, 3), numbers, "cpu", "openvino", 1, key="l")]
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
signal.raise_signal(signal.SIGINT)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7


def test_a_cpu_gets_openvino_by_itself() -> None:
    assert isinstance(
        compile_module(Affine, example(), "cpu", "auto", 0, key="affine 1"), OpenVinoEngine
    )
    assert isinstance(
        compile_module(Affine, example(), "cpu", "torch", 0, key="affine 1"), TorchEngine
    )


def test_the_fastest_choice_is_measured_once_and_kept(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bfloat16 must be notably faster to replace float32; half of the threads may be as fast."""
    took_s = {"f32": 1.0, "bf16": 0.95, "f16": 0.5}
    tried = []

    class FakeCore:
        def get_property(self, device: str, name: str) -> object:
            return ["FP32", "BF16", "FP16"] if name == "OPTIMIZATION_CAPABILITIES" else "CPU"

        def compile_model(self, model: object, device: str, hints: dict[str, object]) -> object:
            return hints

    def took(hints: dict[str, object]) -> float:
        tried.append(hints)
        slower = 1.6 if "INFERENCE_NUM_THREADS" in hints else 1.0
        return took_s[str(hints["INFERENCE_PRECISION_HINT"])] * slower

    monkeypatch.setattr(engines, "_time", took)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    hints = engines._compile(FakeCore(), None, 0)
    assert hints == {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"}
    assert len(tried) == 4
    assert engines._compile(FakeCore(), None, 3) == hints | {"INFERENCE_NUM_THREADS": 3}
    assert len(tried) == 4
    (own_cache / "fastest.json").write_text("damaged")
    took_s["f16"] = 0.99
    assert engines._compile(FakeCore(), None, 0)["INFERENCE_PRECISION_HINT"] == "f32"


def test_a_network_is_converted_once_and_again_when_its_key_changes(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 1")
    assert len(list(own_cache.glob("*.xml"))) == 1

    def refuse(module: nn.Module, shapes: object) -> None:
        raise AssertionError("converted although it is kept")

    monkeypatch.setattr(engines, "_convert", refuse)
    compiled = compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 1")
    compiled.hold("held", np.ones((1, 3), np.float32))
    np.testing.assert_allclose(compiled({"fresh": np.ones((1, 3), np.float32)})[0], 3, atol=0.05)
    with pytest.raises(AssertionError, match="although it is kept"):
        compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 2")


@pytest.mark.parametrize("damage", ["cut .xml", "cut .bin", "no .bin"])
def test_a_damaged_network_in_the_cache_is_converted_anew(
    own_cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 1")
    (kept,) = own_cache.glob("*.xml")
    whole = {file.name: file.read_bytes() for file in own_cache.iterdir()}
    harm, ending = damage.split()
    harmed = kept.with_suffix(ending)
    if harm == "no":
        harmed.unlink()
    else:
        harmed.write_bytes(whole[harmed.name][: len(whole[harmed.name]) // 2])
    with caplog.at_level("INFO"):
        compiled = compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 1")
    assert kept.name in caplog.text
    compiled.hold("held", np.ones((1, 3), np.float32))
    np.testing.assert_allclose(compiled({"fresh": np.ones((1, 3), np.float32)})[0], 3, atol=0.05)
    # The names inside a network count upwards, so its file may be some bytes longer.
    now = {file.name: file.stat().st_size for file in own_cache.iterdir()}
    assert now == {name: pytest.approx(len(data), abs=50) for name, data in whole.items()}


def test_the_oldest_networks_leave_a_full_cache(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age_s, gain in ((200, 1.0), (100, 2.0), (0, 3.0)):
        compile_module(partial(Affine, gain), example(), "cpu", "openvino", 0, key=f"affine {gain}")
        newest = max(own_cache.glob("*.xml"), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (newest.stat().st_atime, newest.stat().st_mtime - age_s))
    third = newest
    sizes = [file.stat().st_size for file in own_cache.iterdir()]
    monkeypatch.setattr(engines, "_MAX_CACHE_BYTES", sum(sizes) + max(sizes) // 2)
    compile_module(partial(Affine, 4.0), example(), "cpu", "openvino", 0, key="affine 4")
    kept = list(own_cache.glob("*.xml"))
    assert len(kept) == 3
    assert third in kept
    assert {file.stem for file in own_cache.glob("*.bin")} == {file.stem for file in kept}


def test_an_unwritable_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("REENACT_CACHE", str(blocked))
    compiled = compile_module(Affine, example(), "cpu", "openvino", 0, key="affine 1")
    compiled.hold("held", np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(compiled({"fresh": np.ones((1, 3), np.float32)})[0], 2, atol=0.05)
