from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import canonical_face, rotation_matrix, to_image
from reenact.face.skull import (
    RING,
    RINGS,
    behind_jaw,
    hair_middle,
    hair_motion,
    move_rigidly,
    neck_joint,
    on_skull,
    rings,
    turn_skull,
    turned_at_neck,
)
from reenact.face.topology import CHIN, OVAL
from reenact.types import Pose

STRAIGHT = Pose(np.eye(3, dtype=np.float32), np.array([128, 100, 0], np.float32), 50.0)


def turned(angles: tuple[float, float, float]) -> Pose:
    turn = rotation_matrix(np.array(angles, np.float32))
    return Pose(turn, STRAIGHT.translation, STRAIGHT.scale)


def test_hair_lies_on_the_skull() -> None:
    places = np.array([[128, 40], [128, 100], [400, 100]], np.float32)
    found = on_skull(places, STRAIGHT)
    np.testing.assert_array_equal(found[:, :2], places)
    crown, brow, far_off = found[:, 2]
    assert brow == pytest.approx(-0.3 * 50)
    assert brow < crown < far_off
    assert far_off == pytest.approx(1.15 * 50), "the rim, where the picture shows the skull no more"
    sides = np.array([[90, 100], [166, 100]], np.float32)
    left, right = on_skull(sides, turned((0, 0.5, 0)))[:, 2]
    assert abs(left - right) > 5, "one side has come nearer"


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.7, np.pi / 2])
def test_both_sides_of_a_turned_skull_stay_at_its_outline(angle: float) -> None:
    places = np.array([[68, 86], [128, 86], [188, 86], [68, 120]], np.float32)
    hair = on_skull(places, STRAIGHT)
    turn = STRAIGHT, turned((0, angle, 0))
    far, middle, near, neck = turn_skull(hair, *turn)
    rigid = move_rigidly(hair, *turn)
    aside = 0.45 * 50 * np.sin(angle)
    shares = (0.6 - 0.28) / 1.2, (0.6 + 0.4) / 1.2
    moved = rigid[[1, 3]] + [[share * aside, 0, 0] for share in shares]
    np.testing.assert_allclose([middle, neck], moved, atol=1e-3)
    skull = 128 + 1.15 * 50 * np.sin(angle) + shares[0] * aside
    half = 50 * np.hypot(1.2 * np.cos(angle), 1.45 * np.sin(angle))
    if angle < 1.5:
        assert far[0] == pytest.approx(skull - half, abs=3)
        assert near[0] == pytest.approx(skull + half, abs=3)
    assert np.isfinite([far, near]).all()


def test_a_turn_moves_ears_and_neck_as_far_as_the_necks_middle() -> None:
    places = np.array([[58, 135], [198, 135]], np.float32)
    for angles, further in ((0, 0.3, 0), 0.45 * 50 * np.sin(0.3)), ((0.3, 0, 0), 0.0):
        hair, pose = on_skull(places, STRAIGHT), turned(angles)
        beyond = turn_skull(hair, STRAIGHT, pose) - move_rigidly(hair, STRAIGHT, pose)
        np.testing.assert_allclose(beyond, [[further, 0, 0]] * 2, atol=1e-3)


@pytest.mark.parametrize("roll", [0.3, -0.6])
def test_ears_and_neck_of_a_tilted_head_move_along_its_own_axis(roll: float) -> None:
    places = np.array([[58, 135], [198, 135], [80, 60]], np.float32)
    tilt = rotation_matrix(np.array((0, 0, roll), np.float32))

    def turned_and_tilted(angle: float) -> Pose:
        pose = turned((0, angle, 0))
        return Pose(tilt @ pose.rotation, pose.translation, pose.scale)

    found = []
    for start, end in (
        (STRAIGHT, turned((0, 0.4, 0))),
        (turned_and_tilted(0), turned_and_tilted(0.4)),
    ):
        hair = on_skull(places, STRAIGHT) - STRAIGHT.translation
        if start is not STRAIGHT:
            hair = hair @ tilt.T
        moved = turn_skull(hair + STRAIGHT.translation, start, end) - STRAIGHT.translation
        found.append(moved if start is STRAIGHT else moved @ tilt)
    np.testing.assert_allclose(found[0], found[1], atol=1e-2)


def test_a_head_that_turns_back_is_not_narrowed() -> None:
    pose = turned((0, -0.4, 0))
    seen = to_image(np.array([[-1.4, 0.7, 1.0], [1.4, 0.7, 1.0]], np.float32), pose)
    assert seen[0, 2] < seen[1, 2], "the first one is nearer"
    hair = on_skull(seen[:, :2], pose)
    near, far = (turn_skull(hair, pose, STRAIGHT) - move_rigidly(hair, pose, STRAIGHT))[:, 0]
    assert near == pytest.approx(0, abs=1e-3)
    assert far == pytest.approx(0.45 * 50 * np.sin(0.4), abs=1e-3), "it comes out"


def test_more_points_on_one_side_do_not_move_the_rings() -> None:
    face = canonical_face()
    dense, sparse = rings(face), rings(face, RING[:5])
    some = dense.reshape(len(RINGS), len(RING), 3)[:, :5].reshape(-1, 3)
    np.testing.assert_allclose(sparse, some, atol=1e-6)


def test_hair_moves_with_the_head() -> None:
    larger = Pose(STRAIGHT.rotation, STRAIGHT.translation + np.float32(5), 55.0)
    across, down, roll, growth = hair_motion(STRAIGHT, larger)
    assert across == pytest.approx(0.1, abs=0.01)
    assert roll == pytest.approx(0, abs=1e-6)
    assert growth == pytest.approx(np.log(1.1), abs=1e-6)
    assert down < 0.1, "what is above the origin grows upwards"
    assert hair_motion(STRAIGHT, turned((0, 0, 0.2)))[2] == pytest.approx(0.2, abs=1e-4)
    behind = hair_motion(STRAIGHT, turned((0, -0.2, 0)))[0]
    assert behind == pytest.approx(-0.2, abs=0.03), "it is an iod behind the face"


def test_hair_moves_once_more_from_where_the_head_takes_it() -> None:
    """An affine about the hair's middle adds to what the head does."""
    pose, angle, size = turned((0.1, 0.2, 0.1)), 0.05, 1.1
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = hair_middle(pose)
    affine = np.column_stack([turn, middle + np.array([10, -5]) - turn @ middle])
    more = hair_motion(STRAIGHT, pose, affine) - hair_motion(STRAIGHT, pose)
    np.testing.assert_allclose(more, [0.2, -0.1, angle, np.log(size)], atol=2e-3)


def test_a_neck_is_squeezed_by_a_jaw_only_so_far_and_goes_on_behind_it() -> None:
    edge, still = canonical_face()[list(OVAL)], np.zeros((len(RING), 3), np.float32)
    chin, forehead = OVAL.index(CHIN), OVAL.index(10)
    down = np.array([0, 1, 0], np.float32)
    neck_end = rings(canonical_face())[RING.index(CHIN), 1]
    width = neck_end - edge[chin, 1]
    for amount in (0.45, 0.9, 1.5):
        behind = behind_jaw(edge, edge + amount * width * down, still)
        assert neck_end - behind[chin, 1] == pytest.approx(0.6 * width, rel=0.01)
        np.testing.assert_array_equal(behind[forehead], edge[forehead] + amount * width * down)
    for amount in (0.3, -0.3, -1):
        moved = edge + amount * width * down
        np.testing.assert_array_equal(behind_jaw(edge, moved, still)[chin], moved[chin])
    np.testing.assert_array_equal(behind_jaw(edge, edge + down, still + down), edge + down)


def test_a_head_turns_about_its_joint_with_the_neck() -> None:
    """The joint is behind the chin and above it, where shoulders stay in place."""
    pose = turned((0.1, 0.2, 0.1))
    turn = rotation_matrix(np.array([0.3, -0.4, 0.2], np.float32))
    before, after = (to_image(canonical_face(), one) for one in (pose, turned_at_neck(pose, turn)))
    joint = neck_joint(before, pose)
    np.testing.assert_allclose(neck_joint(after, turned_at_neck(pose, turn)), joint, atol=1e-3)
    chin = to_image(canonical_face(), STRAIGHT)[CHIN]
    across, down, away = (neck_joint(to_image(canonical_face(), STRAIGHT), STRAIGHT) - chin) / 50
    assert across == pytest.approx(0)
    assert -1 < down < -0.5
    assert 1.5 < away < 2.2
