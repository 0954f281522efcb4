from __future__ import annotations

import numpy as np

from reenact.rendering.reference_ranking import SeenFaces
from support.faces import opened_mouth, portrait_target, turned


def test_a_turned_or_talking_face_is_farther_than_a_moved_or_larger_one() -> None:
    points = portrait_target().neutral
    moved = points + np.array([10, -4, 0], np.float32)
    others = [points, moved, points * np.float32(1.2), turned(points, 15), opened_mouth(points, 16)]
    same, aside, nearer, sideways, opened = SeenFaces(np.stack(others)).distances(points)
    assert max(same, nearer) < 1e-4
    assert aside < 0.005
    assert sideways > 0.01
    assert opened > 0.01


def test_the_nearest_is_the_most_alike() -> None:
    points = portrait_target().neutral
    turns = SeenFaces(np.stack([turned(points, degrees) for degrees in (-20, 0, 20)]))
    mouths = SeenFaces(np.stack([opened_mouth(points, gap) for gap in (0, 8, 16)]))
    for number, (degrees, gap) in enumerate(((-17, 1), (4, 7), (16, 13))):
        assert turns.distances(turned(points, degrees)).argmin() == number
        assert mouths.distances(opened_mouth(points, gap)).argmin() == number
