"""Rings of frames for tests: free names, and writers in other processes."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reenact.sinks.obs.shared_memory import SharedMemory

_WRITER: Final = """
import sys, time, numpy as np
from reenact.sinks.obs.frame_memory import NEWEST, SLOTS
from reenact.sinks.obs.ring import RingWriter
name, pause_s, lapping = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "True"
images = [np.full((512, 512, 3), (n, n * 7 % 256, 255 - n), np.uint8) for n in range(256)]
with RingWriter(name) as writer:
    writer.open()
    number = 0
    while True:
        if lapping and number:
            writer._frames._longs[NEWEST] += SLOTS - 1
            number += SLOTS - 1
        number = writer.write(images[(number + 1) % 256])
        if pause_s:
            time.sleep(pause_s)
"""
"""Fills frame n with a colour whose three channels each encode n modulo 256."""


@contextlib.contextmanager
def ring_name() -> Iterator[str]:
    """Yield a name that is free; its memory is removed in the end."""
    name = f"t{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        for ending in memory_of(name):
            SharedMemory.remove(name + ending)


def memory_of(name: str) -> set[str]:
    """Return the suffixes of the names of a ring's memory; on Linux only."""
    return {path.name.partition(name)[2] for path in Path("/dev/shm").glob(f"reenact.*.{name}*")}


@contextlib.contextmanager
def writing_process(
    name: str, pause_s: float, *, lapping: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Write 512 x 512 px frames in another process, which is killed in the end.

    Frame n has one colour: red n, green 7 n, blue 255 - n, modulo 256. With `lapping` only every
    third frame is there, so that all are written into one slot, over the one that readers are busy
    with.
    """
    process = subprocess.Popen([sys.executable, "-c", _WRITER, name, str(pause_s), str(lapping)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
