"""`reenact bench`: measures how fast the whole path runs on this machine.

A video of a real face goes through tracker, fusion, generator, paste and the session's threads to a
sink that discards the pictures. Each size is run twice. The first run is unpaced and gives `fps`
and `steps_ms`. The second is paced at a camera's rate and gives `latency_ms` from capture to write,
`drops`, and the CPU and GPU load of one stream. Start-up is timed in separate processes, each of
which loads everything.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from reenact.config import Settings
from reenact.errors import counted
from reenact.lifecycle import ClosesOnExit
from reenact.live.fallback import ReenactorLike
from reenact.live.pipeline import open_reenactor
from reenact.live.session import Session
from reenact.registry import DEFAULT_RENDERER, load
from reenact.sinks.fanout import SinkSet
from reenact.stats import Percentiles, Recorder, Stats
from reenact.storage import DEMO_ACTOR, check_writable, write_json
from reenact.targets.library import open_target
from reenact.types import Frame

CAMERA_FPS: Final = 30.0
"""Frame rate of the paced run: that of most webcams."""

_WARM_UP_FRAMES: Final = 30
"""Uncounted frames before each run: they cover compilation, caches and the actor's neutral."""

_PORTRAIT: Final = "astronaut"
"""The built-in target."""

_MAX_CLIP_FRAMES: Final = 90
_PACKAGES: Final = (
    "reenact", "torch", "openvino", "mediapipe", "numpy", "opencv-contrib-python", "av"
)  # fmt: skip


class ClipReplay(ClosesOnExit):
    """A source that plays frames from memory forwards and backwards. One thread calls `read`.

    Args:
        frames: at least one, all of one size.
        seconds: duration, counted from the first `read`; after it `read` returns None.
        fps: frame rate of the timestamps.
        live: True: frames arrive at a camera's rate, and those that are not read in time are lost.
            False: a frame is available whenever one is requested.

    Attributes:
        lost: the number of frames that were not read in time.
    """

    def __init__(self, frames: Sequence[Frame], seconds: float, fps: float, live: bool) -> None:
        self.live = live
        self.name = "clip in memory"
        self.size = frames[0].size
        self.fps = fps
        self._frames = frames
        self._seconds = seconds
        self._start_s = 0.0
        self._index = -1
        self.lost = 0

    def read(self) -> Frame | None:
        """Return the next frame; None once the time is over."""
        self._start_s = self._start_s or time.monotonic()
        elapsed_s = time.monotonic() - self._start_s
        if elapsed_s >= self._seconds:
            return None
        self._index += 1
        time_s = self._index / self.fps
        if self.live:
            missed = max(int(elapsed_s * self.fps) - self._index, 0)
            self._index += missed
            self.lost += missed
            time.sleep(max(0.0, self._index / self.fps - elapsed_s))
            time_s = time.monotonic()
        last = len(self._frames) - 1
        place = last - abs(last - self._index % max(2 * last, 1))
        return Frame(self._frames[place].image, time_s, self._index)

    def close(self) -> None:
        """End the clip."""
        self._seconds = 0.0


def bench(
    settings: Settings | None = None,
    sizes: Sequence[int] = (),
    json_path: Path | None = None,
    *,
    seconds: float = 10.0,
) -> dict[str, Any]:
    """Measure, print a table and write the report.

    Args:
        settings: settings of the runs; the renderer `auto` means the default one.
        sizes: sides of the generated crop, px; empty: the side in the settings.
        json_path: file that receives the report.
        seconds: duration of each of the two runs at a size.

    Returns:
        `machine` (see `describe_machine`), `device`, `sizes` (see `_measure_size`), `start_s`
        (from process start to the first picture at the first size: `cold` with empty caches,
        `warm` with filled ones) and `memory_mb` (peak of the process; None if the system does
        not report it).

    Raises:
        ReenactError: a component, a model or the report cannot be used.
    """
    if json_path is not None:
        check_writable(json_path)
    base = own_settings(settings or Settings())
    base.renderer.adaptive = False
    if base.renderer.name == "auto":
        base.renderer.name = DEFAULT_RENDERER
    frames = demo_frames(base)
    start_s: dict[str, float | None] = {}
    measured: dict[str, Any] = {}
    for size in sizes or (base.renderer.size,):
        base.renderer.size = size  # type: ignore[assignment]  # pydantic refuses other sizes
        start_s = start_s or _time_starts(base)
        measured[str(size)] = _measure_size(base, frames, seconds)
    devices = [figures.pop("device") for figures in measured.values()]
    report = {
        "machine": describe_machine(),
        "device": devices[0],
        "sizes": measured,
        "start_s": start_s,
        "memory_mb": peak_memory_mb(),
    }
    print(_as_text(report))
    if json_path is not None:
        write_json(json_path, report)
    return report


def own_settings(settings: Settings) -> Settings:
    """Return a copy that neither reads nor overwrites the user's stored neutral."""
    settings = settings.model_copy(deep=True)
    settings.actor.neutral = "fresh"
    return settings


def warm_reenactor(
    settings: Settings, frames: Sequence[Frame], recorder: Recorder
) -> ReenactorLike:
    """Return a reenactor of the packaged portrait after `_WARM_UP_FRAMES` frames."""
    target = open_target(_PORTRAIT, settings.renderer.size)
    reenactor = open_reenactor(settings, target, recorder.timer)
    with contextlib.ExitStack() as undo:
        undo.callback(reenactor.close)
        for index in range(_WARM_UP_FRAMES):
            reenactor.step(Frame(frames[index % len(frames)].image, index / CAMERA_FPS, index))
        undo.pop_all()
    recorder.timer.clear()
    return reenactor


def _measure_size(settings: Settings, frames: Sequence[Frame], seconds: float) -> dict[str, Any]:
    """Return the figures of one size.

    Returns:
        `device`; from the unpaced run `fps` and `steps_ms`; from the paced run `latency_ms`,
        `jitter_ms`, `drops` (frames of the camera that were lost anywhere), `cpu_share` of all
        cores, `gpu_share` (0 if the GPU is idle, None if there is none), and `memory_growth_mb`
        (growth of the memory in use after the first fifth of the run; None if the system does
        not report it).
    """
    fastest, _ = _run(settings, frames, seconds, live=False)
    camera, use = _run(settings, frames, seconds, live=True)
    return {
        "device": fastest.device,
        "fps": round(fastest.fps, 2),
        "latency_ms": _spread(camera.latency_ms),
        "jitter_ms": round(camera.jitter_ms, 2),
        **use,
        "steps_ms": {name: _spread(steps) for name, steps in fastest.steps_ms.items()},
    }


def _run(
    settings: Settings, frames: Sequence[Frame], seconds: float, live: bool
) -> tuple[Stats, dict[str, float | None]]:
    """Run a session; return its figures and its load on the machine, see `_measure_size`."""
    recorder = Recorder()
    reenactor = warm_reenactor(settings, frames, recorder)
    source = ClipReplay(frames, seconds, CAMERA_FPS, live)
    sinks = SinkSet([load("sinks", "null").make("", settings.sink)])
    with Session(settings, source, reenactor, sinks, recorder=recorder) as session:
        busy_s, start_s = time.process_time(), time.perf_counter()
        session.start()
        gpu_share, memory_growth_mb = _wait(session)
        busy_s, elapsed_s = time.process_time() - busy_s, time.perf_counter() - start_s
        stats = session.stats()
        return stats, {
            "drops": source.lost + sum(stats.drops.values()) - stats.drops.get("stopped", 0),
            "cpu_share": round(busy_s / elapsed_s / available_cores(), 3),
            "gpu_share": gpu_share,
            "memory_growth_mb": memory_growth_mb,
        }


def _wait(session: Session) -> tuple[float | None, float | None]:
    """Wait for the end; return `gpu_share` and `memory_growth_mb`, see `_measure_size`."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    busy_percent, memory_mb = list[float](), [_memory_mb()]
    while not session.wait(1.0):
        memory_mb.append(_memory_mb())
        if used:
            busy_percent.append(float(_gpu("utilization.gpu") or 0))
    before, after = memory_mb[len(memory_mb) // 5], memory_mb[-1]
    return (
        None if _gpu("name") is None else sum(busy_percent) / (100 * max(len(busy_percent), 1)),
        None if before is None or after is None else round(after - before, 1),
    )


def _time_starts(settings: Settings) -> dict[str, float | None]:
    """Return the seconds from process start to the first picture, cold and warm."""
    took_s: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory(prefix="reenact-") as cache:
        for kind in ("cold", "warm"):
            start_s = time.perf_counter()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                try:
                    process.submit(_show_first_picture, settings, cache).result()
                    took_s[kind] = round(time.perf_counter() - start_s, 2)
                except BrokenProcessPool:
                    took_s[kind] = None
    return took_s


def _show_first_picture(settings: Settings, cache: str) -> None:
    os.environ["REENACT_CACHE"] = cache
    (frame,) = demo_frames(settings, 1)
    target = open_target(_PORTRAIT, settings.renderer.size)
    open_reenactor(settings, target, Recorder().timer).step(frame)


def demo_frames(settings: Settings, count: int = _MAX_CLIP_FRAMES) -> list[Frame]:
    """Return the first frames of the packaged actor's video."""
    with load("sources", "video").make(str(DEMO_ACTOR), settings.source) as source:
        return list(islice(iter(source.read, None), count))


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: CPU, cores, versions, commit, date."""
    packages = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "cpu": _processor(),
        "cores": available_cores(),
        "gpu": _gpu("name"),
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
    """Return the peak memory of this process, MB; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _memory_mb() -> float | None:
    """Return the memory in use by this process, MB; None on systems without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu(field: str) -> str | None:
    """Query a property of the first NVIDIA GPU; None if there is none."""
    answer = _answer("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits")
    return answer and answer.partition("\n")[0]


def _commit() -> str | None:
    """Return the commit of the checkout that the program runs from; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    return _answer("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12")


def _answer(*command: str) -> str | None:
    """Return the output of a program; None if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _spread(spread: Percentiles | None) -> dict[str, float] | None:
    if spread is None:
        return None
    return {name: round(value, 3) for name, value in asdict(spread).items()}


def _as_text(report: dict[str, Any]) -> str:
    """Return the report as text for a terminal."""

    def text(value: float | None, form: str, unit: str = "") -> str:
        return "not measured" if value is None else f"{value:{form}}{unit}"

    machine, start_s = report["machine"], report["start_s"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {report['device']}",
        f"start to first picture: cold {text(start_s['cold'], '.1f', ' s')}, "
        f"warm {text(start_s['warm'], '.1f', ' s')}; "
        f"memory {text(report['memory_mb'], '.0f', ' MB')}",
    ]
    for size, figures in report["sizes"].items():
        lines += [
            "",
            f"{size} px: {figures['fps']:.1f} frames/s as fast as it goes",
            f"  at {CAMERA_FPS:.0f} frames/s: {counted(figures['drops'], 'frame')} dropped; "
            f"processors {figures['cpu_share']:.0%}, GPU {text(figures['gpu_share'], '.0%')}; "
            f"memory grew by {text(figures['memory_growth_mb'], '.0f', ' MB')}",
            f"  {'':<12}{'median ms':>12}{'95 % ms':>12}{'99 % ms':>12}",
        ]
        for name, row in {"delay": figures["latency_ms"], **figures["steps_ms"]}.items():
            if row is not None:
                lines.append(f"  {name:<12}" + "".join(f"{row[key]:>12.2f}" for key in row))
    return "\n".join(lines)
