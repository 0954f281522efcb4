"""Where the actor comes from: webcam, video file or URL, still image, test pattern."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.config import SourceSettings
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import Spec
from reenact.sources.image_file import read_image
from reenact.sources.reconnecting import ReopeningSource
from reenact.sources.video_file import VideoSource
from reenact.sources.webcam import open_webcam
from reenact.types import Frame, Image, Source

__all__ = [
    "IMAGE",
    "PATTERN",
    "VIDEO",
    "WEBCAM",
    "ImageSource",
    "PatternSource",
    "VideoSource",
    "pattern_image",
    "read_image",
]

_DEFAULT_FPS: Final = 30.0


class _ClockedSource(ClosesOnExit):
    """Pictures that exist already, handed out by the clock or as fast as they are read.

    Attributes:
        live: True without an end (`frames` 0): paced by the clock, `time_s` monotonic, ticks
            that the reader missed are left out. False with one: not paced, `time_s` is
            index / fps, so that every frame is rendered.
        name: what a person would call it.
        size: (width, height) px.
        fps: frames/s.
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
        """Return the next frame, waiting for its time if live; None at the end and once closed."""
        if self._closing.is_set() or (self._frames and self._index >= self._frames):
            return None
        time_s = self._wait_for_tick() if self.live else self._index / self.fps
        if self._closing.is_set():
            return None
        frame = Frame(image=self._picture(self._index), time_s=time_s, index=self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """End it; may be called twice and from any thread, and wakes a waiting `read`."""
        self._closing.set()

    @abstractmethod
    def _picture(self, index: int) -> Image:
        """Return uint8 (H, W, 3) RGB."""

    def _wait_for_tick(self) -> float:
        self._closing.wait(max(0.0, self._next_s - time.monotonic()))
        now_s = time.monotonic()
        missed = max(0, int((now_s - self._next_s) * self.fps))
        self._next_s += (missed + 1) / self.fps
        return now_s


class ImageSource(_ClockedSource):
    """A still picture as a video; see `_ClockedSource` for when it is live.

    All its frames share one array: do not write into it.
    """

    def __init__(self, path: str | Path, fps: float = _DEFAULT_FPS, frames: int = 0) -> None:
        """Read the picture.

        Args:
            path: a file that `read_image` takes.
            fps: frames/s.
            frames: how many there are; 0: no end.

        Raises:
            SourceError: see `read_image`.
        """
        self._image = read_image(path)
        height, width = self._image.shape[:2]
        super().__init__(Path(path).name, (width, height), fps, frames)

    def _picture(self, index: int) -> Image:
        return self._image


class PatternSource(_ClockedSource):
    """Moving colour bars with a running number; see `_ClockedSource` for when it is live."""

    def __init__(
        self, size: tuple[int, int] = (1280, 720), fps: float = _DEFAULT_FPS, frames: int = 0
    ) -> None:
        """Start it.

        Args:
            size: (width, height) px.
            fps: frames/s.
            frames: how many there are; 0: no end.
        """
        super().__init__("test pattern", size, fps, frames)

    def _picture(self, index: int) -> Image:
        return pattern_image(index, self.size)


_BARS: Final = np.array(
    [
        [235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16],
        [235, 16, 235], [235, 16, 16], [16, 16, 235], [16, 16, 16],
    ],
    np.uint8,
)  # fmt: skip
_BAR_STEP_PX: Final = 4


def pattern_image(index: int, size: tuple[int, int]) -> Image:
    """Draw one picture of the test pattern; the same arguments give the same picture.

    Args:
        index: number of the picture; the bars move left by 4 px a picture and it is written
            in the middle.
        size: (width, height) px.

    Returns:
        uint8 (H, W, 3) RGB, contiguous.
    """
    width, height = size
    columns = (np.arange(width) + index * _BAR_STEP_PX) % width * len(_BARS) // width
    image = np.ascontiguousarray(np.broadcast_to(_BARS[columns], (height, width, 3)))
    text = str(index)
    scale = height / 120
    thickness = max(1, round(scale * 2))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    left, bottom = (width - text_width) // 2, (height + text_height) // 2
    pad = text_height // 2
    cv2.rectangle(
        image,
        (left - pad, bottom - text_height - pad),
        (left + text_width + pad, bottom + pad),
        (0, 0, 0),
        cv2.FILLED,
    )
    cv2.putText(
        image, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness
    )
    return image


def _build_webcam(argument: str, settings: SourceSettings) -> Source:
    return open_webcam(argument, settings)


def _build_video(argument: str, settings: SourceSettings) -> Source:
    if not argument:
        raise SourceError("Say which video: video:PATH or video:URL.")
    source = VideoSource(argument, settings.loop)
    if not source.live:
        return source
    # A network camera comes back like a webcam; the probe above becomes its first opening.
    opened = [source]
    return ReopeningSource(lambda: opened.pop() if opened else VideoSource(argument))


def _build_image(argument: str, settings: SourceSettings) -> Source:
    if not argument:
        raise SourceError("Say which picture: image:PATH.")
    return ImageSource(argument, settings.fps, settings.frames)


def _build_pattern(argument: str, settings: SourceSettings) -> Source:
    if argument:
        raise SourceError("The test pattern takes nothing after the colon; write pattern.")
    return PatternSource((settings.width, settings.height), settings.fps, settings.frames)


WEBCAM: Final = Spec(
    name="webcam",
    summary="a camera, by number or part of its name; without either the first one",
    build=_build_webcam,
    argument="N|NAME",
)
VIDEO: Final = Spec(
    name="video",
    summary="a video file or a stream by http or rtsp; of a file every frame is rendered",
    build=_build_video,
    argument="PATH|URL",
)
IMAGE: Final = Spec(
    name="image",
    summary="a still picture, shown as if it were a camera",
    build=_build_image,
    argument="PATH",
    still=True,
)
PATTERN: Final = Spec(
    name="pattern",
    summary="moving colour bars with a running number, to test outputs without a camera",
    build=_build_pattern,
)
