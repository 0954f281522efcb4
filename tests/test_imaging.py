"""Letterboxes of every size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reenact.imaging import even, letterbox
from support.clips import corners, four_colours

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
