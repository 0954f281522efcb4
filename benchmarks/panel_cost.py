"""Measures what the control panel and one viewer cost the live path, in turn.

    python benchmarks/panel_cost.py --rounds 5

A video goes through `reenact live` as fast as it can: without the panel, with it, and with it while
a viewer takes every picture. Prints frames a second of each round, the ratios of medians, and how
long the page took to be served.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

WAYS: Final = ("no panel", "panel", "panel and viewer")
POLL_S: Final = 0.02


def frames_per_second(way: str, video: Path, report: Path) -> tuple[float, float, int]:
    """Return frames/s of one run, seconds to the panel's address (0: none), and pictures seen."""
    program = "import sys; from reenact.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "live", "--source", f"video:{video}"]
    command += ["--target", "astronaut", "--sink", "null", "--report", str(report)]
    if way != WAYS[0]:
        command += ["--panel", "--no-browser"]
    started_s = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        address_s, pictures = 0.0, [0]
        if way != WAYS[0]:
            line = next(line for line in run.stderr if "token=" in line)
            address_s = time.monotonic() - started_s
            if way == WAYS[2]:
                url, token = line.split()[-1].split("/?token=")
                threading.Thread(target=view, args=(url, token, pictures), daemon=True).start()
        drain = threading.Thread(target=run.stderr.read, daemon=True)
        drain.start()
        while run.poll() is None and not report.exists():
            time.sleep(POLL_S)
        if run.poll() is None and way != WAYS[0]:
            run.send_signal(signal.SIGINT)
        drain.join()
    return json.loads(report.read_text(encoding="utf-8"))["fps"], address_s, pictures[0]


def view(url: str, token: str, pictures: list[int]) -> None:
    """Take every picture that the panel sends, and count them."""
    address = url.replace("http", "ws", 1) + "/api/live"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with connect(address, additional_headers=headers) as socket:
            socket.send('{"watch": ["output", "features"]}')
            for message in socket:
                if isinstance(message, bytes):
                    pictures[0] += 1
                    socket.send('{"drawn": true}')
    except (ConnectionClosed, OSError):
        return


def main(rounds: int) -> None:
    """Run every way once a round, and print what it took."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    starts, seen = [], 0
    actor = files("reenact") / "assets" / "demo_actor.mp4"
    with as_file(actor) as video, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for way in WAYS[number % 3 :] + WAYS[: number % 3]:
                report = Path(folder) / f"{number} {way}.json"
                rate, start_s, pictures = frames_per_second(way, video, report)
                rates[way].append(rate)
                starts += [start_s] if start_s else []
                seen += pictures
    for way in WAYS:
        ratio = statistics.median(rates[way]) / statistics.median(rates[WAYS[0]])
        print(f"{way}: {', '.join(f'{rate:.1f}' for rate in rates[way])} frames/s; {ratio:.3f}")
    print(f"{seen} pictures seen; address after {statistics.median(starts):.1f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each way")
    main(parser.parse_args().rounds)
