"""Measures what the control panel and one viewer cost the live path.

    python benchmarks/panel_cost.py --rounds 20

One session draws a looped clip as fast as it can. In turn, for a few seconds each, it runs without
the panel, with it, and with it while a viewer in another process takes every picture. Prints the
frames a second and the processor time a frame of each way, and their ratios to the session alone,
round by round, so that what else the machine does weighs on all ways alike. The processor time
that the panel's own threads took is told beside it. Last comes the time from the program's start to
the page.
"""

from __future__ import annotations

import argparse
import os
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
from typing import Final

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

WAYS: Final = ("alone", "panel", "panel and viewer")
FPS: Final = 240.0
"""Faster than any machine draws, so that the panel's own pace never holds the session up."""


class Bench:
    """A session that can be given a panel and a viewer, and let go of them."""

    def __init__(self, session: Session, studio: Studio) -> None:
        self.session, self.studio = session, studio
        self.controls = Controls(session, "astronaut")

    @contextmanager
    def way(self, way: str) -> Iterator[None]:
        """Let the session run in one of the ways."""
        output = self.session.output
        assert isinstance(output, SinkSet)
        if way == "alone":
            yield
            return
        name = output.add(PanelSink(self.studio.picture))
        self.studio.controls = self.controls
        with PanelServer(self.studio, Address(port=0)) as server:
            viewer = None
            if way != "panel":
                command = [sys.executable, __file__, "--view", server.url]
                viewer = subprocess.Popen(command, stdout=subprocess.PIPE)
                assert viewer.stdout is not None
                viewer.stdout.readline()
            yield
            if viewer is not None:
                viewer.terminate()
                viewer.wait()
        output.remove(name)

    def measure(self, seconds: float) -> tuple[float, float, float]:
        """Return frames/s, ms of processor time a frame, and the panel's threads' share of that."""
        first, cpu_s, own_s = self.session.frames_out, time.process_time(), panel_s()
        start_s = time.monotonic()
        time.sleep(seconds)
        frames = self.session.frames_out - first
        rate = frames / (time.monotonic() - start_s)
        taken = [1e3 * s / frames for s in (time.process_time() - cpu_s, panel_s() - own_s)]
        return rate, taken[0], taken[1]


def panel_s() -> float:
    """Return the processor time that the panel's threads have taken."""
    own = (t for t in threading.enumerate() if t.name.startswith(("panel", "AnyIO", "asyncio")))
    return sum(time.clock_gettime(time.pthread_getcpuclockid(t.ident or 0)) for t in own)


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


def main(rounds: int, seconds: float) -> None:
    """Measure all ways in turn, and print what they took."""
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    actor = files("reenact") / "assets" / "demo_actor.mp4"
    with tempfile.TemporaryDirectory() as folder, as_file(actor) as path:
        os.environ["REENACT_DATA"] = folder
        fast = Path(folder) / "fast.mp4"
        write_video(fast, decode_clip(path), FPS)
        settings = load_settings(None, ["source.video.loop=true", "renderer.adaptive=false"])
        target = open_target("astronaut", settings.renderer.size)
        session = Session.open(settings, f"video:{fast}", target, ["null"])
        with session, Studio() as studio:
            session.start()
            bench = Bench(session, studio)
            time.sleep(seconds)
            for number in range(rounds):
                for way in WAYS[number % 3 :] + WAYS[: number % 3]:
                    with bench.way(way):
                        time.sleep(0.5)
                        found[way].append(bench.measure(seconds))
        starts = [page_after_s() for _ in range(4)][1:]
    for way in WAYS:
        rates, whole, own = zip(*found[way], strict=True)
        pairs = list(zip(found[way], found["alone"], strict=True))
        rate, cost = (
            statistics.median(mine[i] / alone[i] for mine, alone in pairs) for i in (0, 1)
        )
        print(
            f"{way}: {statistics.median(rates):.1f} frames/s ({rate:.3f} of alone), "
            f"{statistics.median(whole):.2f} ms of processor time a frame ({cost:.3f}), of which "
            f"the panel's threads {statistics.median(own):.2f} ms"
        )
    print(f"page after {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each way")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--view", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view:
        view(arguments.view)
    else:
        main(arguments.rounds, arguments.seconds)
