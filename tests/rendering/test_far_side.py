"""The far side of turned photos, drawn from their mirror image."""

from __future__ import annotations

from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from reenact.face.geometry import (
    canonical_face,
    region_mask,
    rotation_matrix,
    to_image,
    yaw_sine,
)
from reenact.face.topology import CHIN, NOSE_BASE, OVAL
from reenact.models.warp_unet_inputs import FLOW, MapChannel
from reenact.rendering.far_side import covered_cheek, far_share, mirror_image, own_hair
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import Reference, move_person
from reenact.rendering.painter import Painter
from reenact.types import Array, Pose

Colour = tuple[int, int, int]

SIZE = 256
NEAR, FAR, MARK, WALL = (180, 120, 90), (150, 110, 110), (0, 0, 0), (20, 20, 200)
HAIR = (0, 255, 0)
CHEEKS = (50, 280)
"""Landmarks on the cheek to the left and to the right in the picture."""


def turned(yaw_deg: float, *, roll_deg: float = 0) -> Pose:
    turn = rotation_matrix(np.deg2rad(np.array([0, yaw_deg, roll_deg], np.float32)))
    return Pose(turn, np.array([128, 128, 0], np.float32), 60.0)


def photo_of(
    pose: Pose, *, hair: Colour | None = None, near_hair: Colour | None = None
) -> Reference:
    """Return a head before a wall, darker on its far side, with a mark on its near cheek.

    `hair` hangs beside the far cheek, `near_hair` beside the near one.
    """
    shape = canonical_face()
    points = to_image(shape, pose)
    triangles = head_mesh().triangles
    triangles = triangles[triangles.max(axis=1) < len(shape)]
    near = np.sign(yaw_sine(pose.rotation))
    picture = np.full((SIZE, SIZE, 3), WALL, np.uint8)
    for colour, side in (hair, -near), (near_hair, near):
        if colour is not None:
            x, y = points[(side * points[:, 0]).argmax(), :2].astype(int)
            cv2.rectangle(picture, (x - 30, y - 50), (x + 30, y + 50), colour, cv2.FILLED)
    for one in triangles[np.argsort(-points[triangles, 2].mean(axis=1))]:
        is_marked = CHEEKS[int(near > 0)] in one
        colour = MARK if is_marked else NEAR if shape[one, 0].mean() * near > 0 else FAR
        cv2.fillConvexPoly(picture, np.round(points[one, :2]).astype(np.int32), colour)
    person = np.where((picture == WALL).all(axis=-1), 0, 255).astype(np.uint8)
    return Reference.of(picture, person, points)


def brightness_of_cheeks(reference: Reference, yaw_deg: float) -> list[float]:
    """Return the red at the middle of the left and the right cheek of the head, turned."""
    points = to_image(canonical_face(), turned(yaw_deg))
    picture = Painter(reference).paint(points, turned(yaw_deg))[0]
    return [float(picture[row, column, 0]) for column, row in points[list(CHEEKS), :2].astype(int)]


@pytest.mark.parametrize("away_deg", [40, -40])
def test_a_head_that_turns_back_shows_its_near_cheek_on_both_sides(away_deg: float) -> None:
    assert max(brightness_of_cheeks(photo_of(turned(away_deg)), 0)) < 60


@pytest.mark.parametrize("away_deg", [40, -40])
def test_a_head_as_its_photo_shows_it_is_drawn_from_the_photo_alone(away_deg: float) -> None:
    shown = brightness_of_cheeks(photo_of(turned(away_deg)), away_deg)
    assert min(shown) < 20
    assert max(shown) > 140


def with_hair_in_front(away_deg: float, *, near: bool) -> Reference:
    """Return a turned head with hair in front of the outermost 6 px of one of its cheeks."""
    pose = turned(away_deg)
    photo, x = photo_of(pose), to_image(canonical_face(), pose)[:, 0]
    side = np.sign(yaw_sine(pose.rotation)) * (1 if near else -1)
    photo.person[138:200, side * np.arange(SIZE) > (side * x).max() - 6] = *HAIR, 255
    return photo


@pytest.mark.parametrize("away_deg", [30, -30])
def test_hair_in_front_of_the_far_cheek_is_not_smeared_over_a_head_that_turns_back(
    away_deg: float,
) -> None:
    frontal = to_image(canonical_face(), turned(0))
    painter = Painter(with_hair_in_front(away_deg, near=False))
    picture = painter.paint(frontal, turned(0))[0].astype(int)
    face = cv2.erode(region_mask(frontal, OVAL, SIZE), np.ones((5, 5), np.uint8)) > 127
    assert (picture[face, 1] - picture[face, 0]).max() < 80  # 255 is hair, negative skin


@pytest.mark.parametrize("away_deg", [20, -30])
def test_hair_in_front_of_the_near_cheek_makes_no_difference_to_the_far_one(
    away_deg: float,
) -> None:
    near, far, none = (
        int(covered_cheek(photo, mirror_image(photo)).astype(int).sum())
        for photo in (
            with_hair_in_front(away_deg, near=True),
            with_hair_in_front(away_deg, near=False),
            photo_of(turned(away_deg)),
        )
    )
    assert near <= none < far / 2


def test_all_layers_of_a_mirror_image_are_mirrored_at_the_same_column() -> None:
    photo = photo_of(turned(20))
    mirror = mirror_image(photo)
    own, flipped = (one.person[..., 3] for one in (photo, mirror))
    np.testing.assert_array_equal(flipped, own[:, ::-1])
    painter, frontal = Painter(photo), to_image(canonical_face(), turned(0))
    painter.paint(frontal, turned(0))
    apart = np.abs(painter.moved(None).astype(int) - painter.moved(own.copy()))
    assert apart.mean() < 0.1


@pytest.mark.parametrize("away_deg", [20, -20])
def test_hair_of_the_far_side_stays_where_there_is_none_on_the_near_side(away_deg: float) -> None:
    hair = (30, 150, 30)
    photo = photo_of(turned(away_deg), hair=hair)
    picture = Painter(photo).paint(to_image(canonical_face(), turned(0)), turned(0))[0]
    shown = (np.abs(picture.astype(int) - hair).max(axis=-1) < 20).sum()
    photographed = (np.abs(photo.person[..., :3].astype(int) - hair).max(axis=-1) < 20).sum()
    assert shown > 0.6 * photographed


@pytest.mark.parametrize("away_deg", [20, -20])
def test_hair_of_the_far_side_keeps_its_colour_if_that_of_the_near_side_has_another(
    away_deg: float,
) -> None:
    hair, near_hair = (30, 150, 30), (250, 250, 20)
    frontal = to_image(canonical_face(), turned(0))
    both = Painter(photo_of(turned(away_deg), hair=hair, near_hair=near_hair))
    picture = both.paint(frontal, turned(0))[0]
    far = picture[:, : SIZE // 2] if away_deg > 0 else picture[:, SIZE // 2 :]
    kept = (np.abs(far.astype(int) - hair).max(axis=-1) < 60).sum()
    assert kept > 2200  # of 2,700; a strip beside the cheek is skin in the photo


@pytest.mark.parametrize(("yaw_deg", "pictures"), [(6, 1), (1, 1), (-20, 2)])
def test_a_hardly_turned_photo_is_mirrored_once_its_far_cheek_is_stretched(
    yaw_deg: float, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Mock(wraps=move_person)
    monkeypatch.setattr("reenact.rendering.painter.move_person", moved)
    brightness_of_cheeks(photo_of(turned(6)), yaw_deg)
    assert moved.call_count == pictures


def test_a_face_from_the_front_is_not_mirrored() -> None:
    for yaw_deg in (4, 25, -25):
        shown = brightness_of_cheeks(photo_of(turned(4)), yaw_deg)
        assert max(shown) > 140, yaw_deg


FACE, BESIDE = (slice(50, 78), slice(50, 78)), (slice(50, 78), slice(95, 97))
"""Cells in a face of 48×48 cells, and in hair and neck beside it."""


def share_of_mirror(
    *, turn: float = 0.0, nose_row: float = 125.0, roll_deg: float = 0.0, far_end: int = 128
) -> Array:
    """Return the share of the mirror image of a face that the photo hardly shows.

    Args:
        turn: sine of the driven yaw, towards the photo's side.
        nose_row: of the base of the nose.
        roll_deg: of the drive.
        far_end: first column of the near side.
    """
    photo, drive = turned(20), turned(float(np.rad2deg(np.arcsin(turn))), roll_deg=roll_deg)
    mirror = np.zeros((128, 128, max(MapChannel) + 1), np.float32)
    mirror[40:88, 40:88, MapChannel.SKIN] = 1
    is_near = np.arange(128) >= far_end
    mirror[..., MapChannel.ATLAS_X] = np.where(is_near, 1, -1) * yaw_sine(photo.rotation)
    maps = mirror.copy()
    maps[..., FLOW] = -np.linspace(-1, 1, 128, dtype=np.float32)[None, :, None]  # all one column
    landmarks = np.full((478, 3), 250, np.float32)
    landmarks[NOSE_BASE, :2] = 2 * 64, 2 * nose_row
    return far_share(maps, mirror, landmarks, (photo, drive), np.zeros((128, 128), np.float32))


def test_the_face_hides_hair_of_the_far_side_until_it_is_nearly_frontal() -> None:
    frontal, turned_away = (share_of_mirror(turn=turn) for turn in (0.0, 0.3))
    np.testing.assert_allclose(frontal[FACE], turned_away[FACE], atol=1e-6)
    assert frontal[FACE].min() > 0.9
    assert frontal[BESIDE].min() > 0.4
    assert turned_away[BESIDE].max() < 0.15


def test_the_near_side_is_never_mirrored() -> None:
    share = share_of_mirror(far_end=64)
    assert share[50:78, 40:58].min() > 0.6
    assert share[50:78, 74:].max() < 1e-6


def test_beside_the_face_nothing_is_mirrored_below_the_ears() -> None:
    share = share_of_mirror(nose_row=55)
    assert share[FACE].min() > 0.9
    above, below = share[BESIDE][:3], share[BESIDE][-6:]
    assert above.min() > 0.4
    assert below.max() < 0.15


@pytest.mark.parametrize("roll_deg", [30, -30])
def test_in_a_tilted_head_below_means_along_its_axis(roll_deg: float) -> None:
    left, right = (slice(66, 75), slice(31, 33)), (slice(66, 75), slice(95, 97))
    upper, lower = (left, right) if roll_deg < 0 else (right, left)
    share = share_of_mirror(nose_row=68, roll_deg=roll_deg)
    assert share[upper].min() > 0.4
    assert share[lower].max() < 0.15


def test_the_mirror_image_takes_no_wall_along() -> None:
    mirror = mirror_image(photo_of(turned(20))).person
    shown = mirror[mirror[..., 3] > 0, :3].astype(int)
    assert len(shown) > 5000
    assert np.abs(shown - WALL).max(axis=-1).min() > 60


@pytest.mark.parametrize("hair", [None, (60, 160, 60)])
@pytest.mark.parametrize("away_deg", [40, -40])
def test_no_cheek_of_the_photo_is_left_beside_the_driven_one(
    hair: Colour | None, away_deg: float
) -> None:
    photo = photo_of(turned(away_deg), hair=hair)
    pose = turned(np.sign(away_deg) * 8)
    points = to_image(canonical_face(), pose)
    painter = Painter(photo)
    picture = painter.paint(points, pose)[0].astype(int)
    alpha = painter.moved(None)
    face = cv2.dilate(region_mask(points, OVAL, SIZE), np.ones((7, 7), np.uint8))
    rows, columns = np.indices((SIZE, SIZE))
    beside = (face == 0) & (np.sign(away_deg) * (columns - 128) < 0)
    beside &= (rows > points[NOSE_BASE, 1]) & (rows < points[CHIN, 1])
    is_skin = (picture[..., 0] > 110) & (picture[..., 1] < 140)
    assert (is_skin & beside).sum() < 15
    if hair is None:
        assert (alpha[beside] > 127).sum() < 15


@pytest.mark.parametrize("away_deg", [9, -9])
def test_an_ear_beside_the_cheek_of_a_hardly_turned_photo_is_neither_hidden_nor_smeared(
    away_deg: float,
) -> None:
    ear, pose = (30, 150, 30), turned(away_deg)
    photo, far = photo_of(pose), -np.sign(away_deg)
    shape = to_image(canonical_face(), pose)
    x, y = shape[(far * shape[:, 0]).argmax(), :2].astype(int)
    place = slice(y, y + 24), slice(*sorted((x + 2 * far, x + 10 * far)))
    for layer in (photo.person, photo.shut):
        layer[place] = *ear, 255
    driven = turned(-away_deg / 4)
    picture = Painter(photo).paint(to_image(canonical_face(), driven), driven)[0]
    drawn = (np.abs(picture.astype(int) - ear).max(axis=-1) < 40).sum()
    assert 0.8 < drawn / (24 * 8) < 1.2


def test_hair_of_the_photo_ends_softly_at_the_cheek() -> None:
    maps = np.zeros((128, 128, max(MapChannel) + 1), np.float32)
    cheek = np.zeros((128, 128), np.float32)
    cheek[:, :64] = 1
    hair = own_hair(maps, cheek, np.full((512, 512), 255, np.uint8))
    assert hair[:, :60].max() == 0
    assert hair[:, 69:].min() > 0.99
    assert np.abs(np.diff(hair, axis=1)).max() < 0.3
