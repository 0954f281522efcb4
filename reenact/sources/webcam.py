"""A camera read by OpenCV, with measured frame rate and detection of failures.

OpenCV reports an unplugged camera as open, may go on repeating its last picture, and reports the
requested rate instead of the real one. So this module does not rely on `isOpened` and CAP_PROP_FPS;
it examines the pictures and the device node instead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reenact.config import FrameRate, Pixels, Section
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.sources.camera_devices import (
    CameraInfo,
    backend,
    explain_closed,
    explain_missing,
    explain_silent,
    find_again,
    find_camera,
    list_cameras,
)
from reenact.sources.picture_watch import FROZEN_AFTER_S, PictureWatch, RateMeter
from reenact.sources.reconnecting import ReadGuard, ReconnectingSource
from reenact.types import Frame

_SILENT_AFTER_S: Final = 0.5  # of failed reads; a single damaged JPEG is no failure
_RETRY_PAUSE_S: Final = 0.01
_WARM_UP_FRAMES: Final = 8
_WARM_UP_S: Final = 4.0

_log = logging.getLogger(__name__)


class WebcamSettings(Section):
    """What to request from a webcam; it may send something else."""

    width: Pixels = Field(1280, ge=64, le=7680, description="width to request from the camera")
    height: Pixels = Field(720, ge=64, le=4320, description="height to request from the camera")
    fps: FrameRate = Field(30.0, description="frame rate to request from the camera")
    fourcc: str = Field(
        "MJPG",
        pattern=r"^([A-Za-z0-9]{4})?$",
        description="the pixel format to request from the camera, four letters; empty: the "
        "driver's choice",
    )


class _Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's names
    def set(self, propId: int, value: float, /) -> bool: ...  # noqa: N803
    def get(self, propId: int, /) -> float: ...  # noqa: N803
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


class WebcamSource(ClosesOnExit):
    """One open camera. After an error it stays lost; `ReconnectingSource` opens a new one.

    One thread calls `read`; any thread may call `close`.

    Attributes:
        size: (width, height) px of the camera's pictures.
        fps: frames/s, measured over the last pictures; repeated ones do not count.
        problem: a sentence while the picture is black, else "".
    """

    live = True

    def __init__(
        self,
        camera: CameraInfo,
        settings: WebcamSettings,
        open_capture: Callable[[CameraInfo], _Capture] | None = None,
    ) -> None:
        """Open the camera, request format, size and rate, and read the first pictures.

        These measure the rate and are discarded, because many cameras adjust their exposure in
        them. `open_capture` None: OpenCV with the system's own backend. Raises SourceError if the
        camera is gone, forbidden, busy or frozen, or sends no picture.
        """
        self.name = camera.name
        self.problem = ""
        self.size = (0, 0)
        self._camera = camera
        self.fps = settings.fps
        self._watch = PictureWatch()
        self._meter = RateMeter()
        self._index = 0
        if camera.is_gone():
            raise SourceError(explain_missing(camera))
        self._capture = (open_capture or _open_opencv)(camera)
        self._guard = ReadGuard(self._capture.release)
        try:
            if not self._capture.isOpened():
                raise SourceError(explain_closed(camera))
            self._ask_for(settings)
            self._warm_up()
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """Block until the next picture; None once closed. `time_s` is monotonic, at the grab.

        Raises SourceError if the camera is unplugged, silent or frozen.
        """
        taken = self._take()
        if taken is None:
            return None
        picture, time_s = taken
        self._raise_if_frozen()
        self._note_black()
        code = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
        image = np.asarray(cv2.cvtColor(picture, code), dtype=np.uint8)
        frame = Frame(image=image, time_s=time_s, index=self._index)
        self.size = frame.size
        self._index += 1
        return frame

    def close(self) -> None:
        """Release the camera; may be called twice and from any thread."""
        self._guard.close()

    def _ask_for(self, settings: WebcamSettings) -> None:
        # The format goes first: a camera that offers a size only as MJPG would reject it.
        if settings.fourcc:
            code = cv2.VideoWriter.fourcc(*settings.fourcc)
            self._capture.set(cv2.CAP_PROP_FOURCC, code)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        self._capture.set(cv2.CAP_PROP_FPS, settings.fps)

    def _warm_up(self) -> None:
        """Read pictures until one differs, because a camera may come back still frozen."""
        until_s = time.monotonic() + _WARM_UP_S
        count, has_changed = 0, False
        may_rest = self._camera.is_loopback
        while count < _WARM_UP_FRAMES or not (has_changed or may_rest or self._watch.looks_black):
            taken = self._take(patience_s=_WARM_UP_S)
            if taken is None:
                raise SourceError(f"{self.name} was closed while it was being opened.")
            self._raise_if_frozen()
            height, width = taken[0].shape[:2]
            self.size = (width, height)
            has_changed = has_changed or (count > 0 and not self._watch.is_repeat)
            count += 1
            if has_changed and time.monotonic() > until_s:
                break

    def _take(self, patience_s: float = _SILENT_AFTER_S) -> tuple[NDArray[np.uint8], float] | None:
        """Return the next BGR picture and its time; None once closed."""
        give_up_s = time.monotonic() + patience_s
        while True:
            with self._guard as is_open:
                if not is_open:
                    return None
                is_there = self._capture.grab()
                time_s = time.monotonic()
                picture = None
                if is_there:
                    is_there, picture = self._capture.retrieve()
                    if is_there and picture is not None and picture.shape[0] == 1:
                        picture = self._unflattened(picture)
            if self._camera.is_gone():
                raise SourceError(explain_missing(self._camera))
            if is_there and picture is not None and picture.size:
                self._watch.look(picture, time_s)
                if not self._watch.is_repeat:
                    self._meter.add(time_s)
                    self.fps = self._meter.rate(otherwise=self.fps)
                return picture, time_s
            if time.monotonic() > give_up_s:
                raise SourceError(explain_silent(self._camera))
            self._guard.closing.wait(_RETRY_PAUSE_S)

    def _unflattened(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reshape a picture to (H, W, 3); OpenCV leaves it flat if the driver itself sends BGR."""
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if picture.size != width * height * 3:
            raise SourceError(
                f"{self.name} sends pictures in an unknown format; ask for another one with "
                "--set source.webcam.fourcc=YUYV."
            )
        return picture.reshape(height, width, 3)

    def _raise_if_frozen(self) -> None:
        # Another program may well send a still picture.
        if self._watch.is_frozen and not self._camera.is_loopback:
            raise SourceError(
                f"{self.name} hangs: its picture has not changed for {FROZEN_AFTER_S:g} s; "
                "if it does not come back, unplug it and plug it in again."
            )

    def _note_black(self) -> None:
        if not self._watch.is_black:
            if self.problem:
                _log.warning("%s shows a picture again.", self.name)
            self.problem = ""
        elif not self.problem:
            self.problem = (
                f"{self.name} shows black: open its shutter or take off its cover, turn on a "
                "light, or close another program that uses it."
            )
            _log.warning("%s", self.problem)


def open_webcam(argument: str, settings: WebcamSettings) -> ReconnectingSource:
    """Open a camera by an argument of `find_camera`; it is reopened after every failure.

    Raises SourceError if there is no such camera, or its first opening failed.
    """
    cameras = list_cameras()
    camera = find_camera(argument, cameras)
    others = [other for other in cameras if other != camera]
    is_first = True

    def open_source() -> WebcamSource:
        nonlocal is_first
        chosen = camera if is_first else find_again(camera, others)
        is_first = False
        return WebcamSource(chosen, settings)

    return ReconnectingSource(open_source)


def _open_opencv(camera: CameraInfo) -> _Capture:
    return cv2.VideoCapture(camera.node or camera.index, backend())


WEBCAM: Final = SourceSpec(
    name="webcam",
    summary="a camera, by number or part of its name; without either the first one",
    build=open_webcam,
    settings=WebcamSettings,
    argument="N|NAME",
    needs="a camera",
)
