"""Every motion: from rest to a peak, smooth, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from reenact import registry
from reenact.config import DriveSettings
from reenact.expression.emotions import EMOTIONS
from reenact.face.topology import N_LANDMARKS
from reenact.types import MotionSource


@pytest.mark.parametrize("name", registry.available("motions"))
def test_motions_lead_from_rest_to_a_peak(name: str) -> None:
    source = registry.load("motions", name).make(DriveSettings())
    assert isinstance(source, MotionSource)
    for emotion in EMOTIONS[1:]:
        motion = source.motion(emotion, 3)
        assert motion.dtype == np.float32
        assert motion.shape[1:] == (N_LANDMARKS, 3)
        assert len(motion) >= 5
        assert np.abs(motion[0]).max() < 1e-6
        size = np.linalg.norm(motion, axis=-1).max(axis=1)
        assert 0.02 < size[-1] < 0.6, "iod"
        steps = np.linalg.norm(np.diff(motion, axis=0), axis=-1).max(axis=1)
        assert steps.max() < 0.5 * size.max(), "it jumps"
        np.testing.assert_array_equal(source.motion(emotion, 3), motion)
