"""Glasses that are found in a picture of a face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.geometry import canonical_face, estimate_pose, to_image
from reenact.face.glasses import find_glasses
from reenact.targets.library import open_target
from reenact.types import Pose
from support.spectacles import bare_face, put_on, rims

SIDE, IOD = 384, 90.0
POINTS = to_image(
    canonical_face(), Pose(np.eye(3, dtype=np.float32), np.array([192, 150, 0], np.float32), IOD)
)


def test_glasses_are_found_and_taken_off() -> None:
    bare, coverage = bare_face(POINTS, SIDE), rims(POINTS, SIDE, IOD)
    picture = put_on(bare, coverage)
    found = find_glasses(picture, POINTS)
    assert found is not None
    worn = coverage > 200
    assert (found.alpha[worn] > 127).mean() > 0.9
    beside = cv2.dilate(coverage, np.ones((9, 9), np.uint8)) == 0
    assert (found.alpha[beside] > 127).mean() < 0.001
    before, after = (
        np.abs(one[worn].astype(int) - bare[worn]).mean() for one in (picture, found.unworn)
    )
    assert after < 0.1 * before
    right, left = found.hinges
    x = np.flatnonzero(coverage.any(axis=0))
    assert right[0] == pytest.approx(x[0], abs=6)
    assert left[0] == pytest.approx(x[-1], abs=6)


def test_a_bare_face_wears_none() -> None:
    assert find_glasses(bare_face(POINTS, SIDE), POINTS) is None


def test_the_outlines_of_large_drawn_eyes_are_no_glasses() -> None:
    drawn = put_on(bare_face(POINTS, SIDE), rims(POINTS, SIDE, IOD, bridge=False))
    assert find_glasses(drawn, POINTS) is None


def test_a_real_face_wears_what_it_wears() -> None:
    target = open_target("astronaut", 512)
    picture, points = np.asarray(target.references[0]), target.neutral
    assert find_glasses(picture, points) is None
    coverage = rims(points, len(picture), estimate_pose(points).scale)
    found = find_glasses(put_on(picture, coverage), points)
    assert found is not None
    assert (found.alpha[coverage > 200] > 127).mean() > 0.7


def test_a_face_at_the_pictures_edge_is_looked_at_as_far_as_it_is_seen() -> None:
    points = POINTS - np.array([150, 120, 0], np.float32)
    assert find_glasses(bare_face(points, SIDE), points) is None
