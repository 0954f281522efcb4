from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    filled_outline,
    region_mask,
    rotation_matrix,
    to_image,
)
from reenact.face.topology import (
    CHIN,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    MOUTH_CORNERS,
)
from reenact.imaging import below_white
from reenact.rendering.mouth_interior import (
    MouthColours,
    TeethRow,
    dim_mouth,
    dimming,
    draw_mouth,
    place_teeth,
    within_lips,
)
from reenact.rendering.openings import teeth_end_of
from reenact.types import Array, Image, Pose

LIGHT = np.array([180, 140, 120], np.float32)
CENTRAL_INCISOR_MM = 8.5
PX_PER_MM = 60 / 63
"""Of the faces below, whose iod is 60 px."""


def face(
    gap_iod: float = 0.0, lip_iod: float = 0.0, roll: float = 0.0, scale: float = 60.0
) -> Array:
    """Return (478, 3) px of the canonical face with its mouth open by so much more.

    The jaw drops by `gap_iod`, and the upper lip rises by `lip_iod`.
    """
    shape = canonical_face().copy()
    upper, lower = list(LIPS_INNER[10:]), [*LIPS_INNER[:10], CHIN]
    shape[lower, 1] += gap_iod
    shape[upper, 1] -= lip_iod
    rotation = rotation_matrix(np.array([0, 0, roll], np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 110, 0], np.float32), scale))


def rows(drive: Array, reference: Array | None = None) -> tuple[TeethRow, TeethRow]:
    """Return the upper and the lower teeth."""
    reference = face() if reference is None else reference
    poses = estimate_pose(reference), estimate_pose(drive)
    lower, upper = place_teeth(reference, drive, poses)
    return upper, lower


def colours_of(light: Array, whites: int | tuple[int, int, int] | None = None) -> MouthColours:
    """Return the colours of a mouth for a face in one colour, and the whites of its eyes."""
    points = face()
    picture = np.broadcast_to(light.astype(np.uint8), (256, 256, 3)).copy()
    if whites is not None:
        for eye in (EYE_RIGHT, EYE_LEFT):
            picture[region_mask(points, eye, 256) > 0] = whites
    return MouthColours.of(picture, points)


def draw(
    box: Image,
    unseen: Array,
    drive: Array,
    *,
    zoom: float,
    corner: tuple[int, int] = (0, 0),
    light: Array = LIGHT,
) -> None:
    """Draw the inside of a mouth into a box of a picture."""
    upper, lower = rows(drive)
    unseen = unseen * within_lips(drive, corner, zoom, box)
    draw_mouth(box, unseen, corner, drive, (lower, upper), colours=colours_of(light), zoom=zoom)


def drawn(drive: Array, size: int = 512, light: Array = LIGHT) -> Array:
    """Return the picture (S, S, 3) of the inside of a mouth on a white face."""
    box = np.full((size, size, 4), 255, np.uint8)
    unseen = np.ones((size, size), np.float32)
    draw(box, unseen, drive, zoom=size / 256, light=light)
    return box[..., :3].astype(np.float32)


def test_upper_teeth_keep_still_while_lips_move_and_lower_ones_follow_the_jaw() -> None:
    (upper, lower), smiling, shouting = (rows(one) for one in (face(), face(0.0, 0.1), face(0.5)))
    for moved in (smiling, shouting):
        np.testing.assert_allclose(moved[0].edge, upper.edge, atol=0.5)
    np.testing.assert_allclose(smiling[1].edge, lower.edge, atol=0.5)
    dropped = (shouting[1].edge - lower.edge)[:, 1]
    front = len(dropped) // 2
    assert dropped[front] == pytest.approx(0.5 * 60, abs=6)
    assert (np.diff(dropped[: front + 1]) > 0).all()
    assert (np.diff(dropped[front:]) < 0).all()  # the jaw rotates about a joint behind the teeth
    np.testing.assert_allclose(dropped[[0, -1]], 0.75 * dropped[front], rtol=0.1)


def test_a_short_upper_lip_shows_more_of_the_upper_teeth() -> None:
    lips = list(LIPS_INNER)
    edges = []
    for shift_px in (-3.0, 3.0):
        reference = face()
        reference[lips, 1] += shift_px
        upper, _ = rows(reference, reference)
        edges.append(upper.edge[len(upper.edge) // 2, 1] - reference[13, 1])
    shorter, longer = edges
    assert shorter - longer == pytest.approx(0.35 * 6, abs=0.3)


@pytest.mark.parametrize(("whites", "brighter"), [(200, 2**0.5), (70, 0.7**0.5), (30, 0.8)])
def test_teeth_are_as_bright_as_skin_and_whites_of_the_eyes_say(
    whites: int, brighter: float
) -> None:
    skin = np.full(3, 100.0, np.float32)
    plain, lit = (np.array(colours_of(skin, one).teeth) for one in (None, whites))
    np.testing.assert_allclose(lit, brighter * plain, rtol=0.03)


def test_teeth_of_reddish_skin_are_as_neutral_as_its_eyes_say() -> None:
    skin = np.array([120.0, 80, 70], np.float32)
    plain, white = (np.array(colours_of(skin, one).teeth) for one in (None, (100, 100, 100)))
    np.testing.assert_allclose(white / plain, np.sqrt(100 / skin), rtol=0.03)


def test_dark_skin_has_bright_teeth() -> None:
    skin = np.full(3, 25.0, np.float32)
    plain, lit = (np.array(colours_of(skin, one).teeth) for one in (None, 200))
    assert (lit > 2.5 * plain).all()


def test_the_mouth_of_a_grey_photo_is_grey() -> None:
    colours = colours_of(np.full(3, 100.0, np.float32))
    for name in ("teeth", "gums", "tongue", "cavity", "cheeks", "shade"):
        assert np.ptp(getattr(colours, name)) < 1e-6
    red, _, blue = colours_of(LIGHT).tongue
    assert red > 1.5 * blue


def test_the_mouth_of_a_pale_face_with_red_lips_is_not_grey() -> None:
    points = face()
    picture = np.full((256, 256, 3), 200, np.uint8)
    picture[region_mask(points, LIPS_OUTER, 256) > 0] = 180, 90, 90
    red, _, blue = MouthColours.of(picture, points).tongue
    assert red > 1.2 * blue


def test_shaded_teeth_of_a_bright_face_are_as_bright_in_proportion_to_it() -> None:
    parted = face(0.1, 0.05)
    inside = region_mask(parted, LIPS_INNER, 256) > 250
    brightest = []
    for level in (100, 200):
        picture = drawn(parted, 256, np.full(3, level, np.float32))
        brightest.append(np.percentile(picture[inside], 90) / level)
    assert brightest[0] > 0.7, "the lips show teeth"
    unlimited = np.array(200 * brightest[0], np.float32)
    assert 200 * brightest[1] == pytest.approx(float(below_white(unlimited)), rel=0.05)


def lower_teeth_px(chin_px: float, wider_px: float = 0) -> float:
    """Return how high the lower teeth stand above a lower lip that has left them by 12 px."""
    acting = face()
    acting[[index for index in LIPS_INNER[:10] if index not in MOUTH_CORNERS], 1] += 12
    acting[CHIN, 1] += chin_px
    acting[list(MOUTH_CORNERS), 0] += np.array([-wider_px, wider_px])
    return float(acting[14, 1] - rows(acting)[1].edge[100, 1])


def test_a_smile_bares_the_lower_teeth() -> None:
    assert lower_teeth_px(5, 6) - lower_teeth_px(5) == pytest.approx(0.45 * 12, abs=0.8)


def test_a_lip_drawn_off_the_chin_bares_the_lower_teeth() -> None:
    mm = 60 / 63
    assert [lower_teeth_px(chin) for chin in (5, 7)] == pytest.approx([2.5 * mm] * 2, abs=0.1)
    assert lower_teeth_px(1) - lower_teeth_px(2) == pytest.approx(0.8 * 2.4, abs=0.1)
    assert lower_teeth_px(0) == lower_teeth_px(0, 3) == pytest.approx(9 * mm, abs=0.1)
    assert lower_teeth_px(0, -3) < 0, "a pucker bares none"


def test_teeth_stay_with_the_head_when_a_smile_lifts_the_nose() -> None:
    calm, lifted = face(), face()
    lifted[2, 1] -= 3
    np.testing.assert_allclose(rows(lifted)[0].edge[:, 1], rows(calm)[0].edge[:, 1], atol=0.5)


def test_teeth_turn_and_grow_with_the_head() -> None:
    upright, tilted = rows(face(0.4)), rows(face(0.4, roll=0.4), face(roll=0.4))
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    for before, after in zip(upright, tilted, strict=True):
        wanted = (before.edge - [128, 110]) @ turn.T + [128, 110]
        np.testing.assert_allclose(after.edge, wanted, atol=1)
        np.testing.assert_allclose(after.towards_gums, turn @ before.towards_gums, atol=0.05)
    near, _ = rows(face(0.4, scale=90), face())
    np.testing.assert_allclose(near.towards_gums, 1.5 * upright[0].towards_gums, atol=0.05)


@pytest.mark.parametrize("end", [0.25, 0.75])
@pytest.mark.parametrize("rise_iod", [0.0, 0.08])
def test_teeth_beside_those_of_an_open_photo_end_where_its_own_do(
    rise_iod: float, end: float
) -> None:
    """Its own hang from the lip, so that others would be a second row below them."""
    laughing, driven = face(0.4), face(0.4, rise_iod)
    poses = estimate_pose(laughing), estimate_pose(driven)
    _, upper = place_teeth(laughing, driven, poses, end)
    gap = laughing[14, 1] - laughing[13, 1]
    assert upper.edge[100, 1] == pytest.approx(driven[13, 1] + end * gap, abs=0.5)


@pytest.mark.parametrize("end", [0.25, 0.75])
def test_teeth_that_replace_those_of_an_open_photo_keep_still(end: float) -> None:
    laughing, shouting = face(0.3), face(0.5, 0.1)
    poses = estimate_pose(laughing), estimate_pose(shouting)
    _, upper = place_teeth(laughing, shouting, poses, end)
    top, bottom = laughing[[13, 14], 1]
    assert upper.edge[100, 1] == pytest.approx(top + end * (bottom - top), abs=0.5)


def test_upper_teeth_whose_end_is_not_seen_are_where_those_of_a_closed_photo_are() -> None:
    laughing = face(0.4)
    poses = (estimate_pose(laughing),) * 2
    unknown, closed = (place_teeth(laughing, laughing, poses, end)[1] for end in (1.0, None))
    np.testing.assert_allclose(unknown.edge, closed.edge)


def test_gums_extend_to_a_lip_that_is_raised_far() -> None:
    drive = face(0.1, 0.25)
    middle, lip = np.round(2 * drive[13, :2] + 0.5).astype(int)
    shown = drawn(drive)[lip + 3 : lip + 8, middle - 15 : middle + 15].mean(axis=(0, 1))
    assert shown[0] > 0.4 * LIGHT[0], "there is no dark gap above them"


def test_lips_that_hardly_part_show_a_dark_red_line_and_no_teeth() -> None:
    narrow, wide = face(-0.05), face(0.25, 0.1)
    dark, lit = (
        drawn(drive)[filled_outline(2 * drive[list(LIPS_INNER), :2] + 0.5, (512, 512)) == 255]
        / LIGHT
        for drive in (narrow, wide)
    )
    assert dark.mean(axis=1).max() < 0.8
    assert np.percentile(lit.mean(axis=1), 95) > 1.2
    red, green, _ = dark.mean(axis=0)
    assert red > 1.3 * green


def test_single_teeth_are_to_be_seen_above_a_dark_mouth() -> None:
    drive = face(0.6, 0.12)
    luma = drawn(drive).mean(axis=-1)
    middle, upper_lip = np.round(2 * drive[13, :2] + 0.5).astype(int)
    teeth = luma[upper_lip + 4 : upper_lip + 10, middle - 40 : middle + 40].mean(axis=0)
    palate = luma[upper_lip + 34 : upper_lip + 40, middle - 20 : middle + 20].mean()
    assert teeth.max() > 2 * palate
    # The gap between the central incisors, and those beside them.
    width = 2 * PX_PER_MM * CENTRAL_INCISOR_MM
    for gap in (40, 40 - width, 40 + width):
        line = teeth[round(gap) - 2 : round(gap) + 2].min()
        beside = (teeth[round(gap - width / 4)] + teeth[round(gap + width / 4)]) / 2
        # Where both rows are seen, teeth with darker lines between them look like braces.
        assert 0.88 < line / beside < 0.96


def test_a_picture_of_another_size_shows_the_same() -> None:
    drive = face(0.6, 0.12, roll=0.3)
    small, large = (drawn(drive, size) for size in (256, 512))
    shrunken = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunken - small).mean() < 0.5
    assert np.corrcoef(shrunken.ravel(), small.ravel())[0, 1] > 0.99


def test_nothing_is_drawn_beyond_the_lips_or_where_the_photo_shows_the_mouth() -> None:
    drive = face(0.5)
    picture = drawn(drive)
    inside = np.zeros((512, 512), np.uint8)
    outline = np.round(2 * drive[list(LIPS_INNER), :2] + 0.5).astype(np.int32)
    cv2.fillPoly(inside, [outline], (255,))
    beyond = cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0
    assert (picture[beyond] == 255).all()
    assert picture[inside > 0].mean() < 150
    box = np.full((512, 512, 4), 9, np.uint8)
    shown = np.zeros((512, 512), np.float32)
    draw(box, shown, drive, zoom=2)
    assert (box == 9).all()


def test_a_part_of_a_picture_shows_that_part() -> None:
    drive = face(0.5)
    whole = drawn(drive, 256)
    box = np.full((80, 64, 4), 255, np.uint8)
    unseen = np.ones((80, 64), np.float32)
    draw(box, unseen, drive, zoom=1, corner=(150, 100))
    np.testing.assert_allclose(box[..., :3], whole[150:230, 100:164], atol=2)


@pytest.mark.parametrize("divisor", [2, 4])
def test_the_mouth_is_as_dark_as_its_face(divisor: int) -> None:
    drive = face(0.5, 0.1)
    opening = drawn(drive).min(axis=-1) < 200
    bright, dark = drawn(drive), drawn(drive, light=LIGHT / divisor)
    np.testing.assert_allclose(
        dark[opening].mean(axis=0), bright[opening].mean(axis=0) / divisor, rtol=0.2, atol=2
    )


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ([(0.0, 0.5, 220), (0.5, 0.6, 40), (0.6, 1.0, 190)], 0.55),
        ([(0.0, 0.3, 220), (0.3, 0.4, 30), (0.4, 1.0, 130)], 0.35),
        ([(0.0, 1.0, 220)], 1.0),
        ([(0.0, 0.5, 220), (0.5, 0.6, 180), (0.6, 1.0, 190)], 1.0),
        ([(0.0, 0.6, 220), (0.6, 1.0, 40)], 1.0),
    ],
    ids=["lower teeth", "tongue", "upper teeth alone", "a faint shadow", "a dark cavity"],
)
def test_upper_teeth_end_at_a_dark_gap_above_something_brighter(
    bands: list[tuple[float, float, int]], expected: float
) -> None:
    points = face(gap_iod=0.4)
    top, bottom = points[13, 1], points[14, 1]
    picture = np.full((256, 256, 3), 40, np.uint8)
    for first, last, level in bands:
        rows = slice(*(round(float(top + at * (bottom - top))) for at in (first, last)))
        picture[rows] = level
    assert teeth_end_of(picture, points) == pytest.approx(expected, abs=0.06)
    assert teeth_end_of(picture, face(gap_iod=-0.04)) is None, "its lips are closed"


def test_the_teeth_of_a_photo_are_darker_between_narrower_lips() -> None:
    poses = {gap: estimate_pose(face(gap)) for gap in (0.05, 0.2, 0.4)}
    photo = face(0.2)
    colours = MouthColours.of(np.full((256, 256, 3), 128, np.uint8), photo)
    narrower, same, wider = (dimming(colours, face(gap), pose) for gap, pose in poses.items())
    assert (same, wider) == pytest.approx((1, 1), abs=0.01)
    assert 0.5 < narrower < 0.95
    box = np.full((256, 256, 4), 200, np.uint8)
    dim_mouth(box, within_lips(face(0.05), (0, 0), 1, box), narrower)
    inside = filled_outline(face(0.05)[list(LIPS_INNER), :2], (256, 256)) == 255
    np.testing.assert_allclose(box[inside, :3], 200 * narrower, atol=2)
    assert (box[..., 3] >= 199).all()
