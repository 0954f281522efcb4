from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    region_mask,
    rotation_matrix,
    to_image,
)
from reenact.face.regions import LID_INDEX
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_INNER
from reenact.models.warp_unet_inputs import ATLAS, MapChannel
from reenact.rendering.driven_skin import visible_lips
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import (
    Reference,
    behind_person,
    enlarged,
    lay_over,
    move_person,
    walls_of,
)
from reenact.rendering.mouth_interior import MouthColours
from reenact.rendering.openings import LID_LOOPS
from reenact.types import Array, Image, Pose

SIDE = 128
SOMEWHERE = canonical_face()
AT_REST = estimate_pose(SOMEWHERE)
MIDDLE = np.array([128, 128, 0], np.float32)
NOSE_TIP, CHEEK = 4, 50
NO_MOUTH = MouthColours.of(np.zeros((SIDE, SIDE, 3), np.uint8), SOMEWHERE)
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def stripes(size: int) -> Reference:
    """Return a person of a red, a green and a blue third, from left to right."""
    person = np.full((size, size, 4), 255, np.uint8)
    for third, colour in enumerate((RED, GREEN, BLUE)):
        person[:, third * size // 3 : (third + 1) * size // 3, :3] = colour
    wall = np.full((size, size, 3), 90, np.uint8)
    return Reference(person, person, wall, wall.copy(), NO_MOUTH, SOMEWHERE, AT_REST)


def composed(reference: Reference, maps: Array, drive: Array = SOMEWHERE) -> Image:
    """Compose a picture of the reference, with a calm mouth if no landmarks are given."""
    fine = enlarged(reference.person)
    person, *_ = move_person(fine, reference, maps, drive, estimate_pose(drive))
    return lay_over(person, reference.background)


def shown_beside_a_disc(
    size: int, jump: float, middle: float = 0.5, *, nose: bool = False
) -> tuple[Image, Array]:
    """Compose a red disc, the face, before what lies `jump` of the side to the right of it.

    If it is the nose, that is the cheek.

    Returns the picture, and how far each pixel is from the middle, as a share of the side.
    """
    down, across = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    disc = np.hypot(across - middle, down - middle) < 0.25
    maps = np.zeros((SIDE, SIDE, len(MapChannel)), np.float32)
    maps[..., MapChannel.SKIN] = disc | nose
    maps[..., ATLAS] = np.where(disc[..., None], SOMEWHERE[NOSE_TIP], SOMEWHERE[CHEEK]) / 2
    source = np.where(disc, 1 / 6, 1 / 6 + jump)
    maps[..., MapChannel.FLOW_X] = 2 * (source - across)
    reference = stripes(size)
    picture = composed(reference, maps)
    down, across = (np.mgrid[:size, :size] + 0.5) / size
    return picture, np.hypot(across - middle, down - middle)


def test_an_enlarged_picture_keeps_every_second_pixel_and_is_bicubic_between_them() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (48, 40, 4), dtype=np.uint8)
    halves = np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    bicubic = cv2.warpAffine(picture, halves, (80, 96), flags=how, borderMode=cv2.BORDER_REPLICATE)
    fine = enlarged(picture)
    assert np.array_equal(fine[::2, ::2], picture)
    assert np.abs(fine.astype(int) - bicubic).max() <= 1


@pytest.mark.parametrize("nose", [False, True])
@pytest.mark.parametrize("cells_off", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("size", [256, 384, 512])
def test_nothing_between_face_and_hair_shows_at_the_outline(
    size: int, cells_off: int, nose: bool
) -> None:
    """The face shows red, what is behind it blue, and between them the reference is green.

    The same holds for the nose and the cheek behind it.
    """
    picture, distance = shown_beside_a_disc(size, 2 / 3, 0.5 + cells_off / SIDE, nose=nose)
    assert picture[..., 1].max() < 40
    is_red = picture[..., 0] > 100
    assert is_red[distance < 0.245].all()
    assert not is_red[distance > 0.255].any(), "the outline follows no steps of the cells"
    at_edge = np.abs(distance - 0.25) < 1 / size
    assert np.abs(np.diff(picture[..., 0].astype(int), axis=1))[at_edge[:, 1:]].max() < 150


@pytest.mark.parametrize("size", [256, 512])
def test_a_cheek_that_is_stretched_is_not_torn(size: int) -> None:
    """The flow is steep up to the outline, but does not jump there."""
    across = np.broadcast_to((np.arange(SIDE) + 0.5) / SIDE, (SIDE, SIDE))
    face = across > 0.5
    maps = np.zeros((SIDE, SIDE, len(MapChannel)), np.float32)
    maps[..., MapChannel.SKIN] = face
    maps[..., MapChannel.FLOW_X] = 2 * (0.5 - across) * np.where(face, 0.6, 0.0)
    reference = stripes(size)
    reference.person[..., :3] = np.linspace(0, 255, size).astype(np.uint8)[:, None]
    row = composed(reference, maps)[size // 2, :, 0]
    steps = np.diff(row[: -size // 8].astype(int))
    assert steps.min() >= 0
    assert steps.max() <= 2 * 256 // size


def with_eyes(opened: float) -> Array:
    shape = canonical_face().copy()
    upper, lower = LID_INDEX.T
    shape[upper, 1] += (1 - opened) * (shape[lower, 1] - shape[upper, 1])
    return shape


def with_jaw(opened: float) -> Array:
    shape = canonical_face().copy()
    upper, lower = shape[[13, 14], 1]
    shape[shape[:, 1] > (upper + lower) / 2, 1] += upper - lower + 0.3 * opened
    return shape


@pytest.mark.parametrize("opened", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("loops", "face"), [((EYE_RIGHT, EYE_LEFT), with_eyes), ((LIPS_INNER,), with_jaw)]
)
def test_nothing_shows_between_lids_and_lips_that_meet(
    loops: tuple[tuple[int, ...], ...], face: Callable[[float], Array], opened: float
) -> None:
    """What is inside, below the lashes, is green; almost met, it is as thin as a cell."""
    pose = Pose(np.eye(3, dtype=np.float32), MIDDLE, 60.0)
    shown, drive = (visible_lips(to_image(face(at), pose), pose) for at in (1.0, opened))
    lashes = shown.copy()
    upper, lower = LID_INDEX.T
    lashes[upper] += 0.25 * (shown[lower] - shown[upper])
    inside = np.max([region_mask(lashes, loop, 256) for loop in loops], axis=0) > 127
    picture = np.where(inside[..., None], GREEN, RED).astype(np.uint8)
    reference = Reference.of(picture, np.full((64, 64), 255, np.uint8), shown)
    maps = head_mesh().maps(shown, drive, 256, SIDE, poses=(pose, pose))
    drawn = composed(reference, maps, drive)
    green = drawn[..., 1].max()
    assert green > 150 if opened == 1 else green < 60


@pytest.mark.parametrize("opened", [0.6, 1.0, 1.5])
def test_teeth_that_extend_beyond_the_landmarks_lips_do_not_show_on_driven_lips(
    opened: float,
) -> None:
    """What is between the tracker's lips is white, or black; the visible ones are a little nearer.

    A black edge is shade of the photo, which stays.
    """
    pose = Pose(np.eye(3, dtype=np.float32), MIDDLE, 60.0)
    shown, drive = (to_image(with_jaw(at), pose) for at in (1.0, opened))
    drive = visible_lips(drive, pose)
    inside = region_mask(2 * shown + 0.5, LIPS_INNER, 512) > 0
    lips = region_mask(2 * drive + 0.5, LIPS_INNER, 512) == 0
    drawn = []
    for level in (240, 0):
        picture = np.where(inside[..., None], level, RED).astype(np.uint8)
        reference = Reference.of(picture, np.full((64, 64), 255, np.uint8), 2 * shown + 0.5)
        assert reference.teeth_end is not None, "the photo's mouth is open"
        poses = reference.pose, pose
        maps = head_mesh().maps(
            reference.landmarks, drive, 256, SIDE, poses=poses, teeth_end=reference.teeth_end
        )
        drawn.append(composed(reference, maps, drive))
    bright, dark = drawn
    assert bright[lips, 1].max() < 60
    assert bright[~lips, 1].max() > 120
    assert dark[lips, 0].min() < 60


def test_large_eyes_have_no_thicker_lashes() -> None:
    """What is below the lashes of an eye that is drawn three times as high is green."""
    pose = Pose(np.eye(3, dtype=np.float32), MIDDLE, 60.0)
    shown = to_image(with_eyes(3.0), pose)
    lashes = shown.copy()
    lashes[LID_INDEX[:, 0], 1] += 0.05 * 60 * 0.5
    inside, below = (
        np.max([region_mask(eye, loop, 256) for loop in (EYE_RIGHT, EYE_LEFT)], axis=0) > 127
        for eye in (shown, lashes)
    )
    picture = np.where(below[..., None], GREEN, RED).astype(np.uint8)
    shut = Reference.of(picture, np.full((64, 64), 255, np.uint8), shown).shut
    assert picture[inside, 1].mean() > 150
    assert (shut[inside, 1] > 100).mean() < 0.03


def test_the_line_of_shut_lashes_is_dark_where_lashes_are_and_never_white() -> None:
    """The eye on the image's left has lashes, and both are white right below their upper edge."""
    pose = Pose(np.eye(3, dtype=np.float32), MIDDLE, 60.0)
    shown = 2 * to_image(with_eyes(1.0), pose)
    lids, below = shown.copy(), shown.copy()
    upper, lower = LID_INDEX.T
    lids[upper] -= 0.3 * (shown[lower] - shown[upper])
    below[upper] += 0.1 * (shown[lower] - shown[upper])
    lid, right, under, left = (
        region_mask(eyes, loop, 512) > 127
        for eyes, loop in (
            (lids, EYE_RIGHT),
            (shown, EYE_RIGHT),
            (below, EYE_RIGHT),
            (shown, EYE_LEFT),
        )
    )
    picture = np.full((512, 512, 3), 150, np.uint8)
    picture[lid], picture[under | left] = 40, 250
    shut = Reference.of(picture, np.full((64, 64), 255, np.uint8), shown).shut[..., :3]
    assert shut[right | left].max() <= 155
    assert np.median(shut[right & ~under]) < 60


def test_a_shut_eye_has_the_skin_of_its_upper_lid() -> None:
    """The white of the eye and the lower lid are pale."""
    pose = Pose(np.eye(3, dtype=np.float32), MIDDLE, 60.0)
    shown = 2 * to_image(with_eyes(1.0), pose)
    skin, pale = (150, 100, 80), (240, 220, 230)
    picture = np.full((512, 512, 3), skin, np.uint8)
    for loop in (EYE_RIGHT, EYE_LEFT):
        eye = region_mask(shown, loop, 512) > 0
        for column in np.flatnonzero(eye.any(axis=0)):
            picture[eye[:, column].argmax() :, column] = pale
    shut = Reference.of(picture, np.full((64, 64), 255, np.uint8), shown).shut[..., :3]
    middles = shown[LID_INDEX].mean(axis=1)[:, :2].round().astype(int)
    inner = [3, 4, 10, 11]
    for column, row in middles[inner]:
        np.testing.assert_allclose(shut[row, column], skin, atol=12)


@pytest.mark.parametrize("opened", [0.0, 0.4])
@pytest.mark.parametrize("roll", [0.0, 0.4])
def test_lashes_of_an_open_eye_do_not_stand_upright_on_its_lowered_lid(
    roll: float, opened: float
) -> None:
    """They are dark lines across the lid, on skin that becomes darker towards the brow."""
    pose = Pose(rotation_matrix(np.array([0, 0, roll], np.float32)), MIDDLE, 60.0)
    shown, shut = (to_image(with_eyes(at), pose) for at in (1.0, opened))
    rows, columns = np.indices((512, 512))
    along = columns * np.cos(roll) + rows * np.sin(roll)
    skin = 150 + (rows * np.cos(roll) - columns * np.sin(roll))[..., None] / 8
    lid = np.max([region_mask(2 * shown, loop, 512) for loop in LID_LOOPS], axis=0) > 127
    lashes = lid & (along % 9 < 3)
    picture = np.where(lashes[..., None], 60, skin).astype(np.uint8).repeat(3, axis=2)
    drawn = []
    for photo in (picture, skin.astype(np.uint8).repeat(3, axis=2)):
        reference = Reference.of(photo, np.full((64, 64), 255, np.uint8), 2 * shown)
        for drive in (shown, shut):
            maps = head_mesh().maps(shown, drive, 256, SIDE, poses=(pose, pose))
            drawn.append(composed(reference, maps, drive)[..., 0].astype(int))
    lid = np.max([region_mask(2 * shut, loop, 512) for loop in LID_LOOPS], axis=0) > 250
    (still, closed), (still_bare, closed_bare) = drawn[:2], drawn[2:]
    assert np.abs(still - still_bare)[lashes].mean() > 60, "an open eye keeps them"
    assert np.abs(closed - closed_bare)[lid].mean() < 12
    assert np.abs(closed_bare - skin[..., 0])[lid].mean() < 12, "a lid without them is kept"


@pytest.mark.parametrize("roll", [0.15, 0.3])
def test_the_line_between_shut_lids_has_no_steps(roll: float) -> None:
    pose = Pose(rotation_matrix(np.array([0, 0, roll], np.float32)), MIDDLE, 60.0)
    shown, drive = (to_image(with_eyes(opened), pose) for opened in (1.0, 0.0))
    picture = np.full((512, 512, 3), RED, np.uint8)
    corners = 2 * shown[[33, 133], :2]
    rows, columns = np.indices((512, 512))
    below = rows > np.interp(columns, *corners.T)
    picture[below] = GREEN
    reference = Reference.of(picture, np.full((64, 64), 255, np.uint8), 2 * shown)
    maps = head_mesh().maps(shown, drive, 256, SIDE, poses=(pose, pose))
    drawn = composed(reference, maps, drive)[..., 1].astype(int)
    first, last = np.round(2 * np.interp([0.2, 0.8], [0, 1], drive[[33, 133], 0])).astype(int)
    line = np.array([(drawn[150:350, x] > 127).argmax() for x in range(first, last)])
    curve = np.polyval(np.polyfit(np.arange(len(line)), line, 3), np.arange(len(line)))
    assert np.abs(line - curve).max() < 0.8


def test_without_a_face_in_the_crop_the_picture_is_composed_as_it_is() -> None:
    reference = stripes(256)
    maps = np.zeros((SIDE, SIDE, len(MapChannel)), np.float32)
    picture = composed(reference, maps)
    np.testing.assert_allclose(picture, reference.person[..., :3], atol=60)
    np.testing.assert_array_equal(picture[:, 40], reference.person[:, 40, :3])


def test_behind_a_person_who_keeps_still_is_the_photo() -> None:
    reference = stripes(256)
    reference.still[:] = 200
    maps = np.zeros((SIDE, SIDE, len(MapChannel)), np.float32)
    for shift, wall in ((0.0, 200), (0.02, 90)):  # halves of the side
        maps[..., MapChannel.FLOW_X] = shift
        np.testing.assert_array_equal(behind_person(reference, walls_of(reference), maps), wall)
