"""Receives the actor's camera over NDI, from another computer, a phone or a program."""

from __future__ import annotations

import time
from typing import Final

import cv2
import numpy as np

from reenact.config import Section
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.sources.reconnecting import ReadGuard, ReconnectingSource
from reenact.types import Frame, Image
from reenact_ndi.library import find_senders, load_module, matching, warn_without_avahi

_FIND_S: Final = 5.0
_FIRST_PICTURE_S: Final = 5.0
_SILENT_S: Final = 2.0
"""A sender that has sent no picture for so long is looked for again."""

_POLL_S: Final = 0.002
"""NDI's call that waits for a frame would stop all other threads of Python meanwhile."""


class NdiSource(ClosesOnExit):
    """Receives one sender's pictures. One thread reads; any thread may call `close`.

    Attributes:
        live: True: frames arrive in real time.
        name: the sender's, such as "STUDIO (Camera)".
        size: (width, height) px of the newest frame.
        fps: frames a second, as the sender says.
    """

    live = True

    def __init__(self, part: str) -> None:
        """Connect to the sender whose name contains `part`, in any case; "" is the only one.

        Raises:
            SourceError: there is none of that name, several match, or it sends no picture.
        """
        self._finder, senders = find_senders(part, _FIND_S, SourceError)
        chosen = matching(senders, part)
        if len(chosen) != 1:
            self._finder.close()
            if not senders:
                raise SourceError(
                    "NDI finds no sender; start it, and check that it is in the same network."
                )
            names = ", ".join(sender.name for sender in senders)
            raise SourceError(
                f"ndi:{part} is not the name of one sender; the network has: {names}. "
                "Use a part of a name, as in ndi:studio."
            )
        self.name = chosen[0].name
        self.size, self.fps = (0, 0), 30.0
        self._seen_s = 0.0
        self._index = 0
        self._video = load_module("video_frame", SourceError).VideoFrameSync()
        form = load_module("wrapper.ndi_recv", SourceError)
        self._receiver = load_module("receiver", SourceError).Receiver(
            color_format=form.RecvColorFormat.RGBX_RGBA, bandwidth=form.RecvBandwidth.highest
        )
        self._receiver.frame_sync.set_video_frame(self._video)
        self._receiver.set_source(chosen[0])
        self._guard = ReadGuard(self._release)
        try:
            self._newest(_FIRST_PICTURE_S)
        except SourceError:
            self.close()
            raise

    def read(self) -> Frame | None:
        """Wait for the next picture and return it; None once closed.

        Raises SourceError if the sender has sent nothing for two seconds.
        """
        image = self._newest(_SILENT_S)
        if image is None:
            return None
        self._index += 1
        return Frame(image, time.monotonic(), self._index - 1)

    def close(self) -> None:
        """Disconnect."""
        self._guard.close()

    def _release(self) -> None:
        self._receiver.disconnect()
        self._finder.close()

    def _newest(self, timeout_s: float) -> Image | None:
        """Wait for a picture that has not been read yet; return None once closed."""
        deadline_s = time.monotonic() + timeout_s
        while not self._guard.closing.wait(_POLL_S):
            with self._guard as is_open:
                if not is_open:
                    break
                self._receiver.frame_sync.capture_video()
                sent_s = self._video.get_timestamp_posix() if self._video.xres else self._seen_s
                if sent_s != self._seen_s:
                    self._seen_s = sent_s
                    return self._image()
            if time.monotonic() > deadline_s:
                raise SourceError(f"{self.name} sends no picture over NDI.")
        return None

    def _image(self) -> Image:
        self.size = width, height = self._video.get_resolution()
        self.fps = float(self._video.get_frame_rate()) or self.fps
        rows = np.frombuffer(self._video, np.uint8).reshape(height, -1)
        pixels = rows[:, : 4 * width].reshape(height, width, 4)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)


def open_sender(argument: str, _: Section) -> ReconnectingSource:
    """Open a sender by a part of its name; it is looked for again after every failure."""
    warn_without_avahi()
    return ReconnectingSource(lambda: NdiSource(argument))


NDI: Final = SourceSpec(
    "ndi",
    "a camera or program of another computer, by part of its NDI name",
    open_sender,
    argument="[NAME]",
    needs="a sender of NDI",
)
