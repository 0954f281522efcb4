"""Presses the emotion keys in a real `reenact live` and measures the change of its picture.

    python benchmarks/live_keys.py --renderer stargan --renderer attgan

Each renderer runs on a pseudo terminal (so not on Windows), driven by a still photo. The table has
the mean absolute change of the picture from rest after each key, in levels of 255: 1 to 8, then
`down` five times and `up` five times on a smile, then 0.
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
"""Maximum waiting time for the start."""

SETTLED_S: Final = 0.5
"""Interval between compared pictures; emotions are eased in within .4 s."""

MAX_SETTLE_S: Final = 8.0
"""Maximum waiting time for a still picture, on a busy machine."""


@contextmanager
def running(renderer: str, photo: Path) -> Iterator[tuple[int, Callable[[], Array]]]:
    """Run the program; yield the terminal to type into and a function that returns the picture.

    Raises RuntimeError, with what the program printed, if anything fails.
    """
    command = [
        sys.executable,
        "-c",
        "import sys; from reenact.cli.main import main; sys.exit(main())",
    ]
    settings = [f"renderer.name={renderer}", "idle.life=false", "sink.http.quality=100"]
    options = [f"--source=image:{photo}", "--target=robin", "--sink=http"]
    terminal, program_end = pty.openpty()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*command, "live", *options, *(f"--set={setting}" for setting in settings)],
            stdin=program_end,
            stdout=output,
            stderr=output,
        )
        try:
            address = _stream_address(output.fileno(), process)
            yield terminal, lambda: _picture(address)
            # A picture that could not be drawn is replaced by the target at rest.
            if process.poll() is not None or "Traceback" in _said(output.fileno()):
                raise RuntimeError("reenact live has failed")
        except Exception as error:
            raise RuntimeError(f"{renderer}: {error}\n{_said(output.fileno())}") from error
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
            os.close(program_end)


def _stream_address(output: int, process: subprocess.Popen[bytes]) -> str:
    """Wait for the address that the program prints.

    Raises RuntimeError if the program ended or took too long.
    """
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        match = re.search(r"http://\S+?token=[\w-]+", _said(output))
        if match:
            return match[0].replace("/?", "/frame.jpg?")
        time.sleep(0.1)
    raise RuntimeError("reenact live did not start")


def _said(output: int) -> str:
    """Return what the program has printed so far."""
    return os.pread(output, 1 << 20, 0).decode("utf-8", "replace")


def _picture(address: str) -> Array:
    with urllib.request.urlopen(address, timeout=START_S) as answer:
        data = np.frombuffer(answer.read(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert picture is not None, "the stream's picture is damaged"
    return np.asarray(picture, np.float32)


def changes(renderer: str, photo: Path) -> list[float]:
    """Return the change of the picture after each of `PRESSES`."""
    with running(renderer, photo) as (terminal, picture):
        rest, values = settled(picture), []
        for _, keys in PRESSES:
            os.write(terminal, keys)
            values.append(float(np.abs(settled(picture) - rest).mean()))
        return values


def settled(picture: Callable[[], Array]) -> Array:
    """Return the picture once it no longer changes, or after `MAX_SETTLE_S`."""
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
    parser.add_argument("--renderer", action="append", help="renderer to measure (default: all)")
    parser.add_argument("--photo", type=Path, help="driving photo (default: the built-in robin)")
    options = parser.parse_args()
    print(f"| renderer | {' | '.join(name for name, _ in PRESSES)} |")
    print("|---|" + "---:|" * len(PRESSES))
    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo or Path(folder) / "robin.png"
        if not options.photo:
            cv2.imwrite(str(photo), built_in_portrait("robin")[..., ::-1])
        for renderer in options.renderer or RENDERERS:
            cells = [f"{change:.2f}" for change in changes(renderer, photo)]
            print(f"| {renderer} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
