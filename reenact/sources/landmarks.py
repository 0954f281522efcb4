"""Plays a stored performance: landmarks from a file, without camera or tracker."""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.performance import frame_of, read_performance
from reenact.registry import SourceSpec
from reenact.storage import expanded
from reenact.types import Frame, Image, PerformanceFrame


class LandmarksSource(ClosesOnExit):
    """The frames of a performance; their pictures show the landmarks as dots on black.

    Attributes:
        live: False: every frame counts.
        name: name of the file.
        size: (width, height) px of the pictures that were tracked.
        fps: approximate frame rate.
        frames_total: number of frames.
    """

    live = False

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            SourceError: it is missing, of another kind, or has no frame with a face.
        """
        if not path:
            raise SourceError("Name the performance, as in landmarks:take.npy.")
        place = expanded(path)
        start, self._frames = read_performance(place)
        self._neutral = np.array(start["neutral"][0])
        self.name = place.name
        width, height = self._frames["size"].max(axis=0)
        self.size = (int(width), int(height))
        self.fps = float(start["fps"][0])
        self.frames_total = len(self._frames)
        self._index = 0

    def read(self) -> Frame | None:
        """Return the next frame; None after the last one and once closed."""
        if self._index >= self.frames_total:
            return None
        index, self._index = self._index, self._index + 1
        performance = frame_of(self._frames, index, self._neutral)
        return Frame(self._picture(performance), performance.time_s, index, None, performance)

    def close(self) -> None:
        """End the source."""
        self._index = self.frames_total

    def _picture(self, performance: PerformanceFrame) -> Image:
        width, height = self.size
        picture = np.zeros((height, width, 3), np.uint8)
        if performance.landmarks is not None:
            x, y = performance.landmarks.points[:, :2].T.astype(np.int64)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            picture[y[inside], x[inside]] = 255
        return picture


LANDMARKS: Final = SourceSpec(
    "landmarks",
    "a stored performance (--sink landmarks:FILE), without camera or tracker",
    lambda argument, _: LandmarksSource(argument),
    argument="FILE",
    landmarks=True,
)
