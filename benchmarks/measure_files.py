"""Measures what a frame costs in each kind of video file, and how large the file becomes.

    python benchmarks/measure_files.py [--frames 120]

The pictures are those of the demo's actor on the target `astronaut`, without its background.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reenact.lifecycle import ClosesOnExit
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.sinks.video_file import FileSink
from reenact.storage import DEMO_ACTOR
from reenact.targets.library import open_target
from reenact.types import Frame

SIZES = (
    ("output.picture=crop", "renderer.size=512"),
    ("output.shape=16:9",),
)
KINDS = ((".mp4", False), (".webm", False), (".webm", True), (".mov", True))
FPS = 30.0
RUNS = 3


class Kept(ClosesOnExit):
    """Keeps the frames that are written."""

    name, live = "kept", False

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Do nothing."""

    def write(self, frame: Frame) -> None:
        """Keep a frame."""
        self.frames.append(frame)

    def close(self) -> None:
        """Do nothing."""


def main() -> None:
    """Print a JSON line for each size and kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=120, help="number of frames of each file")
    count = parser.parse_args().frames
    for size in SIZES:
        frames = drawn(size)[:count]
        for ending, alpha in KINDS:
            shown = frames if alpha else [replace(frame, alpha=None) for frame in frames]
            print(json.dumps(measured(shown, ending)), flush=True)


def drawn(size: Sequence[str]) -> list[Frame]:
    """Return the frames of the demo, with settings that give them a size."""
    settings = load_settings(None, ["renderer.name=warp", "output.background=transparent", *size])
    kept, source = Kept(), f"video:{DEMO_ACTOR}"
    with Session.open(settings, source, open_target("astronaut"), [], extra=[kept]) as session:
        session.run()
    return kept.frames


def measured(frames: Sequence[Frame], ending: str) -> dict[str, object]:
    """Write a file several times; return the least CPU time of a frame, and the size."""
    costs_ms = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(RUNS):
            path = Path(folder, f"{run}{ending}")
            busy_s = time.process_time()
            with FileSink(path) as sink:
                sink.open(frames[0].size, FPS)
                for index, frame in enumerate(frames):
                    sink.write(replace(frame, time_s=index / FPS))
            costs_ms.append((time.process_time() - busy_s) * 1000 / len(frames))
        size_mb = path.stat().st_size / 1e6
    return {
        "size": "x".join(map(str, frames[0].size)),
        "file": ending,
        "alpha": frames[0].alpha is not None,
        "frame_cpu_ms": round(min(costs_ms), 1),
        "minute_mb": round(size_mb * 60 * FPS / len(frames)),
    }


if __name__ == "__main__":
    main()
