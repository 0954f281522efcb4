"""The face frame, poses, crops and maps: every mapping has its inverse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from reenact.face.geometry import (
    FACE_MIDDLE,
    FACE_SHARE,
    box_shift,
    canonical_face,
    choose_face,
    crop_transform,
    estimate_pose,
    face_box,
    filled_outline,
    fit_similarity,
    landmark_map,
    mirror_index,
    mirrored,
    mirrored_deviation,
    region_mask,
    rotation_matrix,
    rotation_vector,
    square_to_crop,
    to_face_frame,
    to_image,
    transform_points,
    triangulate,
    yaw_sine,
)
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    NOSE,
    OVAL,
)
from reenact.imaging import invert_affine
from reenact.types import Array, Pose
from support.faces import posed_face

numbers = st.integers(0, 2**32 - 1)
"""Seeds of faces."""


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    """Return a head turned by up to 80 degrees, small or large, anywhere in a picture."""
    axis = np.array([draw(st.floats(-1, 1)) for _ in range(3)], np.float32)
    angle = np.radians(draw(st.floats(0, 80)))
    vector = axis * np.float32(angle / max(float(np.linalg.norm(axis)), 1e-3))
    place = np.array([draw(st.floats(-2000, 4000)) for _ in range(2)] + [0], np.float32)
    return Pose(rotation_matrix(vector), place, draw(st.floats(8, 1000)))


def some_face(number: int) -> Array:
    """Return a person's shape in the face frame, iod."""
    rng = np.random.default_rng(number)
    person = canonical_face() * rng.uniform(0.9, 1.1, 3)
    return np.asarray(person + rng.normal(0, 0.02, person.shape), dtype=np.float32)


def close_px(pose: Pose) -> float:
    """Return the tolerance that float32 needs, px."""
    return 1e-5 * (float(np.abs(pose.translation).max()) + 3 * pose.scale)


@given(poses(), numbers)
def test_the_face_frame_and_the_image_are_each_others_inverse(pose: Pose, number: int) -> None:
    shape = some_face(number)
    points = to_image(shape, pose)
    np.testing.assert_allclose(
        to_face_frame(points, pose), shape, atol=4 * close_px(pose) / pose.scale
    )


@given(poses(), numbers)
def test_the_pose_of_a_posed_face_is_found_again(pose: Pose, number: int) -> None:
    shape = some_face(number)
    found = estimate_pose(to_image(shape, pose), shape)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=20 * close_px(pose) / pose.scale)
    np.testing.assert_allclose(found.translation, pose.translation, atol=20 * close_px(pose))
    assert found.scale == pytest.approx(pose.scale, rel=20 * close_px(pose) / pose.scale)


def test_without_a_template_the_canonical_face_is_fitted() -> None:
    points, pose = posed_face()
    found = estimate_pose(points)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-4)
    assert found.scale == pytest.approx(pose.scale, rel=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_similarity_is_never_a_reflection(dimensions: int) -> None:
    source = np.random.default_rng(1).normal(size=(9, dimensions))
    mirror = np.diag([-1.0] + [1.0] * (dimensions - 1))
    for goal in (source @ mirror, np.zeros_like(source), source[:, ::-1]):
        _, rotation, _ = fit_similarity(source, goal)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(dimensions), atol=1e-9)


@given(poses())
def test_rotation_vectors_and_matrices_are_each_others_inverse(pose: Pose) -> None:
    vector = rotation_vector(pose.rotation)
    np.testing.assert_allclose(rotation_matrix(vector), pose.rotation, atol=1e-5)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-5)


@given(poses(), numbers, st.integers(64, 4000))
def test_a_face_mirrored_twice_is_the_face(pose: Pose, number: int, width: int) -> None:
    points = to_image(some_face(number), pose)
    twice = mirrored(mirrored(points, width), width)
    np.testing.assert_allclose(twice, points, atol=close_px(pose) + 1e-6 * width)
    deviation = some_face(number) - canonical_face()
    np.testing.assert_array_equal(mirrored_deviation(mirrored_deviation(deviation)), deviation)


def test_mirroring_swaps_the_turn() -> None:
    points, pose = posed_face(yaw_degrees=20)
    turned = rotation_vector(estimate_pose(mirrored(points, 256)).rotation)
    straight = rotation_vector(pose.rotation)
    np.testing.assert_allclose(turned, straight * [1, -1, -1], atol=1e-3)


def test_mirrored_landmarks_lie_on_the_mirrored_picture() -> None:
    points, _ = posed_face(yaw_degrees=20)
    face = region_mask(points, OVAL, 256)[:, ::-1].astype(int)
    assert np.abs(region_mask(mirrored(points, 256), OVAL, 256) - face).max() < 64


def test_the_canonical_face_is_symmetric_and_one_iod_wide() -> None:
    face = canonical_face()
    right, left = face[[33, 133]].mean(axis=0), face[[362, 263]].mean(axis=0)
    assert np.linalg.norm(left - right) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(mirrored_deviation(face), face, atol=1e-5)
    assert mirror_index()[33] == 263
    assert mirror_index()[468] == 473


@given(poses(), numbers, st.sampled_from([128, 256, 512]))
def test_a_crop_holds_the_face_at_its_share_and_leads_back(
    pose: Pose, number: int, size_px: int
) -> None:
    points = to_image(some_face(number), pose)
    affine = crop_transform(points, size_px)
    inside = transform_points(points, affine)
    left, top, right, bottom = face_box(inside)
    assert max(bottom - top, right - left) == pytest.approx(size_px * FACE_SHARE, rel=0.01)
    assert (left + right) / 2 == pytest.approx((size_px - 1) / 2, abs=0.01 * size_px)
    assert (top + bottom) / 2 == pytest.approx(FACE_MIDDLE * size_px - 0.5, abs=0.01 * size_px)
    back = transform_points(inside, invert_affine(affine))
    np.testing.assert_allclose(back, points, atol=0.01 + 1e-4 * np.abs(points).max())


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(20, 900), st.sampled_from([64, 256]))
def test_the_corners_of_a_square_are_those_of_its_crop(
    left: float, top: float, side: float, size_px: int
) -> None:
    affine = square_to_crop((left, top, side), size_px)
    corners = np.array([[left, top, 0], [left + side, top + side, 0]], np.float32) - 0.5
    placed = transform_points(corners, affine)[:, :2]
    np.testing.assert_allclose(placed, [[-0.5, -0.5], [size_px - 0.5] * 2], atol=0.01)


@given(poses(), st.floats(-2, 2), st.floats(0.5, 2))
def test_a_face_shifts_by_what_it_moved_or_grew(pose: Pose, moved: float, grown: float) -> None:
    points = to_image(canonical_face(), pose)
    left, top, right, bottom = face_box(points)
    size = max(right - left, bottom - top)
    shifted = points + np.array([moved * size, 0, 0], np.float32)
    close = 0.01 + 10 * close_px(pose) / size
    assert box_shift(points, shifted) == pytest.approx(abs(moved), abs=close)
    centre = np.array([(left + right) / 2, (top + bottom) / 2, 0], np.float32)
    larger = (points - centre) * np.float32(grown) + centre
    assert box_shift(points, larger) == pytest.approx(abs(grown - 1) / 2, abs=close)


@pytest.mark.parametrize("roll", [-1.2, 0.0, 0.7])
def test_the_yaw_does_not_depend_on_the_roll(roll: float) -> None:
    turn, tilt = (rotation_matrix(np.array(v, np.float32)) for v in ((0, 0.5, 0), (0, 0, roll)))
    assert yaw_sine(tilt @ turn) == pytest.approx(np.sin(0.5), abs=1e-6)
    face = to_image(canonical_face(), Pose(tilt @ turn, np.zeros(3, np.float32), 60.0))
    right, left = face[33, 2], face[263, 2]
    assert right > left, "the right eye is farther from the camera"


def test_depth_grows_with_a_picture_that_is_also_turned() -> None:
    points, pose = posed_face()
    affine = np.array([[0, -2, 300], [2, 0, 5]], np.float32)
    turned = estimate_pose(transform_points(points, affine))
    assert turned.scale == pytest.approx(2 * pose.scale, rel=1e-4)
    quarter = rotation_matrix(np.array([0, 0, np.pi / 2], np.float32))
    np.testing.assert_allclose(turned.rotation, quarter @ pose.rotation, atol=1e-4)


LOOPS = (OVAL, LIPS_OUTER, LIPS_INNER, EYE_RIGHT, EYE_LEFT, BROW_RIGHT, BROW_LEFT)


def test_a_landmark_map_draws_contours_and_little_else() -> None:
    points, _ = posed_face(yaw_degrees=0)
    drawn = landmark_map(points, 256)
    assert drawn.shape == (256, 256)
    assert drawn.dtype == np.uint8
    for loop in (*LOOPS, IRIS_RIGHT[1:], IRIS_LEFT[1:], NOSE):
        ends = points[[loop[0], loop[-1]], :2].mean(axis=0)
        for x, y in (*points[list(loop), :2], *([] if loop is NOSE else [ends])):
            column, row = round(float(x)), round(float(y))
            assert drawn[row - 1 : row + 2, column - 1 : column + 2].max() > 120
    assert (drawn > 0).mean() < 0.1


@pytest.mark.parametrize("along", [0, 1])
def test_an_outline_that_moves_by_a_part_of_a_pixel_covers_as_much_less(along: int) -> None:
    flat = np.array([[10, 10], [30, 10], [30, 13], [10, 13]], np.float32)[:, :: -1 if along else 1]
    for moved in np.arange(0, 1, 0.125):
        outline = flat.copy()
        outline[:2, 1 - along] += np.float32(moved)
        area = filled_outline(outline, (48, 48)).sum() / 255
        sides = np.ptp(outline, axis=0) + 1.4  # some .7 px around it
        assert area == pytest.approx(sides[0] * sides[1], abs=0.15 * max(sides))


def test_a_px_is_covered_like_its_64_parts() -> None:
    outline = np.random.default_rng(0).uniform(-5, 25, (7, 2)).astype(np.float32)
    parts = np.zeros((160, 240), np.uint8)
    edge = [np.round(((outline + 0.5) * 8 - 0.5) * 16).astype(np.int32)]
    cv2.fillPoly(parts, edge, (255,), cv2.LINE_8, 4)
    cv2.polylines(parts, edge, True, (255,), 9, cv2.LINE_8, 4)
    wanted = parts.reshape(20, 8, 30, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(filled_outline(outline, (20, 30)), wanted, atol=0.51)


def test_an_outline_beyond_the_picture_covers_what_is_in_it() -> None:
    square = np.array([[-10, -10], [5, -10], [5, 5], [-10, 5]], np.float32)
    assert filled_outline(square, (20, 20)).sum() / 255 == pytest.approx(6.2**2, rel=0.05)
    assert not filled_outline(square - 30, (20, 20)).any()
    assert not filled_outline(square + 40, (20, 20)).any()


@pytest.mark.parametrize("side", [0.5, 30, 30_000])
def test_triangles_are_those_that_scipy_finds(side: float) -> None:
    points = np.random.default_rng(1).uniform(-side, side, (200, 2)).astype(np.float32)
    expected = Delaunay(points.astype(np.float64)).simplices
    assert sorted(map(sorted, triangulate(points))) == sorted(map(sorted, expected))


def test_a_large_face_that_is_mostly_outside_the_picture_is_not_the_largest() -> None:
    """The mesh of a face goes on where the picture ends."""
    face = canonical_face() * 40
    actor = np.asarray(face + np.array([200, 200, 0]), np.float32)
    beside = np.asarray(1.5 * face + np.array([660, 200, 0]), np.float32)
    assert choose_face([beside, actor], (640, 480), "largest") is actor
    assert choose_face([beside - np.float32(150), actor], (640, 480), "largest") is not actor
