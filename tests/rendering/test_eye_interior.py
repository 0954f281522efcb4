from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    region_mask,
    rotation_matrix,
    to_image,
)
from reenact.rendering.openings import EYES, LIDS, DrivenEye
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


def eye_sources(places: Array, reference: Array, drive: Array, eye: int) -> tuple[Array, float]:
    return driven(reference, drive, eye).inside(places)


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
    np.testing.assert_allclose(eye_sources(places, points, points, eye)[0], places, atol=0.2)


@BOTH
@pytest.mark.parametrize("aside_iod", [-0.13, 0.13])
def test_an_iris_that_looks_aside_stays_a_disc(eye: int, aside_iod: float) -> None:
    reference, drive = face(), face((aside_iod, 0.0), roll=0.2, scale=70.0)
    places = inside(drive, eye)
    disc = np.linalg.norm(from_iris(places, drive, eye), axis=1) < 1
    assert 5 < disc.sum() < len(places) - 5
    found = from_iris(eye_sources(places, reference, drive, eye)[0], reference, eye)
    turned = (
        from_iris(places, drive, eye) @ rotation_matrix(np.array([0, 0, 0.2], np.float32))[:2, :2]
    )
    np.testing.assert_allclose(found[disc], turned[disc], atol=0.15)
    assert (np.linalg.norm(found[~disc], axis=1) > 0.9).all(), "white comes from white"


@BOTH
def test_lids_that_close_cover_the_iris_and_do_not_press_it(eye: int) -> None:
    reference, drive = face(), face(opened=0.5)
    places = inside(drive, eye)
    disc = np.linalg.norm(from_iris(places, drive, eye), axis=1) < 1
    found, _ = eye_sources(places, reference, drive, eye)
    np.testing.assert_allclose(found[disc], places[disc], atol=0.3)


@BOTH
@pytest.mark.parametrize("opened", [0.05, 0.4])
def test_an_eye_that_opens_wider_takes_nothing_from_the_lids(eye: int, opened: float) -> None:
    reference, drive = face(opened=opened), face((0.08, 0.03))
    found, _ = eye_sources(inside(drive, eye), reference, drive, eye)
    (upper, lower), _ = EYES[eye]
    around = region_mask(reference * 4, (*upper, *lower[::-1]), 1024)
    columns, rows = np.round(found * 4).astype(int).T
    reach = np.abs(rows[:, None] - np.arange(1024)[None])
    nearest = np.where(around[:, columns].T > 127, reach, 4096).min(axis=1)
    assert nearest.max() <= 2, "half a pixel"


@BOTH
def test_what_a_lid_hides_of_an_iris_is_as_far_from_its_middle(eye: int) -> None:
    reference, drive = face(opened=0.5), face(opened=1.6)
    places = inside(drive, eye)
    radii = np.linalg.norm(from_iris(places, drive, eye), axis=1)
    hidden = (radii < 1) & (np.abs(from_iris(places, reference, eye)[:, 1]) > 0.5)
    assert hidden.sum() > 5
    found = from_iris(eye_sources(places, reference, drive, eye)[0], reference, eye)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1)[hidden], radii[hidden], atol=0.1)
    assert (np.abs(found[hidden, 1]) < 0.6).all()


def test_lids_in_one_line_are_no_error() -> None:
    shut = face(opened=0.0)
    for drive in (shut, face()):
        assert np.isfinite(eye_sources(inside(drive, 0), shut, drive, 0)[0]).all()
        assert np.isfinite(eye_sources(inside(shut, 0), drive, shut, 0)[0]).all()


@BOTH
def test_an_eye_that_is_almost_shut_has_no_inside(eye: int) -> None:
    trusts = []
    for opened in (0.0, 0.15, 0.3, 0.5, 1.2):
        drive = face(opened=opened, scale=70.0)
        trusts.append(eye_sources(inside(drive, eye), face(), drive, eye)[1])
    assert trusts == sorted(trusts)
    assert trusts[1] == 0 < trusts[2] < 1 == trusts[3]


def on_lid(points: Array, eye: int, above_px: Array) -> Array:
    """Return (N, 2) places so far above the middle of an upper lid's edge."""
    _, edge = LIDS[eye]
    middle = points[edge[len(edge) // 2], :2]
    return np.asarray(middle - np.stack([0 * above_px, above_px], axis=1), np.float32)


@BOTH
def test_lashes_keep_their_size_as_a_lid_comes_down(eye: int) -> None:
    reference, drive = face(scale=180.0), face(opened=0.1, scale=180.0)
    crease, edge = LIDS[eye]
    height, stretched = (
        float(points[edge[4], 1] - points[crease[4], 1]) for points in (reference, drive)
    )
    assert stretched > 1.3 * height, "the mesh stretches this lid"
    drawn = np.linspace(0.01, 0.99, 50, dtype=np.float32) * np.float32(stretched)
    by_mesh = on_lid(reference, eye, drawn * np.float32(height / stretched))
    found = driven(reference, drive, eye).lid(by_mesh)
    above = on_lid(reference, eye, np.zeros(1, np.float32))[0, 1] - found[:, 1]
    is_lash = drawn < 0.05 * 180 * 0.5
    np.testing.assert_allclose(above[is_lash], drawn[is_lash], rtol=0.1, atol=0.1)
    assert (np.diff(above) > 0).all()
    assert abs(above[-1] - height) < 0.05 * height, "the crease stays"


@BOTH
def test_a_lid_that_has_not_moved_is_not_changed(eye: int) -> None:
    points = face(roll=0.2)
    places = on_lid(points, eye, np.linspace(-3, 12, 20, dtype=np.float32))
    np.testing.assert_allclose(driven(points, points, eye).lid(places), places, atol=0.02)


@BOTH
@pytest.mark.parametrize(("opened", "expected"), [(1.1, False), (0.98, False), (0.6, True)])
def test_only_a_lid_that_comes_down_is_changed(eye: int, opened: float, expected: bool) -> None:
    reference, drive = face(scale=70.0), face(opened=opened, scale=90.0)
    assert driven(reference, drive, eye).comes_down() == expected
