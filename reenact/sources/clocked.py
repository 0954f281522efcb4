"""The base class of sources with existing pictures, such as a photo or a test pattern."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from typing import Final

from pydantic import Field

from reenact.config import FrameRate, Section
from reenact.lifecycle import ClosesOnExit
from reenact.types import Frame, Image

DEFAULT_FPS: Final = 30.0


class ClockedSettings(Section):
    """Frame rate and duration of the source."""

    fps: FrameRate = Field(DEFAULT_FPS, description="frame rate of the source")
    frames: int = Field(0, ge=0, description="end after this many frames; 0: never")


class ClockedSource(ClosesOnExit):
    """Existing pictures, delivered by the clock or as fast as they are read.

    Without an end (`frames` is 0) the source is live: reads are paced by the clock, `time_s` is
    monotonic, and ticks that the reader missed are skipped. With an end, every frame is to be
    rendered: reads do not wait, and `time_s` is index / fps.
    """

    def __init__(self, name: str, size: tuple[int, int], fps: float, frames: int) -> None:
        self.live = frames == 0
        self.name = name
        self.size = size
        self.fps = fps
        self._frames = frames
        self._index = 0
        self._next_s = time.monotonic()
        self._closing = threading.Event()

    def read(self) -> Frame | None:
        """Return the next frame, if live at its time; None at the end and once closed."""
        if self._closing.is_set() or (self._frames and self._index >= self._frames):
            return None
        time_s = self._wait_for_tick() if self.live else self._index / self.fps
        if self._closing.is_set():
            return None
        frame = Frame(image=self._picture(self._index), time_s=time_s, index=self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """End the source and wake a waiting `read`; may be called twice and from any thread."""
        self._closing.set()

    @abstractmethod
    def _picture(self, index: int) -> Image:
        """Return picture number `index`, uint8 (H, W, 3) RGB."""

    def _wait_for_tick(self) -> float:
        self._closing.wait(max(0.0, self._next_s - time.monotonic()))
        now_s = time.monotonic()
        # A tick that is due only because of rounding is not another one.
        missed = max(0, int((now_s - self._next_s) * self.fps + 1e-6))
        self._next_s += (missed + 1) / self.fps
        return now_s
