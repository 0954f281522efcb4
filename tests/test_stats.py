"""The statistics: counts, percentiles, bounded memory, and the keys of `--report`."""

from __future__ import annotations

import json
import threading
from dataclasses import astuple

import pytest

from reenact.stats import SAMPLES_KEPT, Durations, Percentiles, Recorder, Stats, StepTimer

MS = 1e-3


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


def test_percentiles_are_those_of_the_samples() -> None:
    durations = Durations()
    for value in range(101):
        durations.add(value * MS)
    found = durations.percentiles()
    assert found is not None
    assert astuple(found) == pytest.approx((50.0, 95.0, 99.0))


def test_only_the_newest_durations_are_kept() -> None:
    durations = Durations()
    for value in range(SAMPLES_KEPT + 10):
        durations.add(value * MS)
    assert durations.samples_ms().tolist() == pytest.approx(range(10, SAMPLES_KEPT + 10))


def test_a_step_that_raises_is_timed() -> None:
    timer = StepTimer()
    with pytest.raises(ZeroDivisionError), timer.step("render"):
        raise ZeroDivisionError
    assert list(timer.percentiles()) == ["render"]


def test_steps_keep_their_order_and_can_be_forgotten() -> None:
    timer = StepTimer()
    for name in ("track", "fuse", "track", "render"):
        with timer.step(name):
            pass
    assert list(timer.percentiles()) == ["track", "fuse", "render"]
    timer.clear()
    assert timer.percentiles() == {}


def test_threads_lose_no_sample() -> None:
    durations = Durations()

    def work() -> None:
        for _ in range(2000):
            durations.add(MS)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert durations.samples_ms().size == 8000


def test_recorder_counts_rate_latency_and_jitter() -> None:
    clock = Clock()
    recorder = Recorder(now_s=clock)
    for gap_ms in (0, 30, 50, 30, 50):
        clock.now_s += gap_ms * MS
        recorder.frame_in()
        recorder.frame_out(clock.now_s - 70 * MS)
    for cause in ("renderer busy", "output busy", "renderer busy"):
        recorder.dropped(cause)
    stats = recorder.stats()
    assert stats.drops == {"renderer busy": 2, "output busy": 1}
    assert (stats.frames_in, stats.frames_out, stats.repeats) == (5, 5, 0)
    assert stats.fps == pytest.approx(25.0)
    assert stats.jitter_ms == pytest.approx(10.0)
    assert stats.latency_ms is not None
    assert astuple(stats.latency_ms) == pytest.approx((70.0, 70.0, 70.0))


def test_a_repeated_picture_has_no_latency() -> None:
    clock = Clock()
    recorder = Recorder(now_s=clock)
    recorder.frame_out(None)
    stats = recorder.stats()
    assert (stats.frames_out, stats.repeats, stats.latency_ms) == (1, 1, None)


def test_memory_is_bounded_in_a_long_run() -> None:
    clock = Clock()
    recorder = Recorder(now_s=clock)
    for _ in range(SAMPLES_KEPT + 1000):
        clock.now_s += 40 * MS
        recorder.frame_in()
        recorder.frame_out(clock.now_s - 60 * MS)
    stats = recorder.stats()
    assert stats.frames_out == SAMPLES_KEPT + 1000
    assert stats.fps == pytest.approx(25.0)
    assert recorder.latency.samples_ms().size == SAMPLES_KEPT


def test_report_has_the_promised_keys_and_is_json() -> None:
    spread = Percentiles(1.0, 2.0, 3.0)
    stats = Stats(
        frames_in=3,
        frames_out=3,
        drops={"renderer busy": 1},
        fps=24.999,
        latency_ms=spread,
        steps_ms={"track": spread},
        device="cpu",
        renderer="warp_unet",
        size=(640, 480),
    )
    report = json.loads(json.dumps(stats.report(), allow_nan=False))
    assert report == {
        "frames_in": 3,
        "frames_out": 3,
        "drops": {"renderer busy": 1},
        "fps": 25.0,
        "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        "steps_ms": {"track": {"p50": 1.0, "p95": 2.0}},
        "faces_lost": 0,
        "frames_limited": 0,
        "frames_still": 0,
        "device": "cpu",
        "renderer": "warp_unet",
        "size": [640, 480],
    }


def test_a_report_without_measurements_is_json_too() -> None:
    report = json.loads(json.dumps(Stats().report(), allow_nan=False))
    assert report["latency_ms"] == {"p50": None, "p95": None, "p99": None}
