"""A camera for tests: OpenCV's real capture class on a clip, with faults injected around it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reenact.errors import SourceError
from reenact.sources.camera_devices import CameraInfo
from reenact.sources.reconnecting import ReconnectingSource, SourceUnavailable
from reenact.sources.webcam import WebcamSettings, WebcamSource
from reenact.types import Frame, Source

CAMERA = CameraInfo(0, "Test Camera")
PACE_S = 0.01


class FaultyCapture:
    """A real `cv2.VideoCapture` on a clip, played in a loop at 100 frames/s, with faults.

    `fault` is shared by all captures of one test, as a broken cable would be:
    "" none; "frozen" the last picture again and again; "black", with noise; "covered", without;
    "silent" no picture while `isOpened` says True; "flat" pictures without a shape, as OpenCV 4.11
    gives them where a driver sends BGR; "unknown" likewise in another format; "grey" pictures of
    one channel; "smaller" pictures of half the size; "unopenable"; "glitch" every third picture is
    damaged; "hangs" the driver does not return until the fault is over.
    """

    def __init__(self, clip: Path, state: FaultState) -> None:
        self._clip = clip
        self._state = state
        self._real = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
        self._last: Any = None
        self._grabs = 0
        state.opened += 1

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._state.fault != "unopenable" and self._real.isOpened()

    def set(self, propId: int, value: float, /) -> bool:  # noqa: N803 - OpenCV's name
        self._state.asked.append((propId, value))
        return False

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        return self._real.get(propId)

    def grab(self) -> bool:
        while self._state.fault == "hangs":
            time.sleep(PACE_S)
        time.sleep(PACE_S)
        self._grabs += 1
        if self._state.fault in ("silent", "unopenable"):
            return False
        if self._state.fault == "frozen" and self._last is not None:
            return True
        if not self._real.grab():
            self._real.release()
            self._real = cv2.VideoCapture(str(self._clip), cv2.CAP_FFMPEG)
            return self._real.grab()
        return True

    def retrieve(self) -> tuple[bool, Any]:
        if self._state.fault == "glitch" and self._grabs % 3 == 0:
            return False, None
        if self._state.fault != "frozen" or self._last is None:
            self._last = self._real.retrieve()[1]
        if self._state.fault == "flat":
            return True, self._last.reshape(1, -1)
        if self._state.fault == "smaller":
            return True, self._last[::2, ::2].copy()
        if self._state.fault == "grey":
            return True, self._last[..., 0].copy()
        if self._state.fault == "covered":
            return True, np.zeros_like(self._last)
        if self._state.fault == "unknown":
            return True, self._last[..., :2].reshape(1, -1)
        if self._state.fault == "black":
            return True, np.random.default_rng(self._grabs).integers(
                0, 4, self._last.shape, dtype=np.uint8
            )
        return True, self._last.copy()

    def release(self) -> None:
        self._state.released += 1
        self._real.release()


class FaultState:
    """The fault that all captures of one test share, and what they were asked for."""

    def __init__(self, clip: Path) -> None:
        self.clip = clip
        self.fault = ""
        self.opened = 0
        self.released = 0
        self.asked: list[tuple[int, float]] = []

    def open(self, camera: CameraInfo = CAMERA) -> WebcamSource:
        return WebcamSource(camera, WebcamSettings(), lambda _: FaultyCapture(self.clip, self))


def read_frames(source: Source, count: int) -> list[Frame]:
    frames = []
    for _ in range(count):
        frame = source.read()
        assert frame is not None
        frames.append(frame)
    return frames


def read_until_lost(source: Source) -> str:
    """Read until the source is lost; return its message."""
    try:
        while source.read() is not None:
            pass
    except SourceError as lost:
        return str(lost)
    pytest.fail("the source ended instead of being lost")


def read_until_back(source: ReconnectingSource) -> Frame:
    while True:
        try:
            frame = source.read()
        except SourceUnavailable:
            continue
        assert frame is not None
        return frame
