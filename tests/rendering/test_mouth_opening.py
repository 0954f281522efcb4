from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import canonical_face, estimate_pose, rotation_matrix, to_image
from reenact.face.topology import LIPS_INNER, MOUTH_CORNERS
from reenact.rendering import openings
from reenact.types import Array, Pose

LOWER, UPPER = list(LIPS_INNER[1:10]), list(LIPS_INNER[11:])
"""The lips' inner edges without the corners; their middles are 14 and 13."""


def face(gap_iod: float, yaw: float = 0.0, roll: float = 0.0, scale: float = 60.0) -> Array:
    """Return (478, 3) px of the canonical face whose lower lip hangs lower, most in the middle."""
    shape = canonical_face().copy()
    middle = shape[14, 0]
    width = np.abs(shape[LOWER, 0] - middle).max() * 1.2
    shape[LOWER, 1] += gap_iod * (1 - ((shape[LOWER, 0] - middle) / width) ** 2)
    rotation = rotation_matrix(np.array([0, yaw, roll], np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 128, 0], np.float32), scale))


def mouth_sources(
    places: Array, reference: Array, drive: Array, teeth_end: float | None = None
) -> tuple[Array, Array]:
    poses = estimate_pose(reference), estimate_pose(drive)
    return openings.mouth_sources(places, reference, drive, poses, teeth_end)[:2]


def down_the_middle(points: Array, count: int = 9) -> tuple[Array, Array]:
    """Return places from the upper to the lower lip, and their distances from the upper one."""
    top, bottom = points[13, :2], points[14, :2]
    shares = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return top + shares * (bottom - top), shares[:, 0] * np.linalg.norm(bottom - top)


def test_the_same_mouth_is_not_moved() -> None:
    points = face(0.2, yaw=0.2, roll=0.3)
    places, _ = down_the_middle(points)
    found, missing = mouth_sources(places, points, points)
    np.testing.assert_allclose(found, places, atol=0.2)
    np.testing.assert_allclose(missing, 0, atol=0.05)


def test_teeth_keep_their_size_when_the_mouth_opens_wider() -> None:
    reference, drive = face(0.15), face(0.45)
    places, depths = down_the_middle(drive)
    found, missing = mouth_sources(places, reference, drive)
    gap = float(np.linalg.norm(reference[14] - reference[13]))
    assert depths[-1] > 1.8 * gap, "or nothing is stretched"
    assert (missing[depths < gap] < 0.05).all()
    assert (missing[depths > gap + 3] == 1).all(), "below it, there is nothing to be had"
    np.testing.assert_allclose(
        found[:, 1] - reference[13, 1], np.minimum(depths, gap), atol=0.05 * gap
    )


@pytest.mark.parametrize("teeth_end", [0.4, 1.0])
def test_an_open_mouth_that_grows_far_shows_nothing_of_the_reference(teeth_end: float) -> None:
    reference = face(0.15)
    grown = []
    for gap in (0.15, 0.24, 0.3, 0.45):
        places, _ = down_the_middle(face(gap))
        _, missing = mouth_sources(places, reference, face(gap), teeth_end)
        grown.append(missing.min())
    assert grown[:2] == [0, 0]
    assert grown[2] == pytest.approx(0.5, abs=0.1)
    assert grown[3] == 1
    smiling = face(0.15)
    wider = smiling[list(LIPS_INNER), 0] - smiling[13, 0]
    smiling[list(MOUTH_CORNERS), 0] += 0.4 * (smiling[list(MOUTH_CORNERS), 0] - smiling[13, 0])
    smiling[list(LIPS_INNER), 0] += 0.4 * wider
    _, missing = mouth_sources(down_the_middle(smiling)[0], reference, smiling, teeth_end)
    assert missing.min() == 1


def test_the_teeth_of_a_broad_smile_stay_in_the_picture() -> None:
    smile, shout = face(0.2), face(0.5)
    for points in (smile, shout):
        points[list(LIPS_INNER), 0] += 0.4 * (points[list(LIPS_INNER), 0] - points[13, 0])
        points[list(MOUTH_CORNERS), 0] += 0.4 * (points[list(MOUTH_CORNERS), 0] - points[13, 0])
    places, depths = down_the_middle(shout)
    _, missing = mouth_sources(places, smile, shout, 1.0)
    gap = float(np.linalg.norm(smile[14] - smile[13]))
    assert (missing[depths < gap] < 0.05).all()
    assert missing.max() == 1


def test_a_closing_mouth_covers_the_teeth_from_below() -> None:
    reference, drive = face(0.4), face(0.1)
    places, depths = down_the_middle(drive)
    found, missing = mouth_sources(places, reference, drive)
    np.testing.assert_allclose(found[:, 1] - reference[13, 1], depths, atol=0.5)
    np.testing.assert_allclose(missing, 0, atol=0.05)


def test_what_is_below_the_upper_teeth_moves_with_the_lower_lip() -> None:
    reference, drive = face(0.3), face(0.39)
    places, depths = down_the_middle(drive, 61)
    found, missing = mouth_sources(places, reference, drive, 0.4)
    gap = float(np.linalg.norm(reference[14] - reference[13]))
    upper, lower = depths < 0.39 * gap, depths[-1] - depths < 0.59 * gap
    assert upper.sum() > 3
    assert lower.sum() > 3
    source = found[:, 1] - reference[13, 1]
    np.testing.assert_allclose(source[upper], depths[upper], atol=0.05 * gap)
    np.testing.assert_allclose(source[lower], (gap - depths[-1] + depths)[lower], atol=0.05 * gap)
    assert (missing[upper | lower] < 0.1).all()
    assert missing[~upper & ~lower].max() == 1, "between them, nothing is known"


@pytest.mark.parametrize("teeth_end", [0.4, 1.0])
def test_upper_teeth_rise_with_the_lip(teeth_end: float) -> None:
    reference, drive = face(0.3), face(0.3)
    rise = 0.1 * 60
    drive[UPPER, 1] -= rise
    places, depths = down_the_middle(drive, 41)
    found, missing = mouth_sources(places, reference, drive, teeth_end)
    gap = float(np.linalg.norm(reference[14] - reference[13]))
    teeth = depths < 0.38 * gap
    assert teeth.sum() > 3
    np.testing.assert_allclose(found[teeth, 1], places[teeth, 1] + rise, atol=0.5)
    assert (missing[teeth] < 0.1).all()


@pytest.mark.parametrize("teeth_end", [0.5, 1.0])
def test_a_more_curved_upper_lip_hides_the_sides_of_the_row_and_does_not_bend_it(
    teeth_end: float,
) -> None:
    reference, drive = face(0.4), face(0.4)
    lip = [*UPPER, 78, 308]
    half = np.abs(drive[UPPER, 0] - drive[13, 0]).max()
    drive[lip, 1] += 10 * ((drive[lip, 0] - drive[13, 0]) / half) ** 2
    sides = np.array([UPPER[2], UPPER[-3]])
    assert (drive[sides, 1] - reference[sides, 1]).min() > 2
    places = drive[sides, :2] + np.array([0, 2], np.float32)
    found, missing = mouth_sources(places, reference, drive, teeth_end)
    np.testing.assert_allclose(found, places, atol=0.5)
    np.testing.assert_allclose(missing, 0, atol=0.05)


def test_upper_teeth_cover_the_lower_ones_as_a_mouth_closes() -> None:
    reference, drive = face(0.4), face(0.15)
    places, depths = down_the_middle(drive, 21)
    found, missing = mouth_sources(places, reference, drive, 0.4)
    gap = float(np.linalg.norm(reference[14] - reference[13]))
    upper = depths < 0.39 * gap
    source = found[:, 1] - reference[13, 1]
    np.testing.assert_allclose(source[upper], depths[upper], atol=0.05 * gap)
    np.testing.assert_allclose(
        source[~upper][1:], (gap - depths[-1] + depths)[~upper][1:], atol=0.05 * gap
    )
    np.testing.assert_allclose(missing, 0, atol=0.05)


def test_a_closed_mouth_that_widens_has_nothing_unseen_beside_its_corners() -> None:
    closed = face(0.0)
    closed[LOWER, 1] = closed[UPPER, 1]
    wide, open_wide = (points.copy() for points in (closed, face(0.2)))
    corners = list(MOUTH_CORNERS)
    for points in (wide, open_wide):
        points[LIPS_INNER, 0] = 128 + 1.3 * (points[LIPS_INNER, 0] - 128)
        points[corners, 0] = 128 + 1.3 * (points[corners, 0] - 128)
    shares = np.linspace(0.02, 0.98, 25, dtype=np.float32)[:, None]
    places = wide[78, :2] + shares * (wide[308, :2] - wide[78, :2])
    np.testing.assert_allclose(mouth_sources(places, closed, wide)[1], 0, atol=0.1)
    places[:, 1] += 3
    assert mouth_sources(places, closed, open_wide)[1][[1, -2]].min() == 1


@pytest.mark.parametrize(("roll", "scale"), [(0.4, 60.0), (0.0, 90.0), (-0.3, 45.0)])
def test_teeth_go_with_the_head(roll: float, scale: float) -> None:
    """The same mouth, tilted and nearer, finds the same places."""
    reference = face(0.3)
    places, _ = down_the_middle(face(0.3, roll=roll, scale=scale))
    expected, _ = down_the_middle(reference)
    found, _ = mouth_sources(places, reference, face(0.3, roll=roll, scale=scale))
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_teeth_of_a_turned_head_are_narrower() -> None:
    reference, drive = face(0.3), face(0.3, yaw=0.7)
    across = np.array([[-4, 0], [4, 0]], np.float32) + (drive[13, :2] + drive[14, :2]) / 2
    found, _ = mouth_sources(across, reference, drive)
    assert found[1, 0] - found[0, 0] == pytest.approx(8 / np.cos(0.7), rel=0.1)


def test_nothing_is_taken_from_outside_the_lips() -> None:
    reference, drive = face(0.0), face(0.5)
    drive[list(LIPS_INNER)] += 0.3 * (drive[list(LIPS_INNER)] - drive[13])  # wider, too
    lips = drive[list(LIPS_INNER), :2]
    inside = np.concatenate([lips.mean(0) + share * (lips - lips.mean(0)) for share in (0, 0.5, 1)])
    found, missing = mouth_sources(inside, reference, drive)
    lips = reference[list(LIPS_INNER), :2]
    assert (found >= lips.min(0) - 0.01).all()
    assert (found <= lips.max(0) + 0.01).all()
    assert missing[0] == 1


def test_lips_in_one_point_are_no_error() -> None:
    shut = face(0.2)
    shut[list(LIPS_INNER)] = shut[13]
    found, _ = mouth_sources(np.array([[128.0, 150.0]], np.float32), shut, shut)
    np.testing.assert_allclose(found, shut[None, 13, :2], atol=1e-3)
