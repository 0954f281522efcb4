"""A camera in the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from reenact.sinks.mjpeg_server import HttpSink
from reenact.types import Frame

FPS = 25


@contextmanager
def network_camera(images: NDArray[np.uint8]) -> Iterator[str]:
    """Send pictures again and again as MJPEG, as the camera app of a phone does; yield the URL."""
    height, width = images.shape[1:3]
    ending = threading.Event()
    with HttpSink() as sink:
        sink.open((width, height), FPS)

        def film() -> None:
            number = 0
            while not ending.wait(1 / FPS):
                sink.write(Frame(images[number % len(images)], number / FPS, number))
                number += 1

        filming = threading.Thread(target=film)
        filming.start()
        try:
            yield sink.url_of("stream.mjpg")
        finally:
            ending.set()
            filming.join()
