"""Keeps a performance: landmarks and what was made of them, no picture."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from reenact.config import Section
from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.performance import PerformanceWriter
from reenact.registry import SinkSpec
from reenact.storage import expanded, refusal, reserve_partial
from reenact.types import Frame, PerformanceFrame, Sink

_FLUSH_S: Final = 1.0


class LandmarksSink(ClosesOnExit):
    """Writes the performance that made the pictures into a file (`reenact.performance`).

    The file is called `NAME.partial.EXT` until it is finished. A picture that is written twice
    counts once; the target at rest, which nobody acted, does not count. One thread at a time.

    Attributes:
        name: `landmarks:` and the path as it was given.
        live: False: every frame counts.
    """

    live = False

    def __init__(self, path: str) -> None:
        """Check that the file can be written; nothing is left behind yet.

        Raises:
            SinkError: the name is missing or a folder's, or its folder is missing or not writable.
        """
        if not path:
            raise SinkError("Say which file to write, as in --sink landmarks:take.npy.")
        self.name = f"landmarks:{path}"
        self._path = Path(os.path.realpath(expanded(path)))
        if self._path.is_dir():
            raise SinkError(f"{path} is a folder; give the name of a file to write.")
        reserve_partial(self._path).unlink()
        self._writer: PerformanceWriter | None = None
        self._last: PerformanceFrame | None = None
        self._flushed_s = 0.0

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Start the file. Raises SinkError."""
        self._partial = reserve_partial(self._path)
        try:
            self._writer = PerformanceWriter(self._partial, fps)
        except OSError as error:
            raise SinkError(refusal(self._path, error)) from error

    def write(self, frame: Frame) -> None:
        """Add what made a picture.

        Raises:
            SinkError: the disk is full or has failed; the message says where the beginning is.
        """
        performance = frame.performance
        if self._writer is None or performance is None or performance is self._last:
            return
        self._last = performance
        try:
            self._writer.add(performance)
            if time.monotonic() - self._flushed_s >= _FLUSH_S:
                self._writer.flush()
                self._flushed_s = time.monotonic()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Finish the file and give it its name; leave nothing if there was no frame.

        Raises:
            SinkError: the end could not be written; the message says where the beginning is.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
            if writer.frames:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> SinkError:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
        kept = f"What was written is in {self._partial}."
        return SinkError(f"{refusal(self._path, error)} {kept}")


def _landmarks(argument: str, settings: Section) -> Sink:
    return LandmarksSink(argument)


LANDMARKS: Final = SinkSpec(
    "landmarks",
    "a file of landmarks that plays the performance again: no picture of the actor",
    _landmarks,
    argument="FILE",
    alpha=True,
)
