"""A tracker, a store and a target that several test files use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact.targets.library import still_tracker
from reenact.targets.store import TargetStore
from reenact.types import Target, Tracker
from support.portraits import box_target, smooth_picture


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    made = still_tracker()
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> TargetStore:
    return TargetStore(tmp_path / "targets")


@pytest.fixture
def target() -> Target:
    """Three references of 256 px full of noise, in a plate of 320 x 240 px."""
    made = box_target(smooth_picture((320, 240)), 60, 20, 160)
    noise = np.random.default_rng(5).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    return replace(made, references=noise, landmarks=np.repeat(made.landmarks, 3, axis=0))
