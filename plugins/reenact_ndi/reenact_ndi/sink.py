"""Sends the target over NDI, with its alpha channel."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.types import Frame
from reenact_ndi.library import load_module, warn_without_avahi

DEFAULT_NAME: Final = "reenact"

_MAX_DENOMINATOR: Final = 1001
"""Of the frame rate; television's 29.97 is 30000/1001."""


class NdiSink(ClosesOnExit):
    """Announces a sender in the local network, and sends the newest frame to all who ask.

    One thread calls `open` and `write`; any thread may call `close`.

    Attributes:
        name: `ndi`, or `ndi:` and the sender's name.
        live: True: the newest frame counts.
    """

    live = True

    def __init__(self, called: str) -> None:
        """Take the name by which other programs find the sender; "" stands for "reenact"."""
        self.name = f"ndi:{called}" if called else "ndi"
        self._called = called or DEFAULT_NAME
        self._rate = Fraction(30)
        self._sender: Any = None
        self._size = (0, 0)
        self._lock = threading.Lock()

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Announce the sender. Raises SinkError if NDI does not run on this machine."""
        self._rate = Fraction(fps).limit_denominator(_MAX_DENOMINATOR)
        warn_without_avahi()
        with self._lock:
            self._start(size)

    def write(self, frame: Frame) -> None:
        """Send one frame; NDI compresses it in its own thread, if anybody receives it."""
        pixels = _rgba(frame)
        with self._lock:
            if self._sender is None:
                raise SinkError(f"{self.name} is closed.")
            if self._size != frame.size:
                self._start(frame.size)
            self._sender.write_video_async(pixels.reshape(-1))

    def close(self) -> None:
        """End the sender."""
        with self._lock:
            self._stop()

    def _start(self, size: tuple[int, int]) -> None:
        """Begin to send pictures of this size; receivers connect again by themselves."""
        sender = load_module("sender", SinkError)
        video = load_module("video_frame", SinkError).VideoSendFrame()
        rgba = load_module("wrapper.ndi_structs", SinkError).FourCC.RGBA
        self._stop()
        try:
            video.set_resolution(*size)
            video.set_frame_rate(self._rate)
            video.set_fourcc(rgba)
            # The session paces the frames; NDI's own clock would make each write wait.
            opened = sender.Sender(self._called, clock_video=False, clock_audio=False)
            opened.set_video_frame(video)
            opened.open()
        except Exception as error:
            raise SinkError(f"{self.name} cannot be opened: NDI says {error!r}.") from error
        self._sender, self._size = opened, size

    def _stop(self) -> None:
        if self._sender is not None:
            self._sender.close()
        self._sender = None


def _rgba(frame: Frame) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 4) RGB and straight alpha."""
    pixels = np.full((*frame.image.shape[:2], 4), 255, np.uint8)
    pixels[..., :3] = frame.image
    if frame.alpha is not None:
        pixels[..., 3] = frame.alpha
    return pixels


NDI: Final = SinkSpec(
    "ndi",
    "other computers in the network, and programs that receive NDI",
    lambda argument, _: NdiSink(argument),
    argument="[NAME]",
    alpha=True,
    needs="NDI",
    on_air=True,
)
