"""Every tracker: it finds the face of the portrait, and reports its absence."""

from __future__ import annotations

import numpy as np
import pytest

from reenact import registry
from reenact.config import TrackingSettings
from reenact.face.topology import N_LANDMARKS
from reenact.testing.portrait import portrait
from reenact.types import Frame, Tracker


@pytest.mark.parametrize("name", registry.available("trackers"))
def test_tracker_finds_a_face_and_its_absence(name: str) -> None:
    tracker = registry.load("trackers", name).make(TrackingSettings())
    assert isinstance(tracker, Tracker)
    image = portrait().copy()
    try:
        found = tracker.track(Frame(image, 0.0, 0))
        assert np.array_equal(image, portrait()), "the frame was changed"
        assert found is not None
        assert tracker.faces_seen == 1
        assert found.points.shape == (N_LANDMARKS, 3)
        assert found.points.dtype == np.float32
        assert found.size == (image.shape[1], image.shape[0])
        assert 0.0 <= found.confidence <= 1.0
        nose = found.points[1, :2]
        assert np.abs(nose - (225, 125)).max() < 45, "this is not where her nose is"
        tracker.reset()
        assert tracker.track(Frame(np.full_like(image, 127), 1.0, 1)) is None
        tracker.reset()
        again = tracker.track(Frame(image, 2.0, 2))
        assert again is not None
        assert np.abs(again.points[:, :2] - found.points[:, :2]).max() < 4.0
    finally:
        tracker.close()
