"""An invisible mark in every picture that a session shows, which tells that it is synthetic.

A virtual camera carries no metadata, so only the pixels can hold a mark that a machine can read
(AI Act, Article 50). It is a fixed pattern in the blue channel, where eyes see least (Kutter et al.
1997), and stronger where the picture has texture. Correlation finds it (spread spectrum, Cox et al.
1997), if necessary in the mean of many pictures that a call has scaled and compressed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from reenact.types import Array, Image

CERTAIN: Final = 6.5
"""Score from which on a watermark counts as found."""

_CELLS: Final = 32
"""Cells of the pattern along the shorter side of a picture; each is brighter or darker."""

_CELL_PX: Final = 8
"""Side of a cell of the stored pattern."""

_STRENGTHS: Final = np.minimum(2.5 + 0.6 * np.arange(256), 6).astype(np.float32)
"""Amplitude by the difference of diagonal neighbours, both in levels: least on a smooth wall."""

_SHARES: Final = np.clip(np.arange(256) / 100, 0.5, 1).astype(np.float32)
"""Share of the amplitude by the level of green: less in the dark, where it would be seen."""

_ZERO: Final = 128
"""Level that stands for no change."""

_STEP: Final = 4
"""The strength is calculated for every fourth row and column."""

_WINDOW_PX: Final = (5, 5)
"""Window in which texture and level are measured, in pixels of these rows and columns."""

_SEARCH_PX: Final = 4
"""Side of a cell in the picture that is searched."""

_SIZES: Final = np.geomspace(0.45, 1.6, 255)
"""Side of the pattern, as a share of the picture's shorter side: less than 1 if the picture is part
of a scene, more if it is cropped."""

_MIN_SIDE_PX: Final = 32
"""A shorter side has less than a pixel for a cell; no pattern is found there."""

_MAX_ASPECT: Final = 8
"""Longer pictures are cropped before the search, which would take minutes."""

_DETAIL: Final = 0.7
"""Standard deviation of the blur that separates the pattern from larger shapes, cells."""

_CALM: Final = 0.3
"""Contrast of the detail, levels, below which a picture counts as uniform."""


def watermarked(picture: Image) -> Image:
    """Return a copy of a picture with the watermark.

    Args:
        picture: uint8 (H, W, 3) RGB, at least 4 px wide and high.
    """
    height, width = picture.shape[:2]
    green, blue = cv2.extractChannel(picture, 1), cv2.extractChannel(picture, 2)
    green = green[: height // _STEP * _STEP, : width // _STEP * _STEP]
    level = np.ascontiguousarray(green[::_STEP, ::_STEP])
    texture = cv2.blur(cv2.absdiff(level, green[1::_STEP, 1::_STEP]), _WINDOW_PX)
    strength = cv2.multiply(
        cv2.LUT(texture, _STRENGTHS), cv2.LUT(cv2.blur(level, _WINDOW_PX), _SHARES)
    )
    shift = cv2.multiply(strength, _spread(*level.shape))
    shift = cv2.addWeighted(shift, 1, shift, 0, _ZERO, dtype=cv2.CV_8U)
    shift = cv2.resize(shift, (width, height))
    marked = picture.copy()
    cv2.insertChannel(cv2.addWeighted(blue, 1, shift, 1, -_ZERO), marked, 2)
    return marked


def watermark_score(pictures: Iterable[Image]) -> float:
    """Return how surely pictures carry the watermark; from `CERTAIN` on they do.

    It is the height of the highest peak of the correlation, over all sizes and places of the
    pattern and its mirror image, in standard deviations. It takes a second of one core.

    Args:
        pictures: at least one, uint8 (H, W, 3) RGB, all of one size.
    """
    total, count = None, 0
    for picture in pictures:
        blueness = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 2].astype(np.float32)
        total, count = blueness if total is None else total + blueness, count + 1
    if total is None:
        raise ValueError("There is no picture.")
    mean = total / count
    side = min(mean.shape)
    if side < _MIN_SIDE_PX:
        return 0.0
    mean = mean[: _MAX_ASPECT * side, : _MAX_ASPECT * side]
    return max(_peak(mean, size * min(mean.shape)) for size in _SIZES)


def _peak(blueness: Array, side: float) -> float:
    """Return the highest peak of the correlation with a pattern whose side is `side` px."""
    period = _CELLS * _SEARCH_PX
    zoom = period / side
    height, width = (max(1, round(zoom * length)) for length in blueness.shape)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    small = cv2.resize(blueness, (width, height), interpolation=how)
    blur = _DETAIL * _SEARCH_PX
    detail = small - cv2.GaussianBlur(small, (0, 0), blur)
    # Strong contours would drown the pattern. This power of the contrast was the best of several.
    detail /= (np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), blur)) + _CALM) ** 1.5
    rows, columns = -(-height // period), -(-width // period)
    whole = np.pad(detail, ((0, rows * period - height), (0, columns * period - width)))
    folded = whole.reshape(rows, period, columns, period).sum(axis=(0, 2))
    found = np.fft.rfft2(folded)
    match = [np.fft.irfft2(found * pattern, s=folded.shape) for pattern in _conjugates(period)]
    return max(float(one.max() / max(one.std(), 1e-6)) for one in match)


@lru_cache(maxsize=4)
def _spread(height: int, width: int) -> Array:
    """Return the pattern of a picture, float32 (H, W), about -1 to 1. Do not write into it."""
    side = min(height, width)
    tile = cv2.resize(_tile(), (side, side), interpolation=cv2.INTER_AREA)
    tiles = np.tile(tile, (-(-height // side), -(-width // side)))
    return np.ascontiguousarray(tiles[:height, :width])


@lru_cache(maxsize=1)
def _conjugates(side: int) -> list[Array]:
    """Return the conjugate spectra of the pattern and of its mirror image."""
    tile = cv2.resize(_tile(), (side, side), interpolation=cv2.INTER_AREA)
    return [np.conj(np.fft.rfft2(one)) for one in (tile, tile[:, ::-1])]


@lru_cache(maxsize=1)
def _tile() -> Array:
    """Return one period of the pattern: random cells with soft edges, the same ones for ever."""
    digest = hashlib.shake_128(b"reenact").digest(_CELLS**2 // 8)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8)).reshape(_CELLS, _CELLS)
    side = _CELLS * _CELL_PX
    levels = bits.astype(np.float32) * 2 - 1
    cells = cv2.resize(levels, (side, side), interpolation=cv2.INTER_NEAREST)
    wrapped = cv2.copyMakeBorder(cells, *4 * (_CELL_PX,), cv2.BORDER_WRAP)
    soft = cv2.GaussianBlur(wrapped, (0, 0), _CELL_PX / 4)
    return np.ascontiguousarray(soft[_CELL_PX:-_CELL_PX, _CELL_PX:-_CELL_PX])
