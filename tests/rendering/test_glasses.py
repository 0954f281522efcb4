"""Glasses that are drawn as a rigid body."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.face.geometry import canonical_face, rotation_matrix, to_image
from reenact.face.topology import MOUTH_CORNERS, OVAL
from reenact.rendering.layers import Reference
from reenact.rendering.painter import Painter
from reenact.types import Image, Pose
from support.spectacles import RIM, bare_face, put_on, rims

SIDE, SCALE = 256, 60.0


def at(yaw_deg: float = 0.0, x: float = 128.0) -> Pose:
    turn = rotation_matrix(np.array([0, np.deg2rad(yaw_deg), 0], np.float32))
    return Pose(turn, np.array([x, 100, 0], np.float32), SCALE)


POINTS = to_image(canonical_face(), at())
COVERAGE = rims(POINTS, SIDE, SCALE)


def wearing(coverage: NDArray[np.uint8]) -> Painter:
    picture = put_on(bare_face(POINTS, SIDE), coverage)
    reference = Reference.of(picture, np.full((SIDE, SIDE), 255, np.uint8), POINTS)
    assert reference.glasses is not None
    return Painter(reference)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return wearing(COVERAGE)


def rim(picture: Image) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture.astype(int) - RIM).max(axis=2) < 60)


def lens_width(picture: Image, columns: slice) -> int:
    """Return the width of the rim in these columns."""
    found = np.flatnonzero(rim(picture)[:, columns].any(axis=0))
    return int(found[-1] - found[0])


@pytest.mark.parametrize("half", [0.42, 0.53])
def test_a_calm_face_is_its_photo(half: float) -> None:
    coverage = rims(POINTS, SIDE, SCALE, half=half)
    picture, _ = wearing(coverage).paint(POINTS, at())
    photo = put_on(bare_face(POINTS, SIDE), coverage)
    assert np.abs(picture[20:-20].astype(int) - photo[20:-20]).mean() < 1


def test_raised_cheeks_and_brows_do_not_bend_them(painter: Painter) -> None:
    lifted = canonical_face().copy()
    face = np.delete(np.arange(len(lifted)), list(MOUTH_CORNERS))
    below = np.clip(lifted[face, 1] - 0.3, 0, 0.3) / 0.3
    lifted[face, 1] -= 0.12 * below * (np.abs(lifted[face, 0]) > 0.25)
    picture, _ = painter.paint(to_image(lifted, at()), at())
    worn = COVERAGE > 200
    assert rim(picture)[worn].mean() > 0.95


def test_a_turn_shortens_both_lenses_alike(painter: Painter) -> None:
    pose = at(25.0)
    picture, _ = painter.paint(to_image(canonical_face(), pose), pose)
    calm, _ = painter.paint(POINTS, at())
    nose = int(to_image(canonical_face(), pose)[168, 0])
    for turned, straight in (
        (slice(0, nose - 8), slice(0, 120)),
        (slice(nose + 8, SIDE), slice(136, SIDE)),
    ):
        ratio = lens_width(picture, turned) / lens_width(calm, straight)
        assert 0.68 < ratio < 1.1  # the mesh: .6 and 1.24


def test_they_are_cut_at_the_pictures_edge_and_leave_it_with_the_face(painter: Painter) -> None:
    for x, least, most in ((20.0, 1, 4000), (-300.0, 0, 0)):
        pose = at(x=x)
        picture, _ = painter.paint(to_image(canonical_face(), pose), pose)
        assert least <= rim(picture).sum() <= most


def runs(picture: Image, row: int) -> int:
    """Return how many times a row crosses a rim."""
    return int((np.diff(rim(picture)[row].astype(int), prepend=0) == 1).sum())


@pytest.mark.parametrize("yaw_deg", [-30.0, -15.0, 15.0, 30.0])
def test_a_turn_draws_each_rim_once_even_beyond_the_far_cheek(yaw_deg: float) -> None:
    pose = at(yaw_deg)
    points = to_image(canonical_face(), pose)
    picture, _ = wearing(rims(POINTS, SIDE, SCALE, half=0.45)).paint(points, pose)
    below_eyes = int(points[[145, 374], 1].mean()) + 8
    assert runs(picture, below_eyes) == 4
    columns = np.flatnonzero(rim(picture)[below_eyes])
    outline = points[list(OVAL), 0]
    beyond = outline.min() - columns[0] if yaw_deg > 0 else columns[-1] - outline.max()
    assert beyond > (5 if abs(yaw_deg) > 20 else -5)


@pytest.mark.parametrize("turn_deg", [-20.0, 20.0])
def test_those_of_a_turned_photo_are_not_doubled_as_the_head_turns_back(turn_deg: float) -> None:
    turned = to_image(canonical_face(), at(turn_deg))
    photo, _ = wearing(COVERAGE).paint(turned, at(turn_deg))
    reference = Reference.of(photo, np.full((SIDE, SIDE), 255, np.uint8), turned)
    assert reference.glasses is not None
    picture, _ = Painter(reference).paint(POINTS, at())
    assert runs(picture, int(POINTS[[145, 374], 1].mean()) + 8) == 4
