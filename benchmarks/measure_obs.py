"""Measures the outputs to OBS and a browser: the delay from write to picture, and the cost.

    PYTHONPATH=tests python benchmarks/measure_obs.py [--seconds 20] [--json FILE]

Pictures of 512 x 512 px, 30 a second, carry the time at which they were written. The delay is their
age in OBS's screenshot or in a page's canvas. It includes the wait for the next picture, the
screenshot, and its transfer through obs-websocket. If OBS or a browser is missing, the rest is
measured and the exit code is 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from reenact.errors import SinkError
from reenact.sinks.http_address import load_address
from reenact.sinks.mjpeg_server import HttpSink
from reenact.sinks.obs.installer import MEDIA_PORT
from reenact.sinks.obs.sink import ObsSink
from reenact.types import Frame, Image
from support.fakes import until
from support.obs import browser, studio
from support.obs.rings import ring_name
from support.obs.studio import Studio
from support.portraits import astronaut

SIZE_PX: Final = 512
FPS: Final = 30.0
_BITS: Final = 20
_SHOT: Final = (160, 160)
_SETTLE_S: Final = 3.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--write", nargs=2, metavar=("KIND", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_forever(*arguments.write)
        return
    missing = [studio.MISSING, "" if browser.program() else "Chromium"]
    figures: dict[str, Any] = {"machine": machine(), "write": write_costs()}
    with tempfile.TemporaryDirectory(prefix="reenact-") as folder, ExitStack() as undo:
        os.environ["REENACT_DATA"] = folder
        home = Path(folder) / "obs"
        home.mkdir()
        if not studio.MISSING:
            studio.configure(home, scripts=(studio.SCRIPT,))
            obs = undo.enter_context(studio.start(home))
            figures["obs"] = obs.ask("GetVersion")["obsVersion"]
            figures["source"] = measure_source(obs, arguments.seconds)
            figures["media source"] = measure_media_source(obs, arguments.seconds)
        undo.close()
        if browser.program():
            figures["browser"] = measure_browser(Path(folder) / "chromium", arguments.seconds)
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if any(missing):
        sys.exit(f"Not all was measured; not installed: {', '.join(filter(None, missing))}.")


# Measurements


def write_costs() -> dict[str, float]:
    """Return the median time of a write to the ring, ms, by size."""
    costs: dict[str, float] = {}
    for width, height, with_alpha in ((512, 512, False), (512, 512, True), (1920, 1080, False)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        alpha = image[..., 0].copy() if with_alpha else None
        with ring_name() as name, ObsSink(name) as sink:
            sink.open((width, height), FPS)
            took_ms = []
            for number in range(200):
                start_s = time.perf_counter()
                sink.write(Frame(image, 0.0, number, alpha))
                took_ms.append((time.perf_counter() - start_s) * 1000)
        costs[f"{width}x{height}{' with alpha' if with_alpha else ''}"] = statistics.median(took_ms)
    return costs


def measure_source(obs: Studio, seconds: float) -> dict[str, Any]:
    """Measure the source "Reenact" without a picture, with a still one, and with 30 a second."""
    with ring_name() as name:
        found: dict[str, Any] = {"idle": load_of(obs, seconds)}
        item = obs.add("Reenact", "reenact", {"name": name, "hold_s": 86400.0})
        with writing("obs", name) as writer:
            until(lambda: obs.size_of(item) == (SIZE_PX, SIZE_PX), 60.0, "the source's picture")
            found["30 a second"] = load_of(obs, seconds)
            found["delay_ms"] = delays(obs, "Reenact", seconds)
            writer.kill()
            writer.wait()
        found["still"] = load_of(obs, seconds)
        obs.remove("Reenact")
    busy, idle = found["30 a second"]["core_percent"], found["idle"]["core_percent"]
    found["core_percent_over_idle"] = busy - idle
    return found


def measure_media_source(obs: Studio, seconds: float) -> dict[str, Any]:
    """Measure OBS's media source playing the HTTP stream."""
    idle = load_of(obs, seconds)
    with writing("http", ""):
        address = until(load_address, 60.0, "the HTTP stream")
        obs.add("Stream", "ffmpeg_source", studio.media_source_settings(address))
        until(lambda: has_picture(obs, "Stream"), 60.0, "the stream's picture")
        busy = load_of(obs, seconds)
        found: dict[str, Any] = {"delay_ms": delays(obs, "Stream", seconds), "30 a second": busy}
        obs.remove("Stream")
    found["core_percent_over_idle"] = busy["core_percent"] - idle["core_percent"]
    return found


_PAGE: Final = """
<img crossorigin src=%s>
<script>
const picture = document.querySelector("img"), canvas = document.createElement("canvas");
const context = canvas.getContext("2d", {willReadFrequently: true});
setInterval(() => {
  if (!picture.naturalWidth) return;
  canvas.width = picture.naturalWidth; canvas.height = 8;
  context.drawImage(picture, 0, 0);
  report([Date.now(), Array.from(context.getImageData(0, 4, canvas.width, 1).data)]);
}, 50);
</script>
"""


def measure_browser(folder: Path, seconds: float) -> dict[str, Any]:
    """Measure a page in Chromium that shows the HTTP stream."""
    Path(os.environ["REENACT_DATA"], "http.json").unlink(missing_ok=True)
    with writing("http", ""):
        address = until(load_address, 60.0, "the HTTP stream")
        url = address.url("stream.mjpg")
        found = []
        with browser.page(_PAGE % json.dumps(url), folder) as reports:
            reports.get(timeout=60)
            time.sleep(_SETTLE_S)
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                seen_ms, row = reports.get(timeout=60)
                picture = np.array(row, np.uint8).reshape(1, -1, 4)
                found.append(since(picture[..., :3], seen_ms))
    return {"delay_ms": spread(found)}


# Means of measurement


def write_forever(kind: str, name: str) -> None:
    """Write pictures that carry the time; runs in its own process."""
    sink = ObsSink(name) if kind == "obs" else HttpSink(MEDIA_PORT)
    base = astronaut()
    with sink:
        sink.open((SIZE_PX, SIZE_PX), FPS)
        due_s = time.monotonic()
        for number in range(10**9):
            image = base.copy()
            draw_time(image, time.time())
            sink.write(Frame(image, time.monotonic(), number))
            due_s = max(due_s + 1 / FPS, time.monotonic() - 1 / FPS)
            time.sleep(max(0.0, due_s - time.monotonic()))


def writing(kind: str, name: str) -> subprocess.Popen[bytes]:
    """Start the writer process; leaving its context kills it, and raises if it has failed."""
    command = [sys.executable, __file__, "--write", kind, name]
    return _Killed(command, stdout=subprocess.DEVNULL)


class _Killed(subprocess.Popen[bytes]):
    def __exit__(self, *arguments: Any) -> None:
        self.kill()
        super().__exit__(*arguments)
        if self.returncode != -signal.SIGKILL:
            raise RuntimeError("The process that writes the pictures has failed; see above.")


def draw_time(image: Image, now_s: float) -> None:
    """Draw a time, in ms, as a row of black and white bits into the upper quarter."""
    bits = (int(now_s * 1000) >> np.arange(_BITS)) & 1
    columns = np.arange(image.shape[1]) * _BITS // image.shape[1]
    image[: image.shape[0] // 4] = (bits[columns] * 255).astype(np.uint8)[None, :, None]


def since(picture: Image, now_ms: float) -> float:
    """Return the time since the one drawn into a picture, ms."""
    width = picture.shape[1]
    centres = (np.arange(_BITS) * 2 + 1) * width // (2 * _BITS)
    bits = (picture[picture.shape[0] // 8, centres].mean(axis=-1) > 128).astype(np.int64)
    drawn_ms = int((bits << np.arange(_BITS)).sum())
    return (now_ms - drawn_ms) % (1 << _BITS)


def has_picture(obs: Studio, source: str) -> bool:
    """Return False while OBS runs and the source has no picture."""
    try:
        shot(obs, source)
    except SinkError:
        if obs.process.poll() is not None:
            raise
        return False
    return True


def shot(obs: Studio, source: str) -> Image:
    """Return a small screenshot in RGB. Raises SinkError if the source has no picture."""
    answer = obs.ask(
        "GetSourceScreenshot",
        sourceName=source,
        imageFormat="bmp",
        imageWidth=_SHOT[0],
        imageHeight=_SHOT[1],
    )
    data = base64.b64decode(answer["imageData"].partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def delays(obs: Studio, source: str, seconds: float) -> dict[str, float]:
    """Take screenshots at random times; return the spread of the delays, ms."""
    found = []
    generator = np.random.default_rng(0)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        picture = shot(obs, source)
        found.append(since(picture, time.time() * 1000))
        time.sleep(generator.uniform(0.02, 0.12))
    return spread(found)


def spread(values: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and count."""
    return {
        "p50": statistics.median(values),
        "p95": float(np.percentile(values, 95)),
        "count": len(values),
    }


def load_of(obs: Studio, seconds: float) -> dict[str, float]:
    """Return OBS's CPU time, percent of a core, and the numbers of skipped and of all frames."""
    time.sleep(_SETTLE_S)
    return _during(seconds, lambda: (cpu_s(obs.process.pid), obs.ask("GetStats"), time.monotonic()))


def _during(seconds: float, look: Callable[[], tuple[float, Any, float]]) -> dict[str, float]:
    cpu_before, stats_before, start_s = look()
    time.sleep(seconds)
    cpu_after, stats_after, end_s = look()
    skipped, total = (
        stats_after[key] - stats_before[key] for key in ("renderSkippedFrames", "renderTotalFrames")
    )
    return {
        "core_percent": 100 * (cpu_after - cpu_before) / (end_s - start_s),
        "skipped": skipped,
        "frames": total,
    }


def cpu_s(process: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """Describe the machine, the date and the load before the measurement."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    name = names[0].partition(":")[2].strip() if names else platform.machine()
    return {
        "cpu": f"{name}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "date": date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a Markdown table."""
    host = figures["machine"]
    print(f"{host['cpu']}; {host['system']}; {host['date']}; load {host['load_before']}\n")
    print("| | delay, median | 95 % | OBS over idle | frames skipped, idle and busy |")
    print("|---|---|---|---|---|")
    source = figures.get("source")
    for title, key in (
        ("OBS, source Reenact", "source"),
        ("OBS, media source on `--sink http`", "media source"),
        ("Chromium on `--sink http`", "browser"),
    ):
        row = figures.get(key)
        if row is None:
            continue
        cost, skipped = "", ""
        if "30 a second" in row and source is not None:
            cost = f"{row['core_percent_over_idle']:.0f} % of a core"
            skipped = " and ".join(
                f"{load['skipped']:.0f} of {load['frames']:.0f}"
                for load in (source["idle"], row["30 a second"])
            )
        delay = row["delay_ms"]
        print(f"| {title} | {delay['p50']:.0f} ms | {delay['p95']:.0f} ms | {cost} | {skipped} |")
    if source is not None:
        still = source["still"]["core_percent"] - source["idle"]["core_percent"]
        print(f"\nThe source with a still picture: {still:.0f} % of a core over idle.")
    print("Writing a frame: " + ", ".join(f"{k} {v:.2f} ms" for k, v in figures["write"].items()))


if __name__ == "__main__":
    main()
