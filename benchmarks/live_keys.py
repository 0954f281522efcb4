"""Presses the emotion keys in a real `reenact live` and measures the pictures of its stream.

    python benchmarks/live_keys.py --renderer stargan --renderer attgan

Each renderer runs on a pseudo terminal (so not on Windows), driven by a still photo. The table has
the mean change of the picture from rest after each key, in levels of 255: 1 to 8, then `down` five
times and `up` five times on a smile, then 0.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.targets.library import built_in_portrait
from reenact.types import Array

RENDERERS: Final = (
    "pixel_regression", "ganimation", "lgp_gan", "attention_cgan", "stargan", "attgan",
    "exprgan", "texture_gan",
)  # fmt: skip
PRESSES: Final = [
    *((str(key), str(key).encode()) for key in range(1, 9)),
    ("6", b"6"),
    ("down × 5", b"\x1b[B" * 5),
    ("up × 5", b"\x1b[A" * 5),
    ("0", b"0"),
]
START_S: Final = 90.0
SETTLED_S: Final = 0.5
MAX_SETTLE_S: Final = 8.0
"""Waiting time: an emotion is eased in within .4 s; a busy machine takes longer."""


@contextmanager
def running(renderer: str, photo: Path) -> Iterator[tuple[int, Callable[[], Array]]]:
    """Run the program; give the terminal's end to type into, and what returns its picture."""
    command = [
        sys.executable,
        "-c",
        "import sys; from reenact.cli.main import main; sys.exit(main())",
    ]
    settings = [f"renderer.name={renderer}", "idle.life=false", "sink.http.quality=100"]
    options = [f"--source=image:{photo}", "--target=robin", "--sink=http"]
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [*command, "live", *options, *(one for text in settings for one in ("--set", text))],
            stdin=theirs,
            stdout=told,
            stderr=told,
        )
        try:
            address = awaited(lambda: _address(told.fileno()), process)
            yield ours, lambda: _picture(address)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)


def awaited(found: Callable[[], str], process: subprocess.Popen[bytes]) -> str:
    """Return what is found. Raises RuntimeError if the program ended or took too long."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        text = found()
        if text:
            return text
        time.sleep(0.1)
    raise RuntimeError("reenact live did not start.")


def _address(output: int) -> str:
    text = os.pread(output, 1 << 20, 0).decode("utf-8", "replace")
    match = re.search(r"http://\S+?token=[\w-]+", text)
    return match[0].replace("/?", "/frame.jpg?") if match else ""


def _picture(address: str) -> Array:
    with urllib.request.urlopen(address, timeout=START_S) as answer:
        data = np.frombuffer(answer.read(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32)


def changes(renderer: str, photo: Path) -> list[float]:
    """Return the change of the picture after each of `PRESSES`."""
    with running(renderer, photo) as (terminal, picture):
        rest, found = settled(picture), []
        for _, typed in PRESSES:
            os.write(terminal, typed)
            found.append(float(np.abs(settled(picture) - rest).mean()))
        return found


def settled(picture: Callable[[], Array]) -> Array:
    """Return the picture once it stands still, or after `MAX_SETTLE_S`."""
    end, last = time.monotonic() + MAX_SETTLE_S, picture()
    while time.monotonic() < end:
        time.sleep(SETTLED_S)
        before, last = last, picture()
        if np.abs(last - before).mean() < 0.02:
            break
    return last


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renderer", action="append")
    parser.add_argument("--photo", type=Path, help="who drives; default: the built-in robin")
    options = parser.parse_args()
    print(f"| renderer | {' | '.join(name for name, _ in PRESSES)} |")
    print("|---|" + "---:|" * len(PRESSES))
    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo or Path(folder) / "robin.png"
        if not options.photo:
            cv2.imwrite(str(photo), built_in_portrait("robin")[..., ::-1])
        for renderer in options.renderer or RENDERERS:
            cells = [f"{one:.2f}" for one in changes(renderer, photo)]
            print(f"| {renderer} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
