from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    rotation_matrix,
    to_image,
)
from reenact.rendering.openings import EYES, DrivenEye, on_iris
from reenact.types import Array, Pose

BOTH = pytest.mark.parametrize("eye", [0, 1])


def face(
    gaze_iod: tuple[float, float] = (0.0, 0.0),
    opened: float = 1.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    scale: float = 90.0,
) -> Array:
    """Return (478, 3) px of the canonical face with moved irises and lids."""
    shape = canonical_face().copy()
    for (upper, lower), iris in EYES:
        shape[list(iris), :2] += gaze_iod
        line = np.linspace(shape[upper[0], 1], shape[upper[-1], 1], len(upper))
        for lid in (upper, lower):
            shape[lid, 1] = line + opened * (shape[lid, 1] - line)
    rotation = rotation_matrix(np.array([0, yaw, roll], np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 128, 0], np.float32), scale))


def driven(reference: Array, drive: Array, eye: int) -> DrivenEye:
    return DrivenEye((reference, drive), eye, (estimate_pose(reference), estimate_pose(drive)))


def inside(points: Array, eye: int) -> Array:
    """Return (N, 2) places in the middle two thirds of an eye's height."""
    (upper, lower), _ = EYES[eye]
    top, bottom = points[upper[1:-1], :2], points[lower[1:-1], :2]
    shares = np.linspace(1 / 6, 5 / 6, 7, dtype=np.float32)[:, None, None]
    return np.asarray((top + shares * (bottom - top)).reshape(-1, 2), np.float32)


def from_iris(places: Array, points: Array, eye: int) -> Array:
    """Return (N, 2) in the iris's radii."""
    iris = points[list(EYES[eye][1]), :2]
    return np.asarray((places - iris[0]) / (np.linalg.norm(iris[1] - iris[3]) / 2), np.float32)


@BOTH
def test_the_same_eye_is_not_moved(eye: int) -> None:
    points = face((0.05, 0.01), yaw=0.2, roll=0.3)
    places = inside(points, eye)
    same = driven(points, points, eye)
    np.testing.assert_allclose(same.iris(places)[0], places, atol=0.2)
    assert same.moved() == 0
    assert same.trust() == 1


@BOTH
@pytest.mark.parametrize("aside_iod", [-0.13, 0.13])
def test_an_iris_that_looks_aside_stays_a_disc(eye: int, aside_iod: float) -> None:
    reference, drive = face(), face((aside_iod, 0.0), roll=0.2, scale=70.0)
    places = inside(drive, eye)
    radii = np.linalg.norm(from_iris(places, drive, eye), axis=1)
    sources, distance = driven(reference, drive, eye).iris(places)
    np.testing.assert_allclose(distance, radii, atol=0.05)
    found = from_iris(sources, reference, eye)
    turned = (
        from_iris(places, drive, eye) @ rotation_matrix(np.array([0, 0, 0.2], np.float32))[:2, :2]
    )
    np.testing.assert_allclose(found, turned, atol=0.15)
    moves = on_iris(distance)
    assert (moves[radii < 1.1] == 1).all()
    assert (moves[radii > 1.7] == 0).all(), "the white keeps still"


@BOTH
def test_lids_that_close_cover_the_iris_and_do_not_press_it(eye: int) -> None:
    reference, drive = face(), face(opened=0.5)
    places = inside(drive, eye)
    found, _ = driven(reference, drive, eye).iris(places)
    np.testing.assert_allclose(found, places, atol=0.3)


@BOTH
@pytest.mark.parametrize(
    ("drive", "moves"), [(face((0.0, 0.002)), 0), (face((0.05, 0.0)), 1), (face(opened=0.6), 1)]
)
def test_an_eye_has_moved_if_its_gaze_or_its_lids_have(eye: int, drive: Array, moves: int) -> None:
    assert driven(face(), drive, eye).moved() == moves


def test_lids_in_one_line_are_no_error() -> None:
    shut = face(opened=0.0)
    for reference, drive in ((shut, face()), (face(), shut)):
        eye, places = driven(reference, drive, 0), inside(drive, 0)
        for found in (eye.iris(places)[0], *eye.between_lids(places, 2.0)):
            assert np.isfinite(found).all()


@BOTH
def test_an_eye_that_is_almost_shut_has_no_inside(eye: int) -> None:
    trusts = [
        driven(face(), face(opened=opened, scale=70.0), eye).trust()
        for opened in (0.0, 0.1, 0.18, 0.3, 1.2)
    ]
    assert trusts == sorted(trusts)
    assert trusts[1] == 0 < trusts[2] < 1 == trusts[3]
