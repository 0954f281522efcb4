"""What a run did and how long it took.

`Recorder` and `StepTimer` collect the figures; `Stats` is the frozen result that the report, the
benchmark and the tests read. Only the newest samples of each duration are kept, so that memory
stays bounded in a stream that runs for days.
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
"""How many durations of each kind are kept: five minutes at 30 frames a second."""

RECENT_S: Final = 3.0
"""Period over which `Recent` measures, s."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of a duration, ms."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run did so far.

    Attributes:
        frames_in: frames that the source delivered.
        frames_out: pictures written, including `repeats`.
        repeats: pictures written without a new frame: the last one again, or the target at rest.
            After a run, frames_in = frames_out - repeats + all drops.
        failures: frames that could not be rendered; the target at rest was shown instead.
        drops: frames that were never written, by cause: "renderer busy" and "output busy" if the
            source is live, "stopped" for those under way at the end, "output failed" for the one
            that the last output could not write.
        fps: pictures written per second, from the first to the last.
        jitter_ms: standard deviation of the time between two writes; 0 for fewer than three.
        latency_ms: from a frame's capture to the end of its write, while the target follows the
            actor; None before the first.
        steps_ms: duration of each named step; "read" of a live source is mostly waiting.
        faces_lost: how often the face was lost.
        frames_limited: frames in which the target was limited to what faces can do.
        frames_still: frames in which the target kept so still that it was not drawn again.
        device: the device of the renderer, such as "cpu" or "cuda"; "" before it is known.
        renderer: the name of the renderer.
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
    frames_limited: int = 0
    frames_still: int = 0
    device: str = ""
    renderer: str = ""
    size: tuple[int, int] = (0, 0)

    def report(self) -> dict[str, object]:
        """Return what `--report` writes, ready for JSON; unmeasured percentiles are None."""
        latency = self.latency_ms
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "drops": dict(self.drops),
            "fps": round(self.fps, 2),
            "latency_ms": {
                name: round(getattr(latency, name), 2) if latency else None
                for name in ("p50", "p95", "p99")
            },
            "steps_ms": {
                name: {"p50": round(spread.p50, 3), "p95": round(spread.p95, 3)}
                for name, spread in self.steps_ms.items()
            },
            "faces_lost": self.faces_lost,
            "frames_limited": self.frames_limited,
            "frames_still": self.frames_still,
            "device": self.device,
            "renderer": self.renderer,
            "size": list(self.size),
        }


class Durations:
    """The newest durations of one kind. Any thread may call it."""

    def __init__(self) -> None:
        self._samples_s: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._lock = threading.Lock()

    def add(self, duration_s: float) -> None:
        """Keep one duration in place of the oldest."""
        with self._lock:
            self._samples_s.append(duration_s)

    def samples_ms(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the durations in ms, oldest first."""
        with self._lock:
            return np.array(self._samples_s, dtype=np.float64) * 1e3

    def percentiles(self) -> Percentiles | None:
        """Return their percentiles; None if there are no durations."""
        samples = self.samples_ms()
        if not samples.size:
            return None
        p50, p95, p99 = (float(value) for value in np.percentile(samples, (50, 95, 99)))
        return Percentiles(p50, p95, p99)


class StepTimer:
    """Times named steps: `with timer.step("track"): ...`. Any thread may call it.

    A step that raises is timed too. Steps keep the order in which they first ended.
    """

    def __init__(self) -> None:
        self._steps: dict[str, Durations] = {}
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start_s)

    def add(self, name: str, duration_s: float) -> None:
        """Keep a duration that was measured elsewhere."""
        durations = self._steps.get(name)
        if durations is None:
            with self._lock:
                durations = self._steps.setdefault(name, Durations())
        durations.add(duration_s)

    def percentiles(self) -> dict[str, Percentiles]:
        """Return the percentiles of every step."""
        with self._lock:
            steps = list(self._steps.items())
        return {name: found for name, kept in steps if (found := kept.percentiles()) is not None}

    def clear(self) -> None:
        """Forget every duration, for instance after a warm-up."""
        with self._lock:
            self._steps.clear()


class Recorder:
    """Collects the figures of one run. Any thread may call it.

    Args:
        now_s: the clock of `Frame.time_s` of a live source, s.

    Attributes:
        timer: times the steps of a frame.
        latency: from a frame's capture to the end of its write.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.timer = StepTimer()
        self._now_s = now_s
        self._lock = threading.Lock()
        self.latency = Durations()
        self._intervals = Durations()
        self._frames_in = 0
        self._frames_out = 0
        self._repeats = 0
        self._failures = 0
        self._drops: dict[str, int] = {}
        self._first_write_s: float | None = None
        self._last_write_s = 0.0

    @property
    def frames_out(self) -> int:
        """The number of pictures written so far."""
        return self._frames_out

    @property
    def drops(self) -> dict[str, int]:
        """The number of frames that were never written, by cause."""
        with self._lock:
            return dict(self._drops)

    def frame_in(self) -> None:
        """Count a frame from the source."""
        with self._lock:
            self._frames_in += 1

    def dropped(self, cause: str) -> None:
        """Count a frame that will never be written."""
        with self._lock:
            self._drops[cause] = self._drops.get(cause, 0) + 1

    def failed(self) -> None:
        """Count a frame that could not be rendered."""
        with self._lock:
            self._failures += 1

    def frame_out(self, captured_s: float | None, *, follows: bool = True) -> None:
        """Count a picture that has just been written.

        Args:
            captured_s: when its frame was captured, on the recorder's clock; None if it was made
                from no new frame.
            follows: False if it does not show what the actor does in that frame, so that it has no
                delay: the target rests or is frozen.
        """
        now_s = self._now_s()
        with self._lock:
            if self._first_write_s is None:
                self._first_write_s = now_s
            else:
                self._intervals.add(now_s - self._last_write_s)
            self._last_write_s = now_s
            self._frames_out += 1
            self._repeats += captured_s is None
        if captured_s is not None and follows:
            self.latency.add(now_s - captured_s)

    def stats(self) -> Stats:
        """Return the figures so far, but nothing of the face, the renderer and the picture.

        It takes some milliseconds if many samples are kept, but blocks no other call for so long.
        """
        with self._lock:
            counted = Stats(
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                repeats=self._repeats,
                failures=self._failures,
                drops=dict(self._drops),
            )
            elapsed_s = self._last_write_s - (self._first_write_s or 0.0)
        intervals_ms = self._intervals.samples_ms()
        writes = counted.frames_out - 1
        return replace(
            counted,
            fps=writes / elapsed_s if writes > 0 and elapsed_s > 0 else 0.0,
            jitter_ms=float(intervals_ms.std()) if intervals_ms.size > 1 else 0.0,
            latency_ms=self.latency.percentiles(),
            steps_ms=self.timer.percentiles(),
        )


class Recent:
    """The rate of a run and its dropped frames over the last seconds. Any thread may call.

    Args:
        recorder: of the run.
        now_s: returns the monotonic time, s.
    """

    def __init__(self, recorder: Recorder, now_s: Callable[[], float]) -> None:
        self._recorder = recorder
        self._now_s = now_s
        self._counts = deque([(now_s(), 0, dict[str, int]())])
        self._lock = threading.Lock()

    def measure(self) -> tuple[float, dict[str, int]]:
        """Return the pictures written per second, and the dropped frames by cause."""
        now_s = self._now_s()
        frames, drops = self._recorder.frames_out, self._recorder.drops
        with self._lock:
            self._counts.append((now_s, frames, drops))
            while now_s - self._counts[0][0] > RECENT_S and len(self._counts) > 2:
                self._counts.popleft()
            then_s, frames_then, drops_then = self._counts[0]
        fps = (frames - frames_then) / (now_s - then_s) if now_s > then_s else 0.0
        recent = {cause: count - drops_then.get(cause, 0) for cause, count in drops.items()}
        return fps, {cause: count for cause, count in recent.items() if count}
