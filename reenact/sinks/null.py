"""Counts frames and discards them, for benchmarks and tests."""

from __future__ import annotations

from typing import Final

from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.types import Frame


class NullSink(ClosesOnExit):
    """Counts frames and remembers the last one's (width, height) px. Use from one thread."""

    name = "null"
    live = False

    def __init__(self) -> None:
        self.frames = 0
        self.size = (0, 0)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Do nothing."""

    def write(self, frame: Frame) -> None:
        """Count a frame."""
        self.frames += 1
        self.size = frame.size

    def close(self) -> None:
        """Do nothing; the count is kept."""


NULL: Final = SinkSpec("null", "nowhere: counts frames", lambda *_: NullSink(), alpha=True)
