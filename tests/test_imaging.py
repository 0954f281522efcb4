"""Pictures of every size keep what they show: value ranges, letterboxes, crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reenact.imaging import (
    below_white,
    crop_image,
    even,
    from_unit,
    invert_affine,
    is_picture,
    letterbox,
    to_unit,
)
from support.clips import corners, four_colours
from support.portraits import smooth_picture

SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))


@given(size=SIZES, wanted=SIZES)
def test_letterbox_is_centred_undistorted_and_fills_one_side(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    fitted = letterbox(np.full((size[1], size[0], 3), 200, np.uint8), wanted)
    assert fitted.shape == (wanted[1], wanted[0], 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    rows, columns = np.nonzero(fitted[..., 0])
    top, bottom = rows.min(), wanted[1] - 1 - rows.max()
    left, right = columns.min(), wanted[0] - 1 - columns.max()
    inner = fitted[top : wanted[1] - bottom, left : wanted[0] - right]
    assert (inner == 200).all()
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1
    assert min(top + bottom, left + right) == 0
    factor = min(wanted[0] / size[0], wanted[1] / size[1])
    if even(size) != wanted:
        assert abs(inner.shape[1] - size[0] * factor) <= 1
        assert abs(inner.shape[0] - size[1] * factor) <= 1


@given(wanted=st.tuples(st.integers(8, 400), st.integers(8, 400)))
def test_letterbox_shows_the_whole_picture(wanted: tuple[int, int]) -> None:
    fitted = letterbox(four_colours(), wanted)
    rows, columns = np.nonzero(fitted.max(axis=2) > 100)
    inner = fitted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert corners(inner) == ["red", "green", "blue", "white"]


def test_letterbox_returns_a_picture_that_fits() -> None:
    image = four_colours()
    assert letterbox(image, (160, 120)) is image


def test_letterbox_repeats_the_last_line_instead_of_scaling() -> None:
    image = np.random.default_rng(0).integers(0, 256, (121, 161, 3), dtype=np.uint8)
    fitted = letterbox(image, even((161, 121)))
    assert fitted.shape == (122, 162, 3)
    assert np.array_equal(fitted[:121, :161], image)
    assert np.array_equal(fitted[121, :161], image[120])
    assert np.array_equal(fitted[:121, 161], image[:, 160])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_picture_survives_the_networks_value_range(width: int, height: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    tensor = to_unit(picture)
    assert tensor.shape == (3, height, width)
    assert -1 <= tensor.min() <= tensor.max() <= 1
    assert np.array_equal(from_unit(tensor), picture)


def similarity(
    scale: float, degrees: float, middle: tuple[float, float], size_px: int
) -> NDArray[np.float32]:
    """Return the affine of a turned and scaled crop about a place of the picture."""
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = np.full(2, (size_px - 1) / 2) - matrix @ np.array(middle)
    return np.column_stack([matrix, shift]).astype(np.float32)


PLACES = st.tuples(st.floats(60, 260), st.floats(60, 180))


@given(st.floats(0.05, 8), st.floats(-180, 180), PLACES)
def test_an_affine_and_its_inverse_cancel(
    scale: float, degrees: float, middle: tuple[float, float]
) -> None:
    affine = similarity(scale, degrees, middle, 128)
    back = invert_affine(affine)
    points = np.random.default_rng(0).uniform(0, 300, (20, 2))
    there = points @ affine[:, :2].T + affine[:, 2]
    assert there @ back[:, :2].T + back[:, 2] == pytest.approx(points, abs=0.02)


@given(st.floats(0.3, 4), st.floats(-180, 180), PLACES)
def test_a_crop_shows_what_the_affine_says(
    scale: float, degrees: float, middle: tuple[float, float]
) -> None:
    """Each pixel has the colour of its place in the picture, also where it is shrunk."""
    picture = smooth_picture((320, 240))
    affine = similarity(scale, degrees, middle, 64)
    crop = crop_image(picture, affine, 64)
    assert crop.shape == (64, 64, 3)
    assert crop.dtype == np.uint8
    across, down = (axis.ravel() for axis in np.meshgrid(np.arange(64), np.arange(64)))
    back = invert_affine(affine)
    x, y = back[:, :2] @ np.stack([across, down]) + back[:, 2:]
    inside = (x > 2) & (x < 317) & (y > 2) & (y < 237)
    true = picture[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)].astype(int)
    drawn = crop[down[inside], across[inside]].astype(int)
    steepest = max(np.abs(np.diff(picture.astype(int), axis=axis)).max() for axis in (0, 1))
    assert np.abs(drawn - true).max() <= 2 * steepest + 2


def test_bright_levels_approach_white_and_stay_apart() -> None:
    given = np.array([[0, 100, 185], [230, 260, 320], [2000, 1e6, 1e9]], np.float32)
    found = below_white(given)
    assert found.dtype == np.uint8
    assert found[0].tolist() == [0, 100, 185]
    assert (np.diff(found[1].astype(int)) > 5).all()
    assert found[1].max() < found[2].min()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((2, 3, 3), np.uint8), True),
        (np.zeros((2, 3, 4), np.uint8), False),
        (np.zeros((2, 3), np.uint8), False),
        (np.zeros((2, 3, 3), np.float32), False),
        (np.zeros((0, 3, 3), np.uint8), False),
        ([[[0, 0, 0]]], False),
        (None, False),
    ],
)
def test_only_rgb_bytes_are_a_picture(image: object, expected: bool) -> None:
    assert is_picture(image) == expected
