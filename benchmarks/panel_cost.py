"""Measures what the control panel and one viewer cost the live path.

    python benchmarks/panel_cost.py --rounds 40

One session draws a short clip repeatedly, as fast as it can: without the panel, again without it,
with it, and with it while a viewer in another process receives every picture. Each mode runs for
one whole clip, so that all modes draw the same frames. The ratio of a mode's frame rate to that of
the session alone is the median over the rounds, with its 95 % confidence interval. The ratio for
`alone again` is the noise level; a smaller cost cannot be detected. The output also has the CPU
time per frame of the whole process, of the panel's threads and of the viewer, and the time from the
program's start to the page.
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
from reenact.sinks.video_file import write_video
from reenact.storage import DEMO_ACTOR
from reenact.targets.clip_files import decode_clip
from reenact.targets.library import open_target

MODES: Final = ("alone", "alone again", "panel", "panel and viewer")
FPS: Final = 240.0
"""Frame rate of the clip, faster than any machine draws, so that it never delays the session."""

CLIP_FRAMES: Final = 40


class Measured(NamedTuple):
    """Frames per second, and CPU times per frame, ms."""

    rate: float
    whole_ms: float
    panel_ms: float
    viewer_ms: float


class Bench:
    """A session to which a panel and a viewer can be attached."""

    def __init__(self, session: Session, studio: Studio) -> None:
        self.session, self.studio = session, studio
        self.controls = Controls(session, "astronaut")

    @contextmanager
    def running(self, mode: str) -> Iterator[int | None]:
        """Run the session in one of the modes; yield the viewer's process number, if any."""
        output = self.session.output
        if mode.startswith("alone"):
            yield None
            return
        name = output.add(PanelSink(self.studio.picture))
        self.studio.sessions.begin(self.controls)
        with PanelServer(self.studio, Address(port=0)) as server:
            if mode == "panel":
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
        """Measure the session for the length of one clip."""

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
    """Return the CPU time that the panel's threads have used."""
    threads = (t for t in threading.enumerate() if t.name.startswith(("panel", "AnyIO", "asyncio")))
    return sum(time.clock_gettime(time.pthread_getcpuclockid(t.ident or 0)) for t in threads)


def process_s(number: int | None) -> float:
    """Return the CPU time that another process has used (Linux)."""
    if number is None:
        return 0.0
    fields = Path(f"/proc/{number}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the ends of its 95 % confidence interval."""
    ranked, width = sorted(values), 0.98 * len(values) ** 0.5
    ends = [round(len(values) / 2 + side * width) for side in (-1, 1)]
    low, high = ranked[max(ends[0], 0)], ranked[min(ends[1], len(values) - 1)]
    return statistics.median(values), low, high


def view(url: str) -> None:
    """Receive every picture that the panel sends; print a line after the first."""
    base, token = url.split("/?token=")
    headers = {"Authorization": f"Bearer {token}"}
    address = base.replace("http", "ws", 1) + "/api/live"
    with connect(address, additional_headers=headers) as socket:
        socket.send('{"watch": ["output"]}')
        is_first = True
        try:
            for message in socket:
                if isinstance(message, bytes):
                    socket.send('{"drawn": true}')
                    if is_first:
                        print("seen", flush=True)
                        is_first = False
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
    """Measure all modes in random order in each round, and print the results."""
    measured: dict[str, list[Measured]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REENACT_DATA"] = folder
        fast = Path(folder) / "fast.mp4"
        write_video(fast, decode_clip(DEMO_ACTOR)[:CLIP_FRAMES], FPS)
        settings = load_settings(None, ["source.video.loop=true", "renderer.adaptive=false"])
        target = open_target("astronaut", settings.renderer.size)
        session = Session.open(settings, f"video:{fast}", target, ["null"])
        with session, Studio() as studio:
            session.start()
            bench = Bench(session, studio)
            time.sleep(5.0)
            for _ in range(rounds):
                for mode in random.sample(MODES, len(MODES)):
                    with bench.running(mode) as viewer:
                        time.sleep(0.5)
                        measured[mode].append(bench.measure(viewer))
        starts = [page_after_s() for _ in range(4)][1:]
    for mode, runs in measured.items():
        ratios = [run.rate / base.rate for run, base in zip(runs, measured["alone"], strict=True)]
        ratio, low, high = median_interval(ratios)
        rate, whole, panel, viewer = map(statistics.median, zip(*runs, strict=True))
        print(
            f"{mode}: {rate:.1f} frames/s, {ratio:.3f} of alone ({low:.3f} to {high:.3f}); "
            f"CPU time per frame {whole:.1f} ms, of which the panel's threads {panel:.2f} ms; "
            f"the viewer's process {viewer:.2f} ms"
        )
    print(f"page after {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="number of runs of each mode")
    parser.add_argument("--view", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view:
        view(arguments.view)
    else:
        main(arguments.rounds)
