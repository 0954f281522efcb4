"""The benchmark runs the real path and reports what it measured; no figure is judged here."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from reenact.errors import SinkError, SourceError
from reenact.evaluation.benchmark import ClipReplay, bench, describe_machine, peak_memory_mb
from reenact.testing.moving_portrait import moving_portrait, write_clip
from reenact.types import Frame


def numbered(count: int) -> list[Frame]:
    return [Frame(np.full((4, 6, 3), i, np.uint8), i / 25, i) for i in range(count)]


def values(source: ClipReplay, count: int) -> list[int]:
    frames = [source.read() for _ in range(count)]
    return [int(frame.image[0, 0, 0]) for frame in frames if frame is not None]


def test_a_replay_goes_forwards_and_backwards_without_a_jump() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    assert values(source, 10) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert source.size == (6, 4)
    assert values(ClipReplay(numbered(1), 60, 30, live=False), 3) == [0, 0, 0]


def test_replay_of_a_file_has_the_times_of_its_frames() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    frames = [source.read() for _ in range(7)]
    assert [frame.index for frame in frames if frame] == list(range(7))
    assert [frame.time_s for frame in frames if frame] == pytest.approx([i / 30 for i in range(7)])


def test_live_replay_loses_what_is_late_and_tells_capture_time() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=100, live=True)
    before_s = time.monotonic()
    first = source.read()
    time.sleep(0.25)
    second = source.read()
    assert first is not None
    assert second is not None
    assert second.index >= 25
    assert before_s <= first.time_s < second.time_s <= time.monotonic()


def test_a_closed_replay_ends() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    with source:
        assert source.read() is not None
    assert source.read() is None


def test_the_report_has_the_designed_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user = tmp_path / "user"
    monkeypatch.setenv("REENACT_DATA", str(user))
    clip = write_clip(tmp_path, "actor", *moving_portrait())
    report = bench(
        "cpu", [128, 256], tmp_path / "bench.json", seconds=0.8, renderer="warp", clip=clip
    )
    assert json.loads((tmp_path / "bench.json").read_text()) == report
    assert list(report) == ["machine", "device", "sizes", "start_s", "memory_mb"]
    assert list(report["sizes"]) == ["128", "256"]
    for figures in report["sizes"].values():
        assert list(figures) == ["fps", "latency_ms", "steps_ms"]
        assert figures["fps"] > 0
        assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"]
        assert {"track", "fuse", "render", "blend", "paste"} <= set(figures["steps_ms"])
        for spread in figures["steps_ms"].values():
            assert 0 <= spread["p50"] <= spread["p95"]
    assert report["device"] == "cpu"
    assert report["start_s"] > 0
    assert "256 px:" in capsys.readouterr().out
    assert not user.exists()


def test_the_machine_is_described_with_all_that_figures_depend_on() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["cpu"]
    assert {"reenact", "torch", "mediapipe", "openvino"} <= set(machine["packages"])
    json.dumps(machine)
    memory = peak_memory_mb()
    assert memory is None or 20 < memory < 100_000


def test_a_missing_clip_or_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        bench(json_path=tmp_path / "no" / "bench.json")
    with pytest.raises(SourceError, match=r"nothing\.mp4"):
        bench(clip=tmp_path / "nothing.mp4")
