from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.config import SmoothingSettings
from reenact.rendering.temporal_filter import PictureFilter
from reenact.types import Image
from support.fakes import plain

SIDE = 128
FRAME_S = 1 / 25
SMOOTHING = SmoothingSettings()


def level(grey: int) -> Image:
    return plain((grey, grey, grey), (SIDE, SIDE))


def texture() -> Image:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)


def shifted(image: Image, dx: float) -> Image:
    """The picture, moved to the right by so many pixels."""
    matrix = np.array([[1, 0, dx], [0, 1, 0]], np.float32)
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=border), np.uint8)


def filtered(run: list[Image]) -> list[Image]:
    steady = PictureFilter()
    return [steady.step(picture, FRAME_S, SMOOTHING) for picture in run]


def trembling(run: list[Image]) -> float:
    """Mean absolute second difference over time, levels."""
    return float(np.abs(np.diff(np.stack(run).astype(np.float32), 2, axis=0)).mean())


def test_what_trembles_by_a_tenth_of_a_pixel_is_held() -> None:
    rng = np.random.default_rng(1)
    run = [shifted(texture(), float(dx)) for dx in rng.normal(0, 0.1, 40)]
    assert trembling(run) > 0.3
    assert trembling(filtered(run)[1:]) < 0.35 * trembling(run)


def test_what_moves_passes_at_once_and_leaves_no_trail() -> None:
    """A white bar goes over grey by 6 px a frame: where it is it is white, where it was, grey."""
    run = []
    for index in range(12):
        picture = level(90)
        picture[:, 20 + 6 * index : 32 + 6 * index] = 240
        run.append(picture)
    for drawn, shown in zip(run, filtered(run), strict=True):
        np.testing.assert_array_equal(drawn, shown)


@pytest.mark.parametrize("levels_a_second", [3.0, 12.0, 60.0])
def test_a_slow_change_is_followed_within_a_few_levels(levels_a_second: float) -> None:
    """A face that reddens: what is shown is never far behind what is drawn."""
    run = []
    for index in range(75):
        picture = level(60)
        picture[..., 0] = round(60 + levels_a_second * index * FRAME_S)
        run.append(picture)
    for drawn, shown in zip(run, filtered(run), strict=True):
        assert np.abs(drawn.astype(np.float32) - shown).max() < 6.3


def test_a_small_change_arrives_though_each_step_is_less_than_a_level() -> None:
    before, after = level(60), level(62)
    shown = filtered([before] + [after] * 100)
    assert shown[3].mean() < 61
    np.testing.assert_array_equal(shown[-1], after)


def test_it_takes_seconds_not_frames() -> None:
    before, after = level(60), level(62)
    reached = []
    for rate in (15, 60):
        steady = PictureFilter()
        steady.step(before, 0.0, SMOOTHING)
        means = [steady.step(after, 1 / rate, SMOOTHING).mean() for _ in range(3 * rate)]
        assert means[-1] >= 61
        reached.append(int(np.argmax(np.array(means) >= 61)) / rate)
    assert reached[0] == pytest.approx(reached[1], abs=0.15)
    assert min(reached) > 0.2


def test_the_past_is_forgotten_on_request_after_a_gap_and_at_another_size() -> None:
    before, after = level(60), level(62)
    steady = PictureFilter()

    def passes(dt_s: float = FRAME_S, picture: Image = after) -> bool:
        return np.array_equal(steady.step(picture, dt_s, SMOOTHING), picture)

    assert passes(picture=before)
    assert not passes()
    assert passes(dt_s=0.6)
    assert passes(picture=before[: SIDE // 2, : SIDE // 2])
    assert passes(picture=before)
    steady.reset()
    assert passes()


def test_without_smoothing_pictures_pass_and_nothing_is_held_for_later() -> None:
    before, after = level(60), level(62)
    off = SmoothingSettings(enabled=False)
    steady = PictureFilter()
    for picture in (before, after):
        np.testing.assert_array_equal(steady.step(picture, FRAME_S, off), picture)
    np.testing.assert_array_equal(steady.step(before, FRAME_S, SMOOTHING), before)


def test_pictures_that_come_in_are_not_touched_and_those_that_go_out_may_be() -> None:
    before, after = level(60), level(62)
    steady, beside = PictureFilter(), PictureFilter()
    for picture in (before, after, before):
        kept = picture.copy()
        shown = steady.step(picture, FRAME_S, SMOOTHING)
        np.testing.assert_array_equal(picture, kept)
        np.testing.assert_array_equal(shown, beside.step(picture, FRAME_S, SMOOTHING))
        if shown is not picture:
            shown[:] = 0
