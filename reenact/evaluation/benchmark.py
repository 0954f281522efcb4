"""`reenact bench`: measures how fast the whole path runs on this machine.

A video of a real face goes through tracker, fusion, generator, paste and the session's threads into
a sink that discards the pictures. There are two runs for each size. The first goes as fast as it
can and gives `fps` and `steps_ms`; the second goes at a camera's rate and gives `latency_ms` from
capture to write, `drops`, and the share of the processors and the GPU that a stream takes. The
start is timed in processes of its own, which load everything.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit, quiet_native_libraries
from reenact.live.pipeline import open_reenactor
from reenact.live.session import Session
from reenact.registry import DEFAULT_RENDERER, load
from reenact.sinks.fanout import SinkSet
from reenact.stats import Percentiles, Recorder, Stats
from reenact.storage import check_writable, write_json
from reenact.targets.library import open_target
from reenact.types import Frame, Source, Target

CAMERA_FPS: Final = 30.0
"""Frame rate of the second run: that of most webcams."""

WARM_UP_FRAMES: Final = 30
"""Frames before each run that are not counted: compiling, caches, the actor's neutral."""

PORTRAIT: Final = "astronaut"
"""The built-in target."""

_MAX_CLIP_FRAMES: Final = 90
_PACKAGES: Final = ("reenact", "torch", "openvino", "mediapipe", "numpy", "opencv-python", "av")

_PERCENTILES: Final = ("p50", "p95", "p99")
_START_TIMEOUT_S: Final = 120.0


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
    settings: Settings | None = None,
    sizes: Sequence[int] = (),
    json_path: Path | None = None,
    *,
    seconds: float = 10.0,
    clip: Path | None = None,
) -> dict[str, Any]:
    """Measure, print a table and write the report.

    Args:
        settings: of the runs; the renderer `auto` is the default one.
        sizes: sides of the generated crop, px; none: that of the settings.
        json_path: receives the report.
        seconds: length of each of the two runs at a size.
        clip: the actor's video; None: the packaged one.

    Returns:
        `machine` (what it ran on), `device`, `sizes` (see `_measure_size`), `start_s` (from the
        start of a process to its first picture at the first size, `cold` without what earlier
        starts cached and `warm` with it) and `memory_mb` (the process's peak; None if the system
        does not tell).

    Raises:
        ReenactError: a part, a model, the clip or the report cannot be used.
    """
    if json_path is not None:
        check_writable(json_path)
    base = (settings or Settings()).model_copy(deep=True)
    base.actor.neutral = "fresh"  # the user's stored neutral is neither read nor replaced
    base.renderer.adaptive = False
    if base.renderer.name == "auto":
        base.renderer.name = DEFAULT_RENDERER
    frames = read_clip(clip, base)
    start_s: dict[str, float | None] = {}
    measured: dict[str, Any] = {}
    for size in sizes or (base.renderer.size,):
        base.renderer.size = size  # type: ignore[assignment]  # pydantic refuses other sizes
        start_s = start_s or _time_starts(base, clip)
        measured[str(size)] = _measure_size(base, frames, seconds)
    report = {
        "machine": describe_machine(),
        "device": next(iter(measured.values())).pop("device"),
        "sizes": measured,
        "start_s": start_s,
        "memory_mb": peak_memory_mb(),
    }
    for figures in measured.values():
        figures.pop("device", None)
    if json_path is not None:
        write_json(json_path, report)
    print(format_report(report))
    return report


def _measure_size(settings: Settings, frames: Sequence[Frame], seconds: float) -> dict[str, Any]:
    """Return the figures of one size.

    Returns:
        `device`; as fast as it goes `fps` and `steps_ms`; at a camera's rate `latency_ms`,
        `jitter_ms` and `drops`, the `cpu_share` of all cores and the `gpu_share` (0 if the GPU was
        left alone, None if there is none), and by how much the peak memory rose during the run,
        `memory_growth_mb`.
    """
    target = open_target(PORTRAIT, settings.renderer.size)
    throughput, _ = _run(settings, target, frames, seconds, live=False)
    camera, use = _run(settings, target, frames, seconds, live=True)
    return {
        "device": throughput.device,
        "fps": round(throughput.fps, 2),
        "latency_ms": _spread(camera.latency_ms),
        "jitter_ms": round(camera.jitter_ms, 2),
        "drops": sum(camera.drops.values()) - camera.drops.get("stopped", 0),
        **use,
        "steps_ms": {name: _spread(steps) for name, steps in throughput.steps_ms.items()},
    }


def format_report(report: dict[str, Any]) -> str:
    """Return the report as text for a terminal."""
    machine, start_s = report["machine"], report["start_s"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {report['device']}",
        f"start to first picture: cold {_text(start_s['cold'], '.1f', ' s')}, "
        f"warm {_text(start_s['warm'], '.1f', ' s')}; "
        f"memory {_text(report['memory_mb'], '.0f', ' MB')}",
    ]
    for size, figures in report["sizes"].items():
        lines.append("")
        lines.append(f"{size} px: {figures['fps']:.1f} frames/s as fast as it goes")
        lines.append(
            f"  at {CAMERA_FPS:.0f} frames/s: {figures['drops']} frames dropped; "
            f"processors {_text(figures['cpu_share'], '.0%')}, "
            f"GPU {_text(figures['gpu_share'], '.0%')}; "
            f"memory grew by {_text(figures['memory_growth_mb'], '.0f', ' MB')}"
        )
        lines.append(f"  {'':<12}{'median ms':>12}{'95 % ms':>12}{'99 % ms':>12}")
        rows = {"delay": figures["latency_ms"], **figures["steps_ms"]}
        for name, row in rows.items():
            if row is not None:
                numbers = "".join(f"{row[key]:>12.2f}" for key in _PERCENTILES)
                lines.append(f"  {name:<12}{numbers}")
    return "\n".join(lines)


def _text(value: float | None, form: str, unit: str = "") -> str:
    return "not measured" if value is None else f"{value:{form}}{unit}"


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, versions, commit, time."""
    packages = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "gpu": _ask_gpu("name"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
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
) -> tuple[Stats, dict[str, float | None]]:
    """Run a session; return its figures, and its use of the machine as in `_measure_size`."""
    recorder = Recorder()
    reenactor = open_reenactor(settings, target, recorder.timer)
    try:
        for index in range(WARM_UP_FRAMES):
            frame = frames[index % len(frames)]
            reenactor.step(Frame(frame.image, index / CAMERA_FPS, index))
    except BaseException:
        reenactor.close()
        raise
    recorder.timer.clear()
    source = ClipReplay(frames, seconds, CAMERA_FPS, live)
    sinks = SinkSet([load("sinks", "null").make("", settings.sink)])
    with Session(settings, source, reenactor, sinks, recorder=recorder) as session:
        memory_mb, busy_s, start_s = peak_memory_mb(), time.process_time(), time.perf_counter()
        session.start()
        gpu_share = _wait(session)
        busy_s, elapsed_s = time.process_time() - busy_s, time.perf_counter() - start_s
        return session.stats(), {
            "cpu_share": round(busy_s / elapsed_s / available_cores(), 3),
            "gpu_share": gpu_share,
            "memory_growth_mb": memory_mb and round((peak_memory_mb() or 0) - memory_mb, 1),
        }


def _time_starts(settings: Settings, clip: Path | None) -> dict[str, float | None]:
    """Return the seconds from the start of a process to its first picture, cold and warm."""
    with tempfile.TemporaryDirectory(prefix="reenact-") as cache:
        return {kind: _time_start(settings, clip, cache) for kind in ("cold", "warm")}


def _time_start(settings: Settings, clip: Path | None, cache: str) -> float | None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_show_first_picture, args=(settings, clip, cache, there))
    start_s = time.perf_counter()
    child.start()
    there.close()
    try:
        shown = here.poll(_START_TIMEOUT_S) and here.recv()
        elapsed_s = time.perf_counter() - start_s
    except EOFError:  # it failed, as this process will, which then says why
        shown = False
    child.join(_START_TIMEOUT_S)
    return round(elapsed_s, 2) if shown else None


def _show_first_picture(
    settings: Settings, clip: Path | None, cache: str, done: Connection
) -> None:
    os.environ["REENACT_CACHE"] = cache
    with quiet_native_libraries(), _open_clip(clip, settings) as source:
        frame = source.read()
        target = open_target(PORTRAIT, settings.renderer.size)
        reenactor = open_reenactor(settings, target, Recorder().timer)
        if frame is not None:
            reenactor.step(frame)
            done.send(True)
        reenactor.close()


@contextlib.contextmanager
def _open_clip(clip: Path | None, settings: Settings) -> Iterator[Source]:
    packaged = files("reenact") / "assets" / "demo_actor.mp4"
    if clip is None and not packaged.is_file():
        raise SourceError("The packaged actor's clip is missing; install reenact again.")
    with as_file(packaged) as path:
        source = load("sources", "video").make(str(clip or path), settings.source)
        with contextlib.closing(source):
            yield source


def read_clip(clip: Path | None, settings: Settings) -> list[Frame]:
    """Return the first frames of an actor's video; None: the packaged one.

    Raises:
        SourceError: there is no such video, or it holds no frames.
    """
    frames: list[Frame] = []
    with _open_clip(clip, settings) as source:
        while len(frames) < _MAX_CLIP_FRAMES and (frame := source.read()) is not None:
            frames.append(frame)
    if not frames:
        raise SourceError(f"{clip} holds no frames.")
    return frames


def _spread(spread: Percentiles | None) -> dict[str, float] | None:
    names = _PERCENTILES
    return None if spread is None else {name: round(getattr(spread, name), 3) for name in names}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _ask_gpu(property_name: str) -> str | None:
    """Ask the first NVIDIA GPU for a property; None if there is none."""
    command = ["nvidia-smi", f"--query-gpu={property_name}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.partition("\n")[0].strip()


def _wait(session: Session) -> float | None:
    """Wait for the end; return for how much of the time the GPU was busy.

    That is 0 if this process left the GPU alone, and None if there is none.
    """
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    busy_percent = []
    while not session.wait(1.0):
        if used:
            busy_percent.append(float(_ask_gpu("utilization.gpu") or 0))
    if used:
        return sum(busy_percent) / (100 * len(busy_percent)) if busy_percent else None
    return None if _ask_gpu("name") is None else 0.0


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
