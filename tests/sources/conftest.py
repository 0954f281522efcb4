"""A camera with faults that a test switches on and off."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cameras import FaultState
from support.clips import write_clip


@pytest.fixture
def state(tmp_path: Path) -> FaultState:
    clip = write_clip(tmp_path / "camera.avi", 60, codec="mjpeg", pix_fmt="yuvj422p")
    return FaultState(clip)
