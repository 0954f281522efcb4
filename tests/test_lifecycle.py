"""What native libraries print, and what the program prints meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from reenact.types import Image
from support.clips import write_clip
from support.faces import portrait
from support.program import reenact

_BEGIN = """
import logging, os, sys, threading
from reenact.lifecycle import quiet_native_libraries, separate_python_stderr

def native(text):
    os.write(2, f"{text}\\n".encode())
"""


def stderr_of(code: str) -> list[str]:
    """Return the lines that a program writes to stderr."""
    command = [sys.executable, "-c", _BEGIN + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stderr.splitlines()


def test_native_lines_are_discarded_and_those_of_python_kept() -> None:
    lines = stderr_of("""
separate_python_stderr()
logging.basicConfig(format="%(message)s")
kept = sys.stderr
native("native before")
with quiet_native_libraries():
    native("native within")
    print("python within", file=kept)
    logging.warning("logged within")
native("native after")
assert sys.stderr is kept
""")
    assert lines == ["native before", "python within", "logged within", "native after"]


def test_blocks_of_two_threads_that_overlap_end_the_silence_together() -> None:
    lines = stderr_of("""
separate_python_stderr()
begun, ended = threading.Event(), threading.Event()

def other():
    with quiet_native_libraries():
        begun.set()
        ended.wait()
        native("native within the second")

thread = threading.Thread(target=other)
with quiet_native_libraries():
    thread.start()
    begun.wait()
native("native within the second only")
ended.set()
thread.join()
native("native after both")
""")
    assert lines == ["native after both"]


def test_nothing_is_discarded_while_python_writes_to_the_same_descriptor() -> None:
    assert stderr_of("""
with quiet_native_libraries():
    native("native")
    print("python", file=sys.stderr)
""") == ["native", "python"]


def test_a_run_prints_no_line_of_a_native_library(tmp_path: Path) -> None:
    """The face is lost and found again, for which the tracker starts its graphs anew."""
    face = portrait()
    nothing = np.full(face.shape, 127, np.uint8)

    def picture(index: int) -> Image:
        return nothing if 10 <= index < 20 else face

    clip = write_clip(tmp_path / "actor.mp4", frames=30, picture=picture)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", "null"]
    typed += ["--set", "renderer.name=warp"]
    done = subprocess.run(reenact(*typed), capture_output=True, text=True, check=True, timeout=120)
    (summary,) = done.stderr.splitlines()
    assert summary.startswith("30 frames in, 30 out")
