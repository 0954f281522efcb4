from __future__ import annotations

import numpy as np

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE
from reenact.face.reference_ranking import SeenFaces
from reenact.rendering.warp_unet import WarpUNetRenderer
from reenact.types import Array, Body, MovedPart
from support.faces import opened_mouth, portrait_target, turned


def with_lids(points: Array, share: float) -> Array:
    """Return a face whose eyes are open by a share of what they were."""
    result = points.copy()
    for upper, lower in (RIGHT_EYE, LEFT_EYE):
        result[upper[1:-1]] += (1 - share) * (points[lower[1:-1]] - points[upper[1:-1]])
    return result


def test_open_eyes_are_drawn_from_open_ones_though_these_are_farther_turned() -> None:
    points = portrait_target().neutral
    seen = SeenFaces(np.stack([with_lids(points, 0.1), turned(points, 10)]))
    assert seen.distances(points).argmin() == 1
    assert seen.distances(with_lids(points, 0.1)).argmin() == 0
    nearly_alike = SeenFaces(np.stack([points, turned(with_lids(points, 0.1), 10)]))
    assert nearly_alike.distances(with_lids(points, 0.1)).argmin() == 0, "open eyes can be shut"


def test_after_a_blink_shut_eyes_are_left_although_only_they_have_the_open_mouth() -> None:
    points = portrait_target().neutral
    talking = opened_mouth(points, 16)
    calm, shut = SeenFaces(np.stack([points, with_lids(talking, 0.1)])).distances(talking)
    assert calm < WarpUNetRenderer.SWITCH_RATIO * shut


def test_a_turned_or_talking_face_is_farther_than_a_moved_or_larger_one() -> None:
    points = portrait_target().neutral
    moved = points + np.array([10, -4, 0], np.float32)
    others = [points, moved, points * np.float32(1.2), turned(points, 15), opened_mouth(points, 16)]
    same, aside, nearer, sideways, opened = SeenFaces(np.stack(others)).distances(points)
    assert max(same, nearer) < 1e-4
    assert aside < 0.005
    assert sideways > 0.01
    assert opened > 0.01


def with_torso(down: float, share: float = 1.0) -> Body:
    """Return a body whose torso is lower, in sides of the crop."""
    return Body(MovedPart(np.array([[1, 0, 0], [0, 1, down]], np.float32), share))


def test_a_picture_whose_body_has_to_rise_is_farther() -> None:
    """One whose body sinks is not, and one whose body is unknown counts as at rest."""
    points = portrait_target().neutral
    bodies = [with_torso(0.05), with_torso(0.0), Body(), with_torso(-0.05)]
    seen = SeenFaces(np.repeat(points[None], 4, axis=0), bodies, 256)
    assert seen.distances(points).max() < 1e-4
    low, calm, unknown, high = seen.distances(points, with_torso(0.0))
    assert low > 0.008
    assert max(calm, unknown, high) < 1e-4
    assert np.allclose(seen.distances(points, with_torso(0.0, share=0.5))[0], low / 2, atol=1e-5)
    assert seen.distances(points, with_torso(0.05)).max() < 1e-4


def test_a_low_body_counts_less_than_a_mouth_that_has_to_be_opened() -> None:
    points = portrait_target().neutral
    talking = opened_mouth(points, 16)
    seen = SeenFaces(np.stack([points, talking]), [Body(), with_torso(0.03)], 256)
    assert seen.distances(talking, with_torso(0.0)).argmin() == 1


def test_the_nearest_is_the_most_alike() -> None:
    points = portrait_target().neutral
    turns = SeenFaces(np.stack([turned(points, degrees) for degrees in (-20, 0, 20)]))
    mouths = SeenFaces(np.stack([opened_mouth(points, gap) for gap in (0, 8, 16)]))
    for number, (degrees, gap) in enumerate(((-17, 1), (4, 7), (16, 13))):
        assert turns.distances(turned(points, degrees)).argmin() == number
        assert mouths.distances(opened_mouth(points, gap)).argmin() == number
