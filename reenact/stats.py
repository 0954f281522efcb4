"""What a run did and how long it took: one frozen value, and what collects it while it runs.

The report, the benchmark and the tests all read `Stats`. Memory is bounded: of every
duration only the newest samples are kept, so that a stream may run for days.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

SAMPLES_KEPT: Final = 9000
"""Newest durations kept of each kind: five minutes at 30 frames a second."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The spread of a duration in ms."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run did so far.

    Attributes:
        frames_in: frames that the source delivered.
        frames_out: pictures written, `repeats` included.
        repeats: pictures written without a new frame behind them: the last one again, or the
            target at rest. frames_in = frames_out - repeats + all drops, once a run has ended.
        failures: frames whose rendering failed; the target at rest was shown instead.
        drops: frames that were never written, by cause: "renderer busy" and "output busy" for a
            live source, whose newest frame counts; "stopped" for those on their way at the end.
        fps: pictures written a second, from the first to the last one.
        jitter_ms: standard deviation of the time between two writes; 0 for fewer than three.
        latency_ms: from the frame's capture to the end of its write; None before the first.
        steps_ms: duration of each named step; "read" of a live source is mostly waiting.
        faces_lost: how often the face was lost.
        device: what the renderer runs on, such as "cpu" or "cuda"; "" where it does not say.
        renderer: its name.
        size: (width, height) px of the output picture.
    """

    frames_in: int = 0
    frames_out: int = 0
    repeats: int = 0
    failures: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    fps: float = 0.0
    jitter_ms: float = 0.0
    latency_ms: Percentiles | None = None
    steps_ms: Mapping[str, Percentiles] = field(default_factory=dict)
    faces_lost: int = 0
    device: str = ""
    renderer: str = ""
    size: tuple[int, int] = (0, 0)

    def report(self) -> dict[str, object]:
        """Return what `--report` writes, ready for JSON.

        Percentiles are null where nothing was measured.
        """
        latency = self.latency_ms
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "drops": dict(self.drops),
            "fps": round(self.fps, 2),
            "latency_ms": {
                "p50": round(latency.p50, 2) if latency else None,
                "p95": round(latency.p95, 2) if latency else None,
                "p99": round(latency.p99, 2) if latency else None,
            },
            "steps_ms": {
                name: {"p50": round(spread.p50, 3), "p95": round(spread.p95, 3)}
                for name, spread in self.steps_ms.items()
            },
            "faces_lost": self.faces_lost,
            "device": self.device,
            "renderer": self.renderer,
            "size": list(self.size),
        }


class Durations:
    """The newest durations of one kind. Any thread may call."""

    def __init__(self, capacity: int = SAMPLES_KEPT) -> None:
        self._samples_ns: deque[int] = deque(maxlen=capacity)
        self._lock = threading.Lock()

    def add(self, duration_ns: int) -> None:
        """Keep one duration; the oldest goes when the ring is full."""
        with self._lock:
            self._samples_ns.append(duration_ns)

    def samples_ms(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the kept durations in ms, oldest first."""
        with self._lock:
            return np.array(self._samples_ns, dtype=np.float64) / 1e6

    def percentiles(self) -> Percentiles | None:
        """Return their spread, None when there are none."""
        samples = self.samples_ms()
        if not samples.size:
            return None
        p50, p95, p99 = (float(value) for value in np.percentile(samples, (50, 95, 99)))
        return Percentiles(p50, p95, p99)


class StepTimer:
    """Times named steps: `with timer.step("track"): ...`. Any thread may call.

    A step that raises is timed too. Steps are listed in the order in which they first ended.
    """

    def __init__(self, capacity: int = SAMPLES_KEPT) -> None:
        self._capacity = capacity
        self._steps: dict[str, Durations] = {}
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.add(name, time.perf_counter_ns() - start_ns)

    def add(self, name: str, duration_ns: int) -> None:
        """Keep a duration that was measured elsewhere."""
        durations = self._steps.get(name)
        if durations is None:
            with self._lock:
                durations = self._steps.setdefault(name, Durations(self._capacity))
        durations.add(duration_ns)

    def percentiles(self) -> dict[str, Percentiles]:
        """Return the spread of every step in ms."""
        with self._lock:
            steps = list(self._steps.items())
        return {name: spread for name, kept in steps if (spread := kept.percentiles()) is not None}

    def samples_ms(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the kept durations of one step in ms, oldest first; empty if it never ran."""
        with self._lock:
            durations = self._steps.get(name)
        return Durations().samples_ms() if durations is None else durations.samples_ms()

    def clear(self) -> None:
        """Forget everything, as after a warm-up."""
        with self._lock:
            self._steps.clear()


class Recorder:
    """Collects the figures of one run. Any thread may call.

    Attributes:
        timer: the steps' timer, to be handed to whatever does the steps.
        latency: from the frame's capture to the end of its write.
    """

    def __init__(
        self, capacity: int = SAMPLES_KEPT, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Start with nothing counted.

        Args:
            capacity: newest samples kept of each duration.
            clock_ns: the clock of `Frame.time_s` for live sources, in nanoseconds.
        """
        self.timer = StepTimer(capacity)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self.latency = Durations(capacity)
        self._intervals = Durations(capacity)
        self._frames_in = 0
        self._frames_out = 0
        self._repeats = 0
        self._failures = 0
        self._drops: dict[str, int] = {}
        self._first_write_ns: int | None = None
        self._last_write_ns = 0

    @property
    def frames_out(self) -> int:
        """How many pictures have been written; cheap, for a progress line."""
        return self._frames_out

    def frame_in(self) -> None:
        """Count a frame from the source."""
        with self._lock:
            self._frames_in += 1

    def dropped(self, cause: str) -> None:
        """Count a frame that will never be written."""
        with self._lock:
            self._drops[cause] = self._drops.get(cause, 0) + 1

    def failed(self) -> None:
        """Count a frame whose rendering failed."""
        with self._lock:
            self._failures += 1

    def frame_out(self, captured_ns: int | None) -> None:
        """Count a picture that has just been written.

        Args:
            captured_ns: when its frame was captured, on the recorder's clock; None where no new
                frame stands behind it.
        """
        now_ns = self._clock_ns()
        with self._lock:
            if self._first_write_ns is None:
                self._first_write_ns = now_ns
            else:
                self._intervals.add(now_ns - self._last_write_ns)
            self._last_write_ns = now_ns
            self._frames_out += 1
            self._repeats += captured_ns is None
        if captured_ns is not None:
            self.latency.add(now_ns - captured_ns)

    def stats(
        self,
        faces_lost: int = 0,
        device: str = "",
        renderer: str = "",
        size: tuple[int, int] = (0, 0),
    ) -> Stats:
        """Return the figures so far, with what only the caller knows.

        Takes some milliseconds where many samples are kept; nobody who counts waits meanwhile.
        """
        with self._lock:
            counted = Stats(
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                repeats=self._repeats,
                failures=self._failures,
                drops=dict(self._drops),
            )
            elapsed_s = (self._last_write_ns - (self._first_write_ns or 0)) / 1e9
        intervals_ms = self._intervals.samples_ms()
        writes = counted.frames_out - 1
        return replace(
            counted,
            fps=writes / elapsed_s if writes > 0 and elapsed_s > 0 else 0.0,
            jitter_ms=float(intervals_ms.std()) if intervals_ms.size > 1 else 0.0,
            latency_ms=self.latency.percentiles(),
            steps_ms=self.timer.percentiles(),
            faces_lost=faces_lost,
            device=device,
            renderer=renderer,
            size=size,
        )
