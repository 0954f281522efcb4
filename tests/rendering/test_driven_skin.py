from __future__ import annotations

import numpy as np
import pytest

from reenact.face.aperture import MOUTH
from reenact.face.geometry import canonical_face, estimate_pose, rotation_matrix, to_image
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    CHIN,
    LIPS_INNER,
    LIPS_OUTER,
    N_LANDMARKS,
    OVAL,
)
from reenact.rendering.driven_skin import LooseSkin, visible_lips
from reenact.rendering.head_mesh import head_mesh
from reenact.types import Array, Pose

TRIANGLES = head_mesh().triangles[head_mesh().triangles.max(axis=1) < N_LANDMARKS]
SKIN = LooseSkin(TRIANGLES)
BELOW_THE_LIP = (18, 83, 182, 106, 313, 406, 335, 200, 201, 421)
IOD_PX = 60.0
UPPER, LOWER = (edge[1:-1] for edge in MOUTH)
TURNED = rotation_matrix(np.array([0, 0, 0.5], np.float32))


def seen(shape: Array, turn: tuple[float, float, float] = (0, 0, 0)) -> Array:
    """Return (478, 3) px of a face."""
    rotation = rotation_matrix(np.array(turn, np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 128, 0], np.float32), 60.0))


def stretched(reference: Array, drive: Array) -> Array:
    return SKIN.stretched(reference, drive, (estimate_pose(reference), estimate_pose(drive)))


def folded(reference: Array, drive: Array) -> int:
    """Return how many triangles of the loose skin are turned over."""
    beside = np.isin(TRIANGLES, SKIN.landmarks).any(axis=1)

    def areas(points: Array) -> Array:
        a, b, c = (points[TRIANGLES[beside, corner], :2] for corner in range(3))
        return np.asarray(np.cross(b - a, c - a))

    before, after = areas(reference), areas(drive)
    return int(np.count_nonzero((before * after < 0) & (np.abs(before) > 1)))


def test_lips_and_the_rest_of_the_face_stay_where_they_are_driven() -> None:
    assert set(BELOW_THE_LIP) <= set(SKIN.landmarks.tolist())
    assert not set(SKIN.landmarks.tolist()) & {*LIPS_OUTER, *LIPS_INNER, *OVAL}
    rng = np.random.default_rng(0)
    reference = seen(canonical_face())
    drive = reference + rng.normal(0, 1, reference.shape).astype(np.float32)
    others = np.setdiff1d(np.arange(N_LANDMARKS), SKIN.landmarks)
    np.testing.assert_array_equal(stretched(reference, drive)[others], drive[others])


def test_a_head_that_only_moves_is_not_changed() -> None:
    reference = seen(canonical_face())
    drive = seen(canonical_face(), (0.2, 0.4, -0.3)) + np.float32(7)
    np.testing.assert_allclose(stretched(reference, drive), drive, atol=0.05)


def test_an_actor_with_more_skin_below_the_lip_does_not_fold_the_target() -> None:
    """The lip drops by more than the target's skin beside it has room for."""
    shape = canonical_face()
    shouting = shape.copy()
    lower = [*LIPS_INNER[:10], *LIPS_OUTER[:11], 15, 16, 85, 86, 315, 316]
    shouting[lower, 1] += 0.2
    reference, drive = seen(shape), seen(shouting)
    assert folded(reference, drive) > 5, "or nothing is mended"
    assert folded(reference, stretched(reference, drive)) == 0


def test_the_chin_of_a_shouting_target_shrinks_evenly() -> None:
    """The tracker moves the middle of a shouting actor's chin less than the chin's edge."""
    shape = canonical_face()
    shouting = shape.copy()
    jaw = np.clip((shape[:, 1] - shape[1, 1]) / (shape[CHIN, 1] - shape[1, 1]), 0, 1)
    shouting[:, 1] += 0.27 * jaw
    shouting[OVAL, 1] += 0.04 * jaw[list(OVAL)]
    lower = [*LIPS_INNER[1:10], *LIPS_OUTER[1:10], 15, 16, 85, 86, 315, 316]
    shouting[lower, 1] = shape[lower, 1] + 0.55
    reference, drive = seen(shape), seen(shouting)
    assert folded(reference, drive) > 5, "or nothing is mended"
    assert folded(reference, stretched(reference, drive)) == 0


def test_an_actor_with_a_higher_forehead_does_not_fold_the_target() -> None:
    shape = canonical_face()
    surprised = shape.copy()
    surprised[[*BROW_RIGHT, *BROW_LEFT], 1] -= 0.2
    reference, drive = seen(shape), seen(surprised)
    assert folded(reference, drive) > 5, "or nothing is mended"
    assert folded(reference, stretched(reference, drive)) == 0


def open_mouth(gap_iod: float, rotation: Array | None = None) -> Array:
    """Return (478, 3) px of the canonical face with this gap along its whole mouth."""
    shape = canonical_face().copy()
    shape[LOWER, 1] = shape[UPPER, 1] + gap_iod
    rotation = np.eye(3, dtype=np.float32) if rotation is None else rotation
    return to_image(shape, Pose(rotation, np.array([128, 110, 0], np.float32), IOD_PX))


def moved_down(face: Array) -> Array:
    """Return how far each landmark of a face moves towards its chin, (478,) iod."""
    pose = estimate_pose(face)
    return np.asarray((visible_lips(face, pose) - face) @ pose.rotation[:, 1] / IOD_PX)


@pytest.mark.parametrize(("gap_iod", "lower_iod"), [(0.1, 0.022), (0.2, 0.022), (0.4, 0.04)])
@pytest.mark.parametrize("rotation", [None, TURNED])
def test_an_open_mouth_ends_at_the_visible_edges_of_its_lips(
    rotation: Array | None, gap_iod: float, lower_iod: float
) -> None:
    heights = moved_down(open_mouth(gap_iod, rotation))
    np.testing.assert_allclose(heights[UPPER], 0.005, atol=1e-3)
    np.testing.assert_allclose(heights[LOWER], -lower_iod, atol=1e-3)
    assert 0 < heights[12] < heights[13]
    assert heights[14] < heights[15] < heights[16] < 0
    np.testing.assert_allclose(heights[[*LIPS_OUTER, CHIN]], 0, atol=1e-6)


@pytest.mark.parametrize("gap_iod", [0.0, 0.01, 0.025])
def test_lips_meet_where_the_gap_is_too_narrow_to_be_visible(gap_iod: float) -> None:
    face = open_mouth(gap_iod)
    moved = visible_lips(face, estimate_pose(face))
    np.testing.assert_allclose(moved[UPPER, 1], moved[LOWER, 1], atol=0.05)


def test_lips_that_cross_stay_as_they_are() -> None:
    np.testing.assert_allclose(moved_down(open_mouth(-0.05)), 0, atol=1e-6)
