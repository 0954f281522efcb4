"""Eyes that look elsewhere than in the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.geometry import canonical_face, region_mask, rotation_matrix, to_image
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT
from reenact.rendering.eye_copies import EyeCopies
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import Reference, enlarged, lay_over, move_person
from reenact.rendering.openings import iris_radius
from reenact.types import Array, Image, Pose

SIZE, SKIN, WHITE, DARK = 512, 170, 240, 30
POSE = Pose(
    rotation_matrix(np.array([0, 0, 0.2], np.float32)), np.array([128, 128, 0], np.float32), 70.0
)


def looking(x_iod: float = 0.0, y_iod: float = 0.0) -> Array:
    """Return (478, 3) network px of a tilted face with moved irises."""
    shape = canonical_face().copy()
    shape[[*IRIS_RIGHT, *IRIS_LEFT], :2] += x_iod, y_iod
    return to_image(shape, POSE)


def photo(points: Array, size: float = 1.0) -> Image:
    """Return eyes with dark irises whose radius is `size` times that of their landmarks."""
    points = 2 * points
    picture = np.full((SIZE, SIZE), SKIN, np.uint8)
    for loop, iris in ((EYE_RIGHT, IRIS_RIGHT), (EYE_LEFT, IRIS_LEFT)):
        inside = region_mask(points, loop, SIZE) > 127
        picture[inside] = WHITE
        disc = np.zeros_like(picture)
        x, y = np.round(points[iris[0], :2]).astype(int)
        radius = round(size * iris_radius(points, iris))
        cv2.circle(disc, (int(x), int(y)), radius, (255,), cv2.FILLED)
        picture[inside & (disc > 0)] = DARK
    return picture[..., None].repeat(3, axis=2)


def drawn(picture: Image, shown: Array, drive: Array) -> Image:
    reference = Reference.of(picture, np.full((64, 64), 255, np.uint8), 2 * shown)
    maps = head_mesh().maps(shown, drive, 256, 128, poses=(POSE, POSE))
    person, *_ = move_person(enlarged(reference.person), reference, maps, drive, POSE)
    return lay_over(person, reference.background)[..., 0]


@pytest.mark.parametrize(
    ("gaze_iod", "share"),
    [((0.0, -0.05), 0.04), ((0.0, 0.05), 0.02), ((0.05, -0.03), 0.012), ((0.08, 0.0), 0.012)],
)
def test_an_iris_moves_as_a_whole_and_leaves_a_white_behind(
    gaze_iod: tuple[float, float], share: float
) -> None:
    shown, drive = looking(), looking(*gaze_iod)
    found, wanted = drawn(photo(shown), shown, drive), photo(drive)[..., 0]
    for loop in (EYE_RIGHT, EYE_LEFT):
        eye = cv2.erode(region_mask(2 * drive, loop, SIZE), np.ones((5, 5), np.uint8)) > 250
        wrong = np.abs(found.astype(int) - wanted) > 100
        assert (wrong & eye).sum() < share * eye.sum()


def test_eyes_that_look_as_in_the_photo_stay_its_own() -> None:
    shown = looking()
    picture = photo(shown)
    np.testing.assert_allclose(drawn(picture, shown, shown), picture[..., 0], atol=2)


@pytest.mark.parametrize("size", [0.85, 1.0, 1.3])
def test_the_edge_of_an_iris_is_found_in_the_picture(size: float) -> None:
    shown = 2 * looking()
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    assert EyeCopies.of(photo(looking(), size), shown, alpha).edge == pytest.approx(size, abs=0.1)


def test_without_an_edge_an_iris_is_as_large_as_its_landmarks_say() -> None:
    alpha = np.full((SIZE, SIZE), 255, np.uint8)
    plain = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    assert EyeCopies.of(plain, 2 * looking(), alpha).edge == 1.0


def test_copies_of_a_mirror_image_are_where_its_eyes_are() -> None:
    shown = looking()
    copies = EyeCopies.of(photo(shown), 2 * shown, np.full((SIZE, SIZE), 255, np.uint8))
    (column, row), part = copies.corner, copies.irises
    mirror = copies.mirrored(SIZE, np.array([0.5, 1, 1, 1]))
    left = SIZE - column - part.shape[1]
    assert mirror.corner == (left, row)
    np.testing.assert_array_equal(mirror.irises[..., 1], part[:, ::-1, 1])
    np.testing.assert_allclose(mirror.irises[..., 0], part[:, ::-1, 0] / 2, atol=1)


@pytest.mark.parametrize("shift_px", [-400.0, 300.0, 1000.0])
def test_eyes_beyond_the_pictures_edge_do_no_harm(shift_px: float) -> None:
    shown = 2 * looking() + np.array([shift_px, shift_px / 2, 0], np.float32)
    copies = EyeCopies.of(photo(looking()), shown, np.full((SIZE, SIZE), 255, np.uint8))
    assert copies.whites.size
    assert copies.whites.shape == copies.irises.shape
