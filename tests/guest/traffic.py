"""Numbered pictures in four colours, sent through a sink and read back by other programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import av
import cv2
import numpy as np

from reenact.types import Image, Sink
from support.clips import numbered_picture
from support.traffic import Traffic

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


def traffic(sink: Sink, size: tuple[int, int], fps: float, first: int = 1) -> Traffic:
    """Send pictures of four colours with their numbers across the middle."""
    return Traffic(sink, lambda number: drawn(number, size), fps, first)


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
