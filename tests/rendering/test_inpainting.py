"""What people hide of a background is filled with what it looks like."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.evaluation import metrics
from reenact.rendering.inpainting import backgrounds, diffused, textured
from reenact.types import Image

SIZE = 256
PERSON = (250, 0, 250)
"""A colour that no wall has."""


def boards(tint: tuple[int, int, int] = (150, 100, 60)) -> Image:
    """A wall of horizontal boards, lighter to the right, with dark gaps of 4 px."""
    rows = np.where(np.arange(SIZE) % 32 < 4, 0.3, 1.0)[:, None] * np.linspace(0.7, 1.1, SIZE)
    return np.asarray(rows[..., None] * tint, np.uint8)


def disc(x: int, radius: int = 60) -> NDArray[np.uint8]:
    across, down = np.arange(SIZE) - x, np.arange(SIZE)[:, None] - 140
    inside: NDArray[np.bool_] = across**2 + down**2 < radius**2
    return inside.astype(np.uint8)


def behind(wall: Image, hidden: NDArray[np.uint8]) -> Image:
    return np.where(hidden[..., None] > 0, np.array(PERSON, np.uint8), wall)


def test_boards_go_on_behind_the_person() -> None:
    wall, hidden = boards(), disc(120)
    filled, smooth = (fill(behind(wall, hidden), hidden) for fill in (textured, diffused))
    np.testing.assert_array_equal(filled[hidden == 0], wall[hidden == 0])
    inside = hidden > 0
    textures, blur = (metrics.psnr(picture[inside], wall[inside]) for picture in (filled, smooth))
    assert textures > max(26, blur + 6)


def test_the_light_of_the_wall_goes_on_behind_the_person() -> None:
    """A lamp behind the person makes the wall beside them brighter than all that can be copied."""
    down, across = np.mgrid[:SIZE, :SIZE]
    squares = (across - 120) ** 2 + (down - 140) ** 2
    grain = np.random.default_rng(1).normal(size=(SIZE, SIZE)) * 3
    light = 130 + 80 * np.exp(-squares / 5000) + grain
    wall = np.asarray(light[..., None] * (1, 0.9, 0.8), np.uint8)
    hidden = disc(120)
    filled = textured(behind(wall, hidden), hidden)
    error = cv2.blur(filled.astype(np.float32) - wall, (9, 9))
    beside = (hidden > 0) & (squares > 50**2)
    assert np.abs(error[beside]).mean() < 12.5  # 14.6 if it is copied as it is


def test_nothing_of_the_person_is_left() -> None:
    hidden = disc(120)
    filled = textured(behind(boards(), hidden), hidden)
    assert filled[..., 2].max() < 100


def test_pictures_of_a_static_camera_show_each_other_the_wall() -> None:
    wall = boards()
    wall[disc(120, 12) > 0] = 20, 90, 200  # no texture could predict it
    noise = np.random.default_rng(1).integers(0, 4, (2, SIZE, SIZE, 3)).astype(np.uint8)
    masks = disc(120, 40), disc(200, 40)
    shown = [(behind(wall + grain, mask), mask) for grain, mask in zip(noise, masks, strict=True)]
    first, second = backgrounds(shown)
    inside = masks[0] > 0
    assert metrics.psnr(first[inside], wall[inside]) > 35
    np.testing.assert_array_equal(first, second)


def test_pictures_of_two_places_are_filled_by_themselves() -> None:
    walls = boards(), boards((60, 100, 150))
    masks = disc(120, 40), disc(200, 40)
    shown = [(behind(wall, mask), mask) for wall, mask in zip(walls, masks, strict=True)]
    for wall, filled in zip(walls, backgrounds(shown), strict=True):
        assert metrics.psnr(filled, wall) > 30


def test_a_picture_without_people_or_without_background_stays() -> None:
    wall = boards()
    for hidden in (np.zeros_like(wall[..., 0]), np.ones_like(wall[..., 0])):
        np.testing.assert_array_equal(textured(wall, hidden), wall)


def test_hardly_any_background_is_diffused() -> None:
    hidden = np.ones((SIZE, SIZE), np.uint8)
    hidden[:12] = 0
    picture = behind(boards(), hidden)
    np.testing.assert_array_equal(textured(picture, hidden), diffused(picture, hidden))
