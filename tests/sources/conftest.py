"""A camera with faults that a test switches on and off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reenact.sources.webcam import WebcamSettings, WebcamSource
from support.cameras import CAMERA, FaultState, FaultyCapture
from support.clips import write_clip


@pytest.fixture
def state() -> FaultState:
    return FaultState()


@pytest.fixture
def open_camera(tmp_path: Path, state: FaultState) -> Callable[[], WebcamSource]:
    clip = write_clip(tmp_path / "camera.avi", 60, codec="mjpeg", pix_fmt="yuvj422p")
    return lambda: WebcamSource(CAMERA, WebcamSettings(), lambda _: FaultyCapture(clip, state))
