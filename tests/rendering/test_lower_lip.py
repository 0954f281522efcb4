from __future__ import annotations

import numpy as np
import pytest

from reenact.face.aperture import MOUTH
from reenact.face.geometry import canonical_face, estimate_pose, rotation_matrix, to_image
from reenact.face.topology import CHIN, LIPS_OUTER
from reenact.rendering.driven_skin import raise_lower_lip
from reenact.types import Array, Pose

IOD_PX = 60.0
UPPER, LOWER = (edge[1:-1] for edge in MOUTH)
TURNED = rotation_matrix(np.array([0, 0, 0.5], np.float32))


def face(gap_iod: float, rotation: Array | None = None) -> Array:
    """Return (478, 3) px of the canonical face with this gap along its whole mouth."""
    shape = canonical_face().copy()
    shape[LOWER, 1] = shape[UPPER, 1] + gap_iod
    rotation = np.eye(3, dtype=np.float32) if rotation is None else rotation
    return to_image(shape, Pose(rotation, np.array([128, 110, 0], np.float32), IOD_PX))


def raised(reference: Array, drive: Array) -> Array:
    """Return how far each landmark moves towards the upper lip, (478,) iod."""
    poses = estimate_pose(reference), estimate_pose(drive)
    moved = raise_lower_lip(reference, drive, poses) - drive
    return np.asarray(-moved @ poses[1].rotation[:, 1] / IOD_PX)


def test_an_opening_mouth_ends_at_the_visible_edge_of_its_lower_lip() -> None:
    heights = raised(face(0.0), face(0.4))
    np.testing.assert_allclose(heights[LOWER], 0.022, atol=1e-3)
    assert 0 < heights[16] < heights[15] < heights[14]
    still = [*UPPER, *LIPS_OUTER, CHIN]
    np.testing.assert_allclose(heights[still], 0, atol=1e-6)


def test_the_edge_rises_with_the_gap_of_a_turned_face_as_well() -> None:
    half = raised(face(0.0), face(0.08, TURNED))
    np.testing.assert_allclose(half[LOWER], 0.011, atol=1e-3)


@pytest.mark.parametrize(("shown", "driven"), [(0.0, 0.0), (0.4, 0.4), (0.4, 0.1)])
def test_a_mouth_that_does_not_open_stays_as_it_is(shown: float, driven: float) -> None:
    np.testing.assert_allclose(raised(face(shown), face(driven)), 0, atol=1e-6)
