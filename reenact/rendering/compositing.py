"""Pastes the generated crop into the target's whole picture without visible edges.

Everything that depends only on the target is computed once. The plate is scaled and shifted so that
the crop's edges lie on whole px; a frame then costs a resize, a product and a sum over the box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.imaging import resized_square, smoothstep
from reenact.types import Array, Image, Target

_FEATHER_SHARE: Final = 0.13
"""Width of the soft edge, as a share of the crop's side."""

_TOP_STEEPNESS: Final = 2.0
"""Factor by which the soft edge is narrower at the top, where hair reaches into it."""

_CORNER_SHARE: Final = 0.35
"""Radius of the rounded corners, as a share of the crop's side. The corners show the plate, because
shoulders reach into them and a nodding head hardly does."""

_FADE_SHARE: Final = 0.16
"""Share of the crop's side over which the mesh's motion fades towards the plate."""

_ALIGNED_PX: Final = 0.02
"""A side longer than a whole number of px by no more than this is rounded down to it."""


class Paster:
    """Pastes crops of one target into its plate. One thread calls it at a time.

    Args:
        target: provides the plate and the crop's place in it.
        max_side: px; a plate whose longer side exceeds it is scaled down to it.

    Attributes:
        plate: uint8 (H, W, 3) RGB, the aligned plate; do not write into it.
        plate_alpha: uint8 (H, W), the alpha in it of a target that has one; else None.
        size: (width, height) px of the composed pictures, both even.
        box: rows and columns of the plate that the crop covers.
        square: (left, top, side) px of the whole crop in the plate; it may extend beyond it.
    """

    def __init__(self, target: Target, max_side: int = 1280) -> None:
        align, self.square = _alignment(target, max_side)
        self.plate = align(target.plate)
        self.plate_alpha = None if target.plate_alpha is None else align(target.plate_alpha)
        left, top, side = self.square
        height, width = self.plate.shape[:2]
        self.size = (width, height)
        x0, x1 = np.clip([left, left + side], 0, width).tolist()
        y0, y1 = np.clip([top, top + side], 0, height).tolist()
        self.box = slice(y0, y1), slice(x0, x1)
        self._cut = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        weight = _soft_mask(
            _depth(side, left, side, width), _depth(side, top, side, height, _TOP_STEEPNESS)
        )[self._cut]
        self._alpha = np.repeat(np.round(weight * 255).astype(np.uint8)[..., None], 3, axis=2)
        rest = self.plate[self.box] * (1 - self._alpha / 255)
        self._weighted_plate = np.round(rest).astype(np.uint8)

    def paste(self, crop_image: Image) -> Image:
        """Return a new picture, uint8 (H, W, 3), with a crop pasted, uint8 (S, S, 3) RGB; any S."""
        result = self.plate.copy()
        if self._alpha.size:
            crop = self._resized(crop_image)[self._cut]
            # On bytes this takes a third of the time of a blend in floating point.
            result[self.box] = cv2.multiply(crop, self._alpha, scale=1 / 255) + self._weighted_plate
        return result

    def paste_alpha(self, alpha: NDArray[np.uint8], rest: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paste a crop's alpha, uint8 (S, S), into that of the plate, uint8 (H, W); a new array."""
        result = rest.copy()
        if self._alpha.size:
            share = self._alpha[..., 0].astype(np.float32) * np.float32(1 / 255)
            crop = np.ascontiguousarray(self._resized(alpha)[self._cut])
            result[self.box] = cv2.blendLinear(crop, rest[self.box], share, 1 - share)
        return result

    def _resized(self, crop: Image) -> Image:
        """Scale a crop to its side in the plate.

        A small reduction is bilinear, because averaging areas takes 2 ms.
        """
        side = self.square[2]
        if side < len(crop) < 2 * side:
            return np.asarray(cv2.resize(crop, (side, side)), np.uint8)
        return resized_square(crop, side)


def shown_side(target: Target, max_side: int) -> float:
    """Return the side of the crop in the pictures of a `Paster`, px."""
    reduction = min(1.0, max_side / max(target.plate.shape[:2]))
    return target.crop_size * float(target.crop_to_plate[0, 0]) * reduction


def edge_fade(target: Target, side: int) -> Array:
    """Return (side, side, 1) factors on the mesh's motion: 0 at the crop's edge, 1 inside.

    Motion fades where the plate continues beyond the crop, so that shoulders and background meet
    it. It does not fade where the crop's edge is the plate's.
    """
    height, width = target.plate.shape[:2]
    reach = target.crop_size * float(target.crop_to_plate[0, 0])
    left, top = target.crop_to_plate[:, 2].tolist()
    columns, rows = (
        smoothstep(np.minimum(_depth(side, start - 1, reach + 2, length) / _FADE_SHARE, 1))
        for start, length in ((left, width), (top, height))
    )
    return np.asarray(np.minimum.outer(rows, columns)[..., None], dtype=np.float32)


def share_above(target: Target) -> float:
    """Return the share of the crop's side that lies above the plate."""
    reach = target.crop_size * float(target.crop_to_plate[0, 0])
    return max(0.0, -float(target.crop_to_plate[1, 2]) / reach)


def _alignment(
    target: Target, max_side: int
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], tuple[int, int, int]]:
    """Return what aligns the plate, or its alpha, to even sides and to the crop's edges.

    Also returns the crop's left, top and side in the result, whole px.
    """
    affine = target.crop_to_plate.astype(np.float64)
    plate_size = np.array(target.plate.shape[1::-1])
    reduction = min(1.0, max_side / plate_size.max())
    size = np.maximum(2, 2 * np.floor(plate_size * reduction / 2 + 0.01)).astype(int)
    side = max(1, math.ceil(shown_side(target, max_side) - _ALIGNED_PX))
    scale = side / (target.crop_size * affine[0, 0])
    # Edges, not centres: a pixel reaches half a px to each side of its centre.
    edges = (affine[:, 2] + 0.5 - affine[0, 0] / 2) * scale
    surplus = np.maximum(plate_size * scale - size, 0)
    corner = np.round(edges - np.floor(surplus / 2))
    shift = corner - edges + (scale - 1) / 2
    sigma = 0.5 * math.sqrt(max(1 / scale**2 - 1, 0.0))

    def align(plate: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if sigma > 0.1:  # low-pass before subsampling
            plate = np.asarray(cv2.GaussianBlur(plate, (0, 0), sigma), np.uint8)
        moved = cv2.warpAffine(
            plate,
            np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]),
            size.tolist(),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(moved, np.uint8)

    return align, (int(corner[0]), int(corner[1]), side)


def _depth(cells: int, start: float, reach: float, length: float, steepness: float = 1.0) -> Array:
    """Return the distance of each of a crop's cells from its nearer end on one axis, as shares.

    Distances from the first end are multiplied by the steepness. An end at or beyond the plate's
    edge (0 or `length`) does not count, because no plate continues there.
    """
    position = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    depth = np.full(cells, np.inf, np.float32)
    if start > 0:
        depth = np.minimum(depth, position * np.float32(steepness))
    if start + reach < length:
        depth = np.minimum(depth, 1 - position)
    return depth


def _soft_mask(depth_x: Array, depth_y: Array) -> Array:
    """Return the crop's weights, (h, w): a rectangle with round corners and soft edges."""
    beside, above = (np.maximum(_CORNER_SHARE - depth, 0) for depth in (depth_x, depth_y))
    inside = (_CORNER_SHARE - np.hypot(beside[None, :], above[:, None])) / _FEATHER_SHARE
    return np.asarray(smoothstep(np.clip(inside, 0, 1)), dtype=np.float32)
