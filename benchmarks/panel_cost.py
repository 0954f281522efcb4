"""Measures the cost of the control panel and one viewer for the live path.

    python benchmarks/panel_cost.py --rounds 40

One session draws a short clip repeatedly, as fast as it can: without the panel, again without it,
with it, and with it while a viewer in another process takes every picture it gets. Each mode runs
for one whole clip, so that all draw the same frames. For each mode, the ratio of its frame rate to
that of the session alone is the median over the rounds, with its 95 % confidence interval. The
ratio of the session alone to itself is the noise level: a smaller cost cannot be detected. The
table also has the CPU time per frame of the whole process, of the panel's own threads and of the
viewer. Last comes the time from the program's start to the page.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.panel.preview import PanelSink
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.sinks.fanout import SinkSet
from reenact.sinks.video_file import write_video
from reenact.targets.clip_files import decode_clip
from reenact.targets.library import open_target

WAYS: Final = ("alone", "alone again", "panel", "panel and viewer")
FPS: Final = 240.0
"""Faster than any machine draws, so that the panel's own pace never delays the session."""

CLIP_FRAMES: Final = 40


class Measured(NamedTuple):
    """Frames a second, and processor times per frame, ms."""

    rate: float
    whole_ms: float
    panel_ms: float
    viewer_ms: float


class Bench:
    """A session that can be given a panel and a viewer, and let go of them."""

    def __init__(self, session: Session, studio: Studio) -> None:
        self.session, self.studio = session, studio
        self.controls = Controls(session, "astronaut")

    @contextmanager
    def way(self, way: str) -> Iterator[int | None]:
        """Let the session run in one of the ways; gives the viewer's process, if there is one."""
        output = self.session.output
        assert isinstance(output, SinkSet)
        if way.startswith("alone"):
            yield None
            return
        name = output.add(PanelSink(self.studio.picture))
        self.studio.controls = self.controls
        with PanelServer(self.studio, Address(port=0)) as server:
            if way == "panel":
                yield None
            else:
                command = [sys.executable, __file__, "--view", server.url]
                with subprocess.Popen(command, stdout=subprocess.PIPE) as viewer:
                    assert viewer.stdout is not None
                    viewer.stdout.readline()
                    yield viewer.pid
                    viewer.terminate()
        output.remove(name)

    def measure(self, viewer: int | None) -> Measured:
        """Return what the session does for one clip from now."""

        def times_s() -> tuple[float, ...]:
            return time.process_time(), panel_s(), process_s(viewer)

        first, before_s = self.session.frames_out, times_s()
        start_s = time.monotonic()
        while (frames := self.session.frames_out - first) < CLIP_FRAMES:
            time.sleep(0.002)
        rate = frames / (time.monotonic() - start_s)
        taken_ms = (1e3 * (b - a) / frames for a, b in zip(before_s, times_s(), strict=True))
        return Measured(rate, *taken_ms)


def panel_s() -> float:
    """Return the processor time that the panel's threads have taken."""
    own = (t for t in threading.enumerate() if t.name.startswith(("panel", "AnyIO", "asyncio")))
    return sum(time.clock_gettime(time.pthread_getcpuclockid(t.ident or 0)) for t in own)


def process_s(number: int | None) -> float:
    """Return the processor time that another process has taken (Linux)."""
    if number is None:
        return 0.0
    fields = Path(f"/proc/{number}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median_between(values: list[float]) -> tuple[float, float, float]:
    """Return the median, and between which values the true one is in 95 % of cases."""
    ranked, width = sorted(values), 0.98 * len(values) ** 0.5
    ends = [round(len(values) / 2 + side * width) for side in (-1, 1)]
    low, high = ranked[max(ends[0], 0)], ranked[min(ends[1], len(values) - 1)]
    return statistics.median(values), low, high


def view(url: str) -> None:
    """Take every picture that the panel sends."""
    base, token = url.split("/?token=")
    headers = {"Authorization": f"Bearer {token}"}
    address = base.replace("http", "ws", 1) + "/api/live"
    with connect(address, additional_headers=headers) as socket:
        socket.send('{"watch": ["output"]}')
        told = False
        try:
            for message in socket:
                if isinstance(message, bytes):
                    socket.send('{"drawn": true}')
                    if not told:
                        print("seen", flush=True)
                        told = True
        except ConnectionClosed:
            return


def page_after_s() -> float:
    """Return the seconds from the program's start to its page."""
    program = "import sys; from reenact.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "panel", "--no-browser", "--port", "0"]
    start_s = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        url, token = run.stderr.readline().split()[-1].split("/?token=")
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            answer.read()
        taken_s = time.monotonic() - start_s
        run.terminate()
    return taken_s


def main(rounds: int) -> None:
    """Measure all ways in turn, and print what they took."""
    found: dict[str, list[Measured]] = {way: [] for way in WAYS}
    actor = files("reenact") / "assets" / "demo_actor.mp4"
    with tempfile.TemporaryDirectory() as folder, as_file(actor) as path:
        os.environ["REENACT_DATA"] = folder
        fast = Path(folder) / "fast.mp4"
        write_video(fast, decode_clip(path)[:CLIP_FRAMES], FPS)
        settings = load_settings(None, ["source.video.loop=true", "renderer.adaptive=false"])
        target = open_target("astronaut", settings.renderer.size)
        session = Session.open(settings, f"video:{fast}", target, ["null"])
        with session, Studio() as studio:
            session.start()
            bench = Bench(session, studio)
            time.sleep(5.0)
            for _ in range(rounds):
                for way in random.sample(WAYS, len(WAYS)):
                    with bench.way(way) as viewer:
                        time.sleep(0.5)
                        found[way].append(bench.measure(viewer))
        starts = [page_after_s() for _ in range(4)][1:]
    for way in WAYS:
        ratios = [
            one.rate / base.rate for one, base in zip(found[way], found["alone"], strict=True)
        ]
        ratio, low, high = median_between(ratios)
        rate, whole, panel, viewer = map(statistics.median, zip(*found[way], strict=True))
        print(
            f"{way}: {rate:.1f} frames/s, {ratio:.3f} of alone ({low:.3f} to {high:.3f}); "
            f"{whole:.1f} ms of processor time a frame, the panel's threads {panel:.2f} ms; "
            f"the viewer's process {viewer:.2f} ms"
        )
    print(f"page after {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="turns of each way")
    parser.add_argument("--view", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view:
        view(arguments.view)
    else:
        main(arguments.rounds)
