"""Fills what people hide of a background: from other pictures, by texture, or smoothly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reenact.types import Array, Image

_SAME_SCENE: Final = 8.0
"""Mean difference of two pictures' common background, levels, below which a static camera took
both."""

_MIN_COMMON: Final = 0.05
"""Share of a picture that this background must have."""

_SIDE_PX: Final = 96
"""Side to which a picture is reduced for the search; what is found is copied at full size."""

_WINDOW: Final = 7
"""Side of the compared windows of the reduced picture, px."""

_REACH: Final = _WINDOW // 2

_MIN_WINDOWS: Final = 100
"""Windows of pure background below which there is no texture to copy."""

_DISTANCE_COST: Final = 3.2
"""Difference between two windows, in Lab, that weighs as much as the picture's whole width. Light
changes along a wall, so a nearer window is preferred."""

_GUESS_WEIGHT: Final = 0.003
"""Weight of what is not yet filled in the comparison of windows, as it would be diffused. It keeps
colours from growing into the gap that do not belong there."""

_SPREADING_PX, _SPREADING_STEPS = (49, 25, 13, 7, 3), 40
"""Sides of the blurs, px of the reduced picture, that spread a mismatch, and how often each is
repeated."""

_DIFFUSION_PX: Final = 160
"""Side to which a picture is reduced for diffusion."""

_DIFFUSION_RADIUS_PX: Final = 3

_BLEND: Final = 2
"""Distance, in px of the reduced picture, at which what is copied for a pixel ends."""

_AROUND: Final = np.ones((3, 3), np.uint8)


def backgrounds(pictures: Iterable[tuple[Image, NDArray[np.uint8]]]) -> list[Image]:
    """Return the backgrounds of pictures, uint8 (S, S, 3) RGB each.

    Pictures that a static camera took show each other what is behind the person. What is hidden in
    all of them is `textured`.

    Args:
        pictures: each with its hidden pixels, as for `textured`.
    """
    scenes: list[tuple[Image, NDArray[np.uint8]]] = []
    numbers: list[int] = []
    for picture, hidden in pictures:
        number = next((n for n, scene in enumerate(scenes) if _agree(picture, hidden, *scene)), -1)
        if number < 0:
            number = len(scenes)
            scenes.append((picture.copy(), hidden.copy()))
        scene, missing = scenes[number]
        found = missing > hidden
        scene[found], missing[found] = picture[found], 0
        numbers.append(number)
    filled = [textured(*scene) for scene in scenes]
    return [filled[number] for number in numbers]


def _agree(
    first: Image, hidden: NDArray[np.uint8], second: Image, missing: NDArray[np.uint8]
) -> bool:
    """Return whether two pictures look the same where nothing is hidden in either."""
    common = (hidden | missing) == 0
    if common.mean() < _MIN_COMMON:
        return False
    return bool(cv2.absdiff(first, second)[common].mean() < _SAME_SCENE)


def textured(image: Image, hidden: NDArray[np.uint8]) -> Image:
    """Fill the hidden pixels with texture, in rings from the outside inwards.

    A pixel is copied from where the background looks most like what is known around the pixel
    (Efros and Leung 1999), so lines and patterns go on behind the person. The copy gets the light
    of its surroundings, as in Poisson image editing (Perez 2003).

    Args:
        image: uint8 (S, S, 3) RGB.
        hidden: uint8 (S, S), 1: to be filled.

    Returns:
        The filled picture, uint8 (S, S, 3) RGB. It is `diffused` if it shows hardly any background,
        and unchanged if it shows none, or only background.
    """
    if hidden.min() == hidden.max():
        return image
    side = (_SIDE_PX, _SIDE_PX)
    smooth = diffused(image, hidden)
    unknown = cv2.resize(hidden.astype(np.float32), side, interpolation=cv2.INTER_AREA) > 0
    small, guess = (cv2.resize(one, side, interpolation=cv2.INTER_AREA) for one in (image, smooth))
    guessed = cv2.cvtColor(np.where(unknown[..., None], guess, small), cv2.COLOR_RGB2LAB)
    offsets = _offsets(guessed.astype(np.float32), unknown)
    if offsets is None:
        return smooth
    mismatch = _mismatch(small.astype(np.float32), offsets, unknown)
    lit = _copied(image, offsets, unknown) + cv2.resize(mismatch, image.shape[1::-1])
    return np.where(hidden[..., None] > 0, np.clip(lit, 0, 255).astype(np.uint8), image)


def diffused(image: Image, hidden: NDArray[np.uint8]) -> Image:
    """Fill the hidden pixels smoothly, in a twentieth of the time (Bertalmio 2001).

    Arguments and result are those of `textured`. Lines go on, but everything is blurred.
    """
    side = (_DIFFUSION_PX, _DIFFUSION_PX)
    filled = cv2.inpaint(
        cv2.resize(image, side, interpolation=cv2.INTER_AREA),
        cv2.resize(hidden, side, interpolation=cv2.INTER_NEAREST),
        _DIFFUSION_RADIUS_PX,
        cv2.INPAINT_NS,
    )
    return np.asarray(cv2.resize(filled, image.shape[1::-1]), np.uint8)


def _offsets(picture: Array, unknown: NDArray[np.bool_]) -> Array | None:
    """Return how far away, (S, S, 2) in rows and columns, each unknown pixel is copied from.

    None: the picture, (S, S, 3) with guesses for the unknown pixels, shows hardly any background.
    """
    inside = np.zeros_like(unknown)
    inside[_REACH:-_REACH, _REACH:-_REACH] = True
    kernel = np.ones((_WINDOW, _WINDOW), np.uint8)
    sources = np.argwhere(inside & (cv2.dilate(unknown.astype(np.uint8), kernel) == 0))
    if len(sources) < _MIN_WINDOWS:
        return None
    picture, unknown = picture.copy(), unknown.copy()
    known = _windows(picture)[tuple(sources.T)]
    squares, known = (known**2).sum(axis=1), known.reshape(len(known), -1)
    squares = squares.reshape(len(squares), -1).T
    scale = np.float32(_DISTANCE_COST * _WINDOW * 3**0.5 / len(picture))
    places = scale * sources.astype(np.float32)
    offsets = np.zeros((*unknown.shape, 2), np.float32)
    weights = np.where(unknown, np.float32(_GUESS_WEIGHT), np.float32(1))[..., None]
    while unknown.any():
        ring = _edge(unknown)
        at = tuple(ring.T)
        seen = _windows(weights)[at]
        own = (_windows(picture)[at] * seen).reshape(len(ring), -1)
        seen = seen.reshape(len(ring), -1)
        # Squared differences from all windows, without the squares of `own`, which rank nothing.
        differences = seen @ squares - 2 * own @ known.T
        differences *= _WINDOW**2 / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        differences += (places**2).sum(axis=1) - 2 * scale * ring.astype(np.float32) @ places.T
        best = sources[differences.argmin(axis=1)]
        offsets[at] = best - ring
        picture[at] = picture[tuple(best.T)]
        unknown[at], weights[at] = False, 1
    return offsets


def _mismatch(picture: Array, offsets: Array, unknown: NDArray[np.bool_]) -> Array:
    """Return how much the surroundings, (S, S, 3), of what is copied differ from those it has.

    The difference is known at the edge of the gap, and spreads into it.
    """
    edge = _edge(unknown)
    at = tuple(edge.T)
    source = tuple((edge + offsets[at].astype(int)).T)
    near = (..., *2 * (slice(_REACH - 1, _REACH + 2),))
    windows = _windows(picture)[near]
    seen = _windows(1 - unknown.astype(np.float32)[..., None])[near][at]
    difference = ((windows[at] - windows[source]) * seen).sum(axis=(2, 3))
    difference /= np.maximum(seen.sum(axis=(2, 3)), 1)
    spread = np.zeros_like(picture)
    for side in _SPREADING_PX:
        for _ in range(_SPREADING_STEPS):
            spread[at] = difference
            spread = np.asarray(cv2.blur(spread, (side, side)), np.float32)
    return spread


def _edge(unknown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return rows and columns, (N, 2), of the unknown pixels beside known ones."""
    return np.argwhere(unknown & (cv2.erode(unknown.astype(np.uint8), _AROUND) == 0))


def _windows(picture: Array) -> Array:
    """Return the windows around each pixel of a picture, (S, S, C), as (S, S, C, w, w)."""
    padded = np.pad(picture, [(_REACH, _REACH), (_REACH, _REACH), (0, 0)])
    rows = sliding_window_view(padded, _WINDOW, 0)
    return np.asarray(sliding_window_view(rows, _WINDOW, 1))


def _copied(image: Image, offsets: Array, unknown: NDArray[np.bool_]) -> Image:
    """Copy the unknown pixels at full size. Where neighbours are copied from apart, they blend."""
    size, side = len(image), len(offsets)
    zoom = np.float32(size / side)
    pixels = np.arange(size, dtype=np.float32)
    places = (pixels + np.float32(0.5)) / zoom - np.float32(0.5)
    first = np.floor(places).astype(int) + 1 - _BLEND
    share = places - first
    total, weights = np.zeros(image.shape, np.float32), np.zeros((size, size, 1), np.float32)
    for down, right in np.ndindex(2 * _BLEND, 2 * _BLEND):
        cells = np.ix_(*(np.clip(first + step, 0, side - 1) for step in (down, right)))
        shift = zoom * offsets[cells]
        row, column = (np.maximum(_BLEND - np.abs(step - share), 0) for step in (down, right))
        weight = (row[:, None] * column * unknown[cells])[..., None]
        x, y = pixels + shift[..., 1], pixels[:, None] + shift[..., 0]
        total += weight * cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        weights += weight
    return np.asarray(total / np.maximum(weights, np.float32(1e-6)), np.float32)
