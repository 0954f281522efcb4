"""What is painted behind a person, and which share the person has."""

from __future__ import annotations

from contextlib import closing

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.config import TrackingSettings
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.topology import OVAL
from reenact.rendering.background import closed_above, layers_of, without_person
from reenact.rendering.warp_unet import person_coverage
from reenact.types import Array, Frame, Image
from support.faces import portrait_target

SIDE = 256
HEAD, OTHER = (100, 120), (215, 120)
"""Middles (x, y) of two heads."""


def wall() -> Image:
    """Brighter from left to right and from top to bottom."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    colours = [columns // 2 + 60, rows // 3 + 60, (rows + columns) // 4 + 60]
    return np.asarray(np.stack(colours, axis=-1), np.uint8)


def landmarks() -> Array:
    """An oval face in the first head's middle; its chin at row 160, its eye span 30 px."""
    angle = np.linspace(0, 2 * np.pi, 478, dtype=np.float32)
    points = np.stack([np.cos(angle) * 25, np.sin(angle) * 35, angle * 0], 1)
    points[list(OVAL)] = points[:: len(points) // len(OVAL)][: len(OVAL)]
    for at, place in {10: (0, -40), 152: (0, 40), 33: (-15, -10), 263: (15, -10)}.items():
        points[at, :2] = place
    points[:, :2] += HEAD
    return np.asarray(points, np.float32)


def people() -> NDArray[np.uint8]:
    """Two people, apart from each other: a head with its body, and a smaller head alone."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, HEAD, 50, (255,), -1)
    cv2.rectangle(mask, (50, 190), (150, SIDE), (255,), -1)
    cv2.rectangle(mask, (85, 150), (115, 200), (255,), -1)
    cv2.circle(mask, OTHER, 25, (255,), -1)
    return mask


def with_people() -> Image:
    picture = wall()
    picture[people() > 0] = (20, 200, 20)
    return picture


def test_the_wall_goes_on_behind_the_head_and_the_body() -> None:
    scene, *_ = layers_of(with_people(), people(), landmarks())
    away = np.abs(scene.astype(int) - wall())
    assert away[65:130, 45:155].max() < 30  # the head, down to its mouth; it differed by 140
    assert away[65:130, 45:155].mean() < 5
    assert away[200:, 50:150].mean() < 20


def test_a_strand_that_the_mask_misses_does_not_stay_on_the_wall() -> None:
    strand = (slice(63, 68), slice(HEAD[0] - 1, HEAD[0] + 2))  # the mask ends at row 70
    picture = with_people()
    picture[62:75, strand[1]] = (20, 200, 20)
    scene, share = layers_of(picture, people(), landmarks())
    assert np.abs(scene.astype(int) - wall())[strand].max() < 40
    assert share[64:68, strand[1]].min() > 100, "it moves with the head"
    np.testing.assert_array_equal(scene[62:66, 60:85], picture[62:66, 60:85])


def test_other_people_stay_until_all_are_painted_over() -> None:
    picture = with_people()
    other = (slice(100, 140), slice(200, 230))
    scene, *_ = layers_of(picture, people(), landmarks())
    np.testing.assert_array_equal(scene[other], picture[other])
    empty = without_person(picture, people())
    assert np.abs(empty.astype(int) - wall())[other].max() < 30
    assert np.abs(empty.astype(int) - wall())[200:, 50:150].mean() < 20


def test_the_share_is_that_of_the_person_alone_and_of_the_whole_face() -> None:
    mask = people()
    mask[100:110, 90:110] = 0  # glasses, which were taken for the wall
    _, share = layers_of(with_people(), mask, landmarks())
    assert share[105, 100] == 255
    assert share[230, 100] == share[120, 60] == 255, "body and hair"
    assert share[OTHER[1], OTHER[0]] == share[20, 20] == 0


@pytest.mark.parametrize("known", [0, 128, 255])
def test_a_picture_of_which_nothing_is_known_stays(known: int) -> None:
    person = np.full((SIDE, SIDE), known, np.uint8)
    scene, share = layers_of(with_people(), person, landmarks())
    np.testing.assert_array_equal(scene, with_people())
    assert (share == 255).all()


def test_a_face_that_lies_beside_all_people_changes_nothing() -> None:
    points = landmarks()
    points[:, :2] += (900, -300)  # cut to the picture's corner
    np.testing.assert_array_equal(layers_of(with_people(), people(), points)[0], with_people())


def test_nobody_is_found_behind_a_portrait() -> None:
    target = portrait_target()
    picture = np.asarray(target.references[0])
    (person,) = person_coverage(target.references, target.landmarks)
    scene, *_ = layers_of(picture, person, target.neutral)
    with closing(MediaPipeTracker(TrackingSettings(), static=True)) as tracker:
        assert tracker.track(Frame(picture, 0.0, 0)) is not None
        assert tracker.track(Frame(scene, 0.0, 0)) is None
    far = cv2.dilate((person > 12).astype(np.uint8), np.ones((31, 31), np.uint8)) == 0
    assert far.mean() > 0.05
    np.testing.assert_array_equal(scene[far], picture[far])


def test_the_share_has_no_rim_of_the_wall() -> None:
    """The segmentation is soft; where dark people end before a bright wall, the picture tells."""
    x, top = HEAD[0], HEAD[1] - 50
    mask = people()
    mask[top:190, x + 26 :] = 0  # no hair between cheek and wall
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), 3), np.uint8)
    picture = np.repeat(230 - mask[..., None] // 255 * 200, 3, axis=2).astype(np.uint8)
    _, share = layers_of(picture, soft, landmarks())
    assert share[top - 4 : top - 2, x].max() < 100
    assert share[top : top + 10, x].min() > 250
    assert share[HEAD[1], x + 30 : x + 34].max() < 100


def head(middle: tuple[float, float], half: tuple[float, float]) -> NDArray[np.bool_]:
    """Return (256, 256), True in an ellipse; x before y."""
    y, x = np.mgrid[:256, :256]
    return np.asarray(((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 < 1)


def face_at(x: float, y: float) -> Array:
    """Return the ends of a face 60 px wide and 80 high."""
    return np.array([[x - 30, y], [x + 30, y], [x, y - 40], [x, y + 40]], np.float32)


@pytest.mark.parametrize("gap", [0, 30])
@pytest.mark.parametrize("forehead", [140, 88], ids=["much hair", "hardly any hair"])
def test_a_head_that_the_edge_cuts_is_closed_above_it(forehead: int, gap: int) -> None:
    """`gap` px of the head near the edge are missing in the segmentation."""
    first_row = 80
    whole = head((120, 150), (60, 90))
    striped = np.where(np.indices(whole.shape).sum(0) // 4 % 2, 40, 80)
    striped[forehead:] = 190
    picture = np.where(whole, striped, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    person = np.where(whole, 255, 0).astype(np.uint8)
    picture[:first_row] = picture[first_row]
    person[:first_row] = person[first_row]
    person[: first_row + 5, 110 : 110 + gap] = 0
    closed, found = closed_above(picture, person, first_row, face_at(118, forehead + 40))
    np.testing.assert_array_equal(closed[first_row:], picture[first_row:])
    np.testing.assert_array_equal(found[first_row:] > 0, whole[first_row:])
    is_head, true = found[:first_row] > 0, whole[:first_row] > 0
    assert (is_head & true).sum() > 0.75 * (is_head | true).sum()
    hair, wall = closed[:first_row, :, 0][is_head], closed[:first_row, :, 0][~is_head]
    assert (hair < 100).mean() > 0.95
    if forehead == 140:
        assert hair.std() > 10, "with its detail"
    assert (wall > 190).all()


def test_slanting_strands_go_on_straight_above_the_edge() -> None:
    first_row = 80
    whole = head((120, 150), (60, 90))
    strands = np.where(np.indices(whole.shape).sum(0) // 6 % 2, 40, 80)
    picture = np.where(whole, strands, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    person = np.where(whole, 255, 0).astype(np.uint8)
    closed, _ = closed_above(picture, person, first_row, face_at(120, 190))
    near = (slice(first_row - 8, first_row), slice(110, 130))
    drawn, mirrored = closed[near][..., 0], picture[first_row : first_row + 8, near[1], 0][::-1]
    assert np.abs(drawn - strands[near]).mean() < 12
    assert np.abs(mirrored.astype(int) - strands[near]).mean() > 16


def test_the_pictures_own_alpha_keeps_its_gaps_and_is_mirrored_like_the_hair() -> None:
    first_row = 80
    whole = head((120, 150), (60, 90))
    whole[first_row + 1 : first_row + 9, 105:125] = False  # such as between two strands
    picture = np.where(whole, 60, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture[140:][whole[140:]] = 190
    person = np.where(whole, 255, 0).astype(np.uint8)
    closed, found = closed_above(picture, person, first_row, face_at(118, 180), exact=True)
    np.testing.assert_array_equal(found[first_row:], person[first_row:])
    cap = closed[:first_row, :, 0], found[:first_row]
    assert (cap[1] > 200).sum() > 500
    assert cap[0][cap[1] > 200].max() < 120, "nothing white is part of the head"
    assert found[first_row - 12 : first_row, 110:120].min() < 50


def test_a_head_as_wide_as_the_picture_is_closed_without_a_wall_beside_it() -> None:
    person = np.full((256, 256), 255, np.uint8)
    person[:80] = 0
    picture = np.full((256, 256, 3), 60, np.uint8)
    closed, found = closed_above(picture, person, 80, face_at(128, 150))
    np.testing.assert_array_equal(closed, picture)
    assert found[79].mean() > 200


def test_a_head_below_the_edge_is_left_alone() -> None:
    person = np.where(head((120, 190), (60, 60)), 255, 0).astype(np.uint8)
    picture = np.dstack([person] * 3)
    closed, found = closed_above(picture, person, 80, face_at(120, 210))
    np.testing.assert_array_equal(closed, picture)
    np.testing.assert_array_equal(found, person)


def test_a_head_that_ends_just_below_the_edge_gets_no_cap() -> None:
    """Its crown lies where the outline is measured; the wall above it is not part of a head."""
    first_row = 80
    whole = head((120, 152), (60, 68))
    picture = np.where(whole, 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture[:first_row] = 60  # the picture's mirror image
    closed, found = closed_above(
        picture, np.where(whole, 255, 0).astype(np.uint8), first_row, face_at(120, 170)
    )
    assert not (found > 0)[~whole].any()
    assert (closed[:first_row] == 200).all(), "the wall goes on above the edge"


def test_hair_that_just_touches_the_edge_does_not_go_on_above_it() -> None:
    first_row = 80
    whole = head((120, 152), (60, 68))
    whole[first_row : first_row + 6, 128:150] = True
    picture = np.where(whole, 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    person = np.where(whole, 255, 0).astype(np.uint8)
    closed, _ = closed_above(picture, person, first_row, face_at(120, 170))
    assert (closed[:first_row] == 200).all()


def test_the_cap_of_a_narrow_crown_is_as_flat_as_the_head_is_wide() -> None:
    first_row = 80
    whole = head((120, 144), (60, 68))  # cut 4 px below its top
    picture = np.where(whole, 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    person = np.where(whole, 255, 0).astype(np.uint8)
    person[:first_row] = person[first_row]
    face = face_at(120, 150) + np.array([[-20, 0], [20, 0], [0, 0], [0, 0]], np.float32)
    _, found = closed_above(picture, person, first_row, face)
    rows = np.flatnonzero((found[:first_row] > 0).any(axis=1))
    assert first_row - rows[0] in (4, 5)


def test_hair_that_is_as_light_as_skin_at_the_edge_is_mirrored_with_what_is_below() -> None:
    first_row = 80
    whole = head((120, 150), (60, 90))
    striped = np.where(np.indices(whole.shape).sum(0) // 4 % 2, 40, 80)
    striped[first_row : first_row + 4] = striped[140:] = 190
    picture = np.where(whole, striped, 230).astype(np.uint8)[..., None].repeat(3, axis=2)
    person = np.where(whole, 255, 0).astype(np.uint8)
    closed, found = closed_above(picture, person, first_row, face_at(118, 180))
    assert (found[:75] > 0).sum() > 500
    assert (closed[:75, :, 0][found[:75] > 0] < 100).mean() > 0.95, "hair instead of a streak"


def test_a_flat_crown_is_as_wide_above_the_edge_as_the_picture_shows_it() -> None:
    """Its outline further below would end at the edge."""
    first_row = 80
    y, x = np.mgrid[:256, :256]
    whole = ((x - 120) / 60.0) ** 4 + ((y - 140) / 64.0) ** 4 < 1  # cut 4 px below its top
    round_off = head((120, 141), (60, 59))
    picture = np.where(whole, 60, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture[:first_row] = picture[first_row]
    person = np.where(whole & round_off, 255, 0).astype(np.uint8)
    person[first_row : first_row + 5][whole[first_row : first_row + 5]] = 200
    _, found = closed_above(picture, person, first_row, face_at(120, 150))
    assert (found[first_row - 1] > 0).sum() > 0.8 * whole[first_row].sum()
