from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import (
    FACE_SHARE,
    canonical_face,
    crop_transform,
    estimate_pose,
    face_box,
    inter_ocular,
    landmark_map,
    mirror_index,
    mirrored,
    mirrored_deviation,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    transform_points,
)
from reenact.imaging import crop_image, from_unit, invert_affine, to_unit
from support.faces import posed_face


def test_value_ranges_are_each_others_inverse() -> None:
    every_level = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    unit = to_unit(every_level)
    assert unit.shape == (3, 16, 16)
    assert unit.min() == -1
    assert unit.max() == pytest.approx(1)
    np.testing.assert_array_equal(from_unit(unit), every_level)


def test_canonical_face_is_symmetric_and_one_iod_wide() -> None:
    face = canonical_face()
    assert inter_ocular(face) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(mirrored_deviation(face), face, atol=1e-5)
    assert mirror_index()[33] == 263
    assert mirror_index()[468] == 473
    np.testing.assert_array_equal(mirror_index()[mirror_index()], np.arange(478))


def test_pose_is_found_again() -> None:
    points, pose = posed_face()
    found = estimate_pose(points)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-4)
    np.testing.assert_allclose(found.translation, pose.translation, atol=1e-2)
    assert found.scale == pytest.approx(pose.scale, rel=1e-4)
    np.testing.assert_allclose(to_face_frame(points, found), canonical_face(), atol=1e-3)


def test_pose_is_always_a_proper_rotation() -> None:
    flat = canonical_face().copy()
    flat[:, 2] = 0
    for points in (flat * 50, mirrored(posed_face()[0], 256)):
        found = estimate_pose(points.astype(np.float32))
        assert np.linalg.det(found.rotation) == pytest.approx(1, abs=1e-4)


def test_mirroring_swaps_the_turn() -> None:
    points, pose = posed_face(yaw_degrees=20)
    turned = rotation_vector(estimate_pose(mirrored(points, 256)).rotation)
    straight = rotation_vector(pose.rotation)
    np.testing.assert_allclose(turned, straight * [1, -1, -1], atol=1e-3)


def test_rotation_vector_and_matrix_are_inverse() -> None:
    vector = np.array([0.3, -0.5, 0.1], np.float32)
    np.testing.assert_allclose(rotation_vector(rotation_matrix(vector)), vector, atol=1e-5)


@pytest.mark.parametrize("scale", [8.0, 60.0, 900.0])
def test_crop_holds_the_face_at_its_share(scale: float) -> None:
    points, _ = posed_face(scale=scale)
    affine = crop_transform(points, 256)
    left, top, right, bottom = face_box(transform_points(points, affine))
    assert max(bottom - top, right - left) == pytest.approx(256 * FACE_SHARE, rel=0.01)
    assert (left + right) / 2 == pytest.approx(127.5, abs=1)
    back = transform_points(transform_points(points, affine), invert_affine(affine))
    np.testing.assert_allclose(back, points, rtol=1e-3, atol=1e-2)


def test_crop_puts_pixels_where_points_go() -> None:
    image = np.zeros((400, 300, 3), np.uint8)
    image[200:204, 100:104] = 255  # its middle is at (101.5, 201.5)
    for factor in (0.2, 0.7, 1.0, 2.3):
        affine = np.array([[factor, 0, 5], [0, factor, -20]], np.float32)
        crop = crop_image(image, affine, 500).astype(np.float64)[..., 0]
        ys, xs = np.indices(crop.shape)
        centre = (crop * xs).sum() / crop.sum(), (crop * ys).sum() / crop.sum()
        expected = affine[:, :2] @ [101.5, 201.5] + affine[:, 2]
        np.testing.assert_allclose(centre, expected, atol=0.3)


def test_landmark_map_draws_the_lips() -> None:
    points, _ = posed_face(yaw_degrees=0)
    drawn = landmark_map(points, 256)
    assert drawn.shape == (256, 256)
    assert drawn.dtype == np.uint8
    for index in (61, 291, 0, 17, 33, 263, 152):
        x, y = np.round(points[index, :2]).astype(int)
        assert drawn[y - 1 : y + 2, x - 1 : x + 2].max() > 120
    assert (drawn > 0).mean() < 0.1
