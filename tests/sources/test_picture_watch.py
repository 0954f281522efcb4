"""The watch over a camera's pictures, at times that the tests choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reenact.sources.picture_watch import (
    BLACK_AFTER_S,
    FROZEN_AFTER_S,
    PictureWatch,
    RateMeter,
)
from reenact.types import Image

SIZE = (48, 64)


def noise(seed: int = 0, low: int = 0, high: int = 256) -> Image:
    return np.random.default_rng(seed).integers(low, high, (*SIZE, 3), np.uint8)


def test_a_picture_freezes_after_a_second_and_no_sooner() -> None:
    watch = PictureWatch()
    watch.look(noise(), 5.0)
    for time_s, frozen in ((5.0 + FROZEN_AFTER_S - 0.01, False), (5.0 + FROZEN_AFTER_S, True)):
        watch.look(noise(), time_s)
        assert watch.is_repeat
        assert watch.is_frozen == frozen
    watch.look(noise(1), 7.0)
    assert not watch.is_repeat
    assert not watch.is_frozen


@given(row=st.integers(0, SIZE[0] - 1), column=st.integers(0, SIZE[1] - 1))
def test_a_single_pixel_tells_two_pictures_apart(row: int, column: int) -> None:
    watch = PictureWatch()
    watch.look(noise(), 0.0)
    other = noise()
    other[row, column, 1] ^= 1
    watch.look(other, 2.0)
    assert not watch.is_repeat
    assert not watch.is_frozen


def test_black_is_reported_after_two_seconds_and_is_not_frozen() -> None:
    watch = PictureWatch()
    dark, bright = noise(high=17), noise()
    for picture, time_s, black in (
        (dark, 0.0, False),
        (dark, BLACK_AFTER_S - 0.01, False),
        (dark, BLACK_AFTER_S, True),
        (bright, 3.0, False),
    ):
        watch.look(picture, time_s)
        assert watch.looks_black == (picture is dark)
        assert watch.is_black == black
        assert not watch.is_frozen


@pytest.mark.parametrize(("level", "black"), [(16, True), (17, False)])
def test_how_dark_is_black(level: int, black: bool) -> None:
    watch = PictureWatch()
    watch.look(np.full((*SIZE, 3), level, np.uint8), 0.0)
    assert watch.looks_black == black


def test_a_status_light_does_not_make_a_covered_lens_bright() -> None:
    watch = PictureWatch()
    picture = np.zeros((480, 640, 3), np.uint8)
    for (height, width), black in (((24, 32), True), ((48, 64), False)):  # .25 and 1 per cent
        picture[:height, :width] = 255
        watch.look(picture, 0.0)
        assert watch.looks_black == black


@given(fps=st.floats(1, 240), other_fps=st.floats(1, 240))
def test_rate_is_that_of_the_last_sixty_intervals(fps: float, other_fps: float) -> None:
    meter = RateMeter()
    assert meter.rate(otherwise=7.0) == 7.0
    time_s = 100.0
    for rate, intervals in ((fps, 90), (other_fps, 60)):
        for _ in range(intervals):
            meter.add(time_s)
            time_s += 1 / rate
    meter.add(time_s)
    assert meter.rate(otherwise=7.0) == pytest.approx(other_fps)
