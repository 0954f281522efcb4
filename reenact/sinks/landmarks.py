"""Stores a performance: the landmarks and what was derived from them, without pictures."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.performance import PerformanceWriter
from reenact.registry import SinkSpec
from reenact.storage import expanded, finish_partial, refusal, reserve_partial
from reenact.types import Frame, PerformanceFrame

_FLUSH_S: Final = 1.0


class LandmarksSink(ClosesOnExit):
    """Writes the performance behind the pictures to a file (`reenact.performance`).

    The file is called `NAME.partial.EXT` until it is finished. A picture that is written twice
    counts once. The target at rest does not count, because nobody acted it. Not thread-safe.

    Attributes:
        name: `landmarks:` and the path as given.
        live: False: every frame counts.
    """

    live = False

    def __init__(self, path: str) -> None:
        """Check that the file can be written, without creating it.

        Raises:
            SinkError: no file is named, it is a folder, or its folder is missing or not writable.
        """
        if not path:
            raise SinkError("Name the file to write, as in --sink landmarks:take.npy.")
        self.name = f"landmarks:{path}"
        self._path = Path(os.path.realpath(expanded(path)))
        if self._path.is_dir():
            raise SinkError(f"{path} is a folder; name a file to write.")
        reserve_partial(self._path).unlink()
        self._replaces = self._path.exists()
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
        """Add the performance behind a picture.

        Raises:
            SinkError: the disk is full or has failed; the message names the partial file.
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
        """Finish the file and give it its name; if there was no frame, no file is left.

        Raises:
            SinkError: the end could not be written, or another program has made a file of that name
                since the sink was made; the message names the partial file.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
            if writer.frames:
                finish_partial(self._partial, self._path, self._replaces)
            else:
                self._partial.unlink()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> SinkError:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
        kept = f"The part written so far is in {self._partial}."
        return SinkError(f"{refusal(self._path, error)} {kept}")


LANDMARKS: Final = SinkSpec(
    "landmarks",
    "a file of landmarks that can be played again: no picture of the actor",
    lambda argument, _: LandmarksSink(argument),
    argument="FILE",
    alpha=True,
)
