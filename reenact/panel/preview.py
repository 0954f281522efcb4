"""The newest pictures of target and actor, as small JPEGs for the page.

A session's thread only stores a reference. The server scales and encodes a picture once for all
viewers, and not at all while nobody watches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import cv2

from reenact import registry
from reenact.config import SourceSettings
from reenact.errors import ReenactError
from reenact.imaging import encoded, rotated
from reenact.lifecycle import ClosesOnExit
from reenact.types import Frame, Image, Source

log = logging.getLogger(__name__)

MAX_SIDE_PX: Final = 640
_QUALITY: Final = 75
_RETRY_S: Final = 0.5

_UNWATCHED_S: Final = 5.0
"""Time after which a source that no page watches is released."""


def small_jpeg(image: Image, max_side_px: int = MAX_SIDE_PX) -> bytes:
    """Return a picture, uint8 (H, W, 3) RGB, as a JPEG whose longer side is `max_side_px`."""
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # Averaging by a non-integer factor takes four times as long and hardly looks better.
        way = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
        image = cv2.resize(image, size, interpolation=way).astype("uint8", copy=False)
    return encoded(image, ".jpg", _QUALITY)


class NewestPicture:
    """The newest picture, encoded on demand. Any thread may call."""

    def __init__(self) -> None:
        self._image: Image | None = None
        self._jpeg: tuple[Image | None, bytes] = (None, b"")
        self._encoding = threading.Lock()
        self._waiting: dict[Callable[[], object], float] = {}

    def put(self, image: Image | None) -> None:
        """Make this the newest picture; returns at once."""
        if image is self._image:
            return
        self._image = image
        now_s = time.monotonic()
        for tell in [tell for tell, from_s in list(self._waiting.items()) if now_s >= from_s]:
            self._waiting.pop(tell, None)
            with contextlib.suppress(RuntimeError):  # the server has ended
                tell()

    def tell_next(self, tell: Callable[[], object], from_s: float) -> None:
        """Call `tell` once, for the first new picture after the monotonic time `from_s`.

        It is called on the thread that makes the picture.
        """
        self._waiting[tell] = from_s

    @property
    def image(self) -> Image | None:
        """The newest picture; None if there is none."""
        return self._image

    def jpeg(self) -> bytes:
        """Return the newest picture; the same object until there is a new one; b"" if none."""
        with self._encoding:
            image = self._image
            if image is not self._jpeg[0]:
                self._jpeg = (image, b"" if image is None else small_jpeg(image))
            return self._jpeg[1]


class PanelSink(ClosesOnExit):
    """The output on the page. It never fails, so that a session can go on without other outputs.

    Attributes:
        name: "panel".
        live: True: a video is played at its own pace.
        newest: receives the pictures.
    """

    name = "panel"
    live = True

    def __init__(self, newest: NewestPicture) -> None:
        self.newest = newest

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Do nothing."""

    def write(self, frame: Frame) -> None:
        """Make this the newest picture."""
        self.newest.put(frame.image)

    def close(self) -> None:
        """Forget the picture."""
        self.newest.put(None)


class SourceWatch(ClosesOnExit):
    """Shows the actor what a source sees before a session uses it.

    The source is released while nobody calls `keep`, such as after the page was closed.

    Args:
        text: such as `webcam:0`.
        settings: settings of the sources.
        newest: receives the pictures.

    Attributes:
        text: the source.
        problem: why there is no picture; "" if there is one.
    """

    def __init__(self, text: str, settings: SourceSettings, newest: NewestPicture) -> None:
        self.text = text
        self.problem = ""
        self._settings = settings
        self._newest = newest
        self._ending = threading.Event()
        self._watched_s = time.monotonic()
        self._thread = threading.Thread(target=self._read, name="panel-source", daemon=True)
        self._thread.start()

    def keep(self) -> None:
        """Let the source stay open, or open it again; it is watched. Any thread may call."""
        self._watched_s = time.monotonic()

    def close(self) -> None:
        """Release the source; this may take a few seconds."""
        self._ending.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)
        self._newest.put(None)

    @property
    def _is_watched(self) -> bool:
        return time.monotonic() - self._watched_s < _UNWATCHED_S and not self._ending.is_set()

    def _read(self) -> None:
        while not self._ending.is_set():
            if not self._is_watched:
                self._ending.wait(_RETRY_S)
                continue
            kind, argument = registry.split(self.text)
            try:
                source = registry.load("sources", kind).make(argument, self._settings)
            except Exception as error:  # perhaps in use by a program that will be closed
                self._wait(error)
                continue
            with source:
                if not self._show(source):
                    return
            self._newest.put(None)

    def _wait(self, error: Exception) -> None:
        """Tell what is wrong, and wait until the next attempt; a bug is also logged."""
        known = isinstance(error, ReenactError)
        told = str(error) if known else f"{self.text}: {error!r}"
        if told != self.problem and not known:
            log.warning("A bug in a source: %s", told, exc_info=error)
        self.problem = told
        self._ending.wait(_RETRY_S)

    def _show(self, source: Source) -> bool:
        """Show a source while it is watched; return False once it has ended."""
        while self._is_watched:
            try:
                frame = source.read()
            except Exception as error:
                self._wait(error)
                continue
            if frame is None:
                return False
            self.problem = ""
            self._newest.put(rotated(frame, self._settings.rotate).image)
            if not source.live:
                self._ending.wait(1.0 / max(source.fps, 1.0))
        return True
