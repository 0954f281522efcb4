"""`reenact bench`: measures how fast the whole path runs on this machine.

A video of a real face goes through tracker, fusion, generator, paste and the session's threads into
a sink that discards the pictures. There are two runs for each size. The first goes as fast as it
can and gives `fps` and `steps_ms`; the second goes at a camera's rate and gives `latency_ms` from
capture to write. Neither counts the opening and the first frames, which are timed as `start_s`.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, Literal

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.live.pipeline import Reenactor, open_reenactor
from reenact.live.session import Session
from reenact.registry import DEFAULT_RENDERER, load
from reenact.sinks.fanout import SinkSet
from reenact.stats import Percentiles, Recorder, Stats
from reenact.storage import check_writable, write_json
from reenact.targets.library import open_target
from reenact.types import Frame, Target

CAMERA_FPS: Final = 30.0
"""Frame rate of the second run: that of most webcams."""

WARM_UP_FRAMES: Final = 30
"""Frames before each run that are not counted: compiling, caches, the actor's neutral."""

PORTRAIT: Final = "astronaut"
"""The built-in target."""

_MAX_CLIP_FRAMES: Final = 300
_PACKAGES: Final = ("reenact", "torch", "openvino", "mediapipe", "numpy", "opencv-python", "av")

Device = Literal["auto", "cpu", "cuda"]


class ClipReplay(ClosesOnExit):
    """A source that plays frames from memory forwards and backwards for a given time.

    One thread calls `read`.
    """

    def __init__(self, frames: Sequence[Frame], seconds: float, fps: float, live: bool) -> None:
        """Keep the frames; the clock starts with the first `read`.

        Args:
            frames: at least one, all of one size.
            seconds: after this time `read` returns None.
            fps: frame rate of the timestamps.
            live: True: each frame comes when a camera would deliver it, and frames that nobody
                reads in time are lost. False: each comes as soon as it is asked for.
        """
        self.live = live
        self.name = "clip in memory"
        self.size = frames[0].size
        self.fps = fps
        self._frames = frames
        self._seconds = seconds
        self._start_s: float | None = None
        self._index = -1

    def read(self) -> Frame | None:
        """Return the next frame; None once the time is over."""
        now_s = time.monotonic()
        if self._start_s is None:
            self._start_s = now_s
        if now_s - self._start_s >= self._seconds:
            return None
        self._index += 1
        time_s = self._index / self.fps
        if self.live:
            late = int((now_s - self._start_s) * self.fps)
            self._index = max(self._index, late)
            due_s = self._start_s + self._index / self.fps
            time.sleep(max(0.0, due_s - now_s))
            time_s = time.monotonic()
        period = max(2 * len(self._frames) - 2, 1)
        place = self._index % period
        picture = self._frames[min(place, period - place) if place else 0]
        return Frame(picture.image, time_s, self._index)

    def close(self) -> None:
        """End the clip."""
        self._seconds = 0.0


def bench(
    device: Device = "auto",
    sizes: Sequence[int] = (256,),
    json_path: Path | None = None,
    *,
    seconds: float = 10.0,
    renderer: str = DEFAULT_RENDERER,
    clip: Path | None = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Measure, print a table and write the report.

    Args:
        device: what the generator runs on.
        sizes: sides of the generated crop, px.
        json_path: receives the report.
        seconds: length of each of the two runs at a size.
        renderer: a registered name.
        clip: the actor's video; None: the packaged one.
        settings: everything else.

    Returns:
        `machine` (what it ran on), `device`, `sizes` (for each size `fps`, `latency_ms` with p50,
        p95 and p99, and `steps_ms` with p50 and p95 of each step), `start_s` (from a photo of the
        target to the first picture at the first size, loading libraries and models included) and
        `memory_mb` (the process's peak; None if the system does not tell).

    Raises:
        ReenactError: a part, a model, the clip or the report cannot be used.
    """
    if json_path is not None:
        check_writable(json_path)
    base = settings or Settings()
    frames = _read_clip(clip, base)
    measured: dict[str, Any] = {}
    start_s: float | None = None
    used_device = ""
    for size in sizes:
        chosen = base.model_copy(deep=True)
        chosen.renderer = base.renderer.model_copy(
            update={"name": renderer, "size": size, "device": device}
        )
        chosen.actor.neutral = "fresh"  # the user's stored neutral is neither read nor replaced
        opening_s = time.perf_counter()
        target = open_target(PORTRAIT, size)
        throughput, first_picture_s = _run(chosen, target, frames, seconds, live=False)
        if start_s is None:
            start_s = round(first_picture_s - opening_s, 2)
        camera, _ = _run(chosen, target, frames, seconds, live=True)
        used_device = throughput.device
        measured[str(size)] = {
            "fps": round(throughput.fps, 2),
            "latency_ms": _spread(camera.latency_ms, ("p50", "p95", "p99")),
            "steps_ms": {
                name: _spread(steps, ("p50", "p95")) for name, steps in throughput.steps_ms.items()
            },
        }
    report = {
        "machine": describe_machine(),
        "device": used_device,
        "sizes": measured,
        "start_s": start_s,
        "memory_mb": peak_memory_mb(),
    }
    if json_path is not None:
        write_json(json_path, report)
    print(format_report(report))
    return report


def format_report(report: dict[str, Any]) -> str:
    """Return the report as text for a terminal."""
    machine = report["machine"]
    memory = report["memory_mb"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {report['device']}",
        f"start {report['start_s']:.1f} s, memory {f'{memory:.0f} MB' if memory else 'unknown'}",
    ]
    for size, figures in report["sizes"].items():
        latency = figures["latency_ms"]
        lines.append("")
        lines.append(f"{size} px: {figures['fps']:.1f} frames/s as fast as it goes")
        if latency is not None:
            lines.append(
                f"  latency at {CAMERA_FPS:.0f} frames/s: {latency['p50']:.0f} ms "
                f"(95 %: {latency['p95']:.0f} ms)"
            )
        lines.append(f"  {'step':<12}{'median ms':>12}{'95 % ms':>12}")
        for name, steps in figures["steps_ms"].items():
            lines.append(f"  {name:<12}{steps['p50']:>12.2f}{steps['p95']:>12.2f}")
    return "\n".join(lines)


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, versions, commit, time."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process; None if the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _run(
    settings: Settings, target: Target, frames: Sequence[Frame], seconds: float, live: bool
) -> tuple[Stats, float]:
    """Run a session; return its figures, and the perf_counter time of the first picture."""
    recorder = Recorder()
    reenactor = open_reenactor(settings, target, recorder.timer)
    try:
        reenactor.step(frames[0])
        first_picture_s = time.perf_counter()
        _warm_up(reenactor, frames)
    except BaseException:
        reenactor.close()
        raise
    recorder.timer.clear()
    source = ClipReplay(frames, seconds, CAMERA_FPS, live)
    sinks = SinkSet([load("sinks", "null").make("", settings.sink)])
    with Session(settings, source, reenactor, sinks, recorder=recorder) as session:
        session.start()
        session.wait()
        return session.stats(), first_picture_s


def _warm_up(reenactor: Reenactor, frames: Sequence[Frame]) -> None:
    for index in range(1, WARM_UP_FRAMES):
        frame = frames[index % len(frames)]
        reenactor.step(Frame(frame.image, index / CAMERA_FPS, index))


def _read_clip(clip: Path | None, settings: Settings) -> list[Frame]:
    packaged = files("reenact") / "assets" / "demo_actor.mp4"
    if clip is None and not packaged.is_file():
        raise SourceError("The packaged actor's clip is missing; install reenact again.")
    with as_file(packaged) as path:
        source = load("sources", "video").make(str(clip or path), settings.source)
        frames: list[Frame] = []
        with source:
            while len(frames) < _MAX_CLIP_FRAMES and (frame := source.read()) is not None:
                frames.append(frame)
    if not frames:
        raise SourceError(f"{clip} holds no frames.")
    return frames


def _spread(spread: Percentiles | None, names: Sequence[str]) -> dict[str, float] | None:
    return None if spread is None else {name: round(getattr(spread, name), 3) for name in names}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _commit() -> str | None:
    """Return the commit of the checkout that the program runs from; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
