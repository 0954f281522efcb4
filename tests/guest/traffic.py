"""Numbered pictures in four colours, sent through a sink and read back by other programs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import av
import cv2
import numpy as np

from reenact.types import Frame, Image, Sink
from support.clips import numbered_picture

COLOURS = ((200, 40, 50), (40, 180, 60), (50, 70, 190), (220, 215, 200))
"""RGB of the four quarters, in reading order; all of them exist in a camera's YUV."""

_BAND = slice(3, 5)  # eighths of the height that show the number


@cache
def _quarters(size: tuple[int, int]) -> Image:
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    for quarter, colour in enumerate(COLOURS):
        rows = slice(height // 2, None) if quarter // 2 else slice(height // 2)
        columns = slice(width // 2, None) if quarter % 2 else slice(width // 2)
        image[rows, columns] = colour
    return image


def drawn(number: int, size: tuple[int, int]) -> Image:
    """Draw four colours with a number across their middle; the size is (width, height) px."""
    width, height = size
    image = _quarters(size).copy()
    top, bottom = height * _BAND.start // 8, height * _BAND.stop // 8
    image[top:bottom] = numbered_picture(number, (width, bottom - top))
    return image


def colour_error(image: Image) -> float:
    """Return the largest error of any of the four colours in any channel, in levels."""
    height, width = image.shape[:2]
    worst = 0.0
    for quarter, colour in enumerate(COLOURS):
        y = height * (1 + 14 * (quarter // 2)) // 16
        x = width * (1 + 2 * (quarter % 2)) // 4
        patch = image[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3).mean(axis=0)
        worst = max(worst, float(np.abs(patch - colour).max()))
    return worst


class Traffic:
    """Sends numbered pictures to an open sink from another thread until the block ends.

    The first one has been sent when the block begins; the device cannot be read earlier.

    Attributes:
        sent_s: when each number was given to the sink, by `time.monotonic`.
    """

    def __init__(self, sink: Sink, size: tuple[int, int], fps: float, first: int = 1) -> None:
        self.sent_s: dict[int, float] = {}
        self._sink = sink
        self._size = size
        self._period_s = 1.0 / fps
        self._number = first
        self._begun = threading.Event()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            due_s = time.monotonic()
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                picture = drawn(self._number, self._size)
                self.sent_s[self._number] = time.monotonic()
                self._sink.write(Frame(picture, due_s, self._number))
                self._number += 1
                self._begun.set()
                due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
        except BaseException as failure:
            self._failure = failure
            self._begun.set()


@contextmanager
def opencv_reader(device: str) -> Iterator[Iterator[Image]]:
    """Open a device by OpenCV; yields an iterator over its pictures, RGB.

    Waits for a program that writes to the device, since it cannot be read earlier.
    """
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    until_s = time.monotonic() + 20.0
    while not capture.isOpened():
        assert time.monotonic() < until_s, f"OpenCV cannot open {device}"
        time.sleep(0.1)
        capture.open(device, cv2.CAP_V4L2)

    def pictures() -> Iterator[Image]:
        while True:
            is_there, picture = capture.read()
            assert is_there, "OpenCV reads no picture"
            yield np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)

    try:
        yield pictures()
    finally:
        capture.release()


@contextmanager
def pyav_reader(device: str) -> Iterator[Iterator[Image]]:
    """Open a device by PyAV (FFmpeg); yields an iterator over its pictures, RGB."""
    options = {"probesize": "32", "analyzeduration": "0", "fflags": "nobuffer"}
    with av.open(device, format="v4l2", options=options) as container:
        yield (
            frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            for frame in container.decode(video=0)
        )


READERS = {"opencv": opencv_reader, "pyav": pyav_reader}
