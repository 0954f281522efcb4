"""Pastes the generated crop into the target's whole picture without visible edges.

All that depends on the target alone is computed once. The plate is scaled and shifted so that the
crop's box has integer edges in it; a frame then costs a resize, a product and a sum over the box.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from reenact.imaging import resized_square, smoothstep
from reenact.types import Array, Image, Target

_FEATHER_SHARE: Final = 0.13
"""Width of the soft edge, as a share of the crop's side."""

_TOP_STEEPNESS: Final = 2.0
"""The edge at the top is narrower by this factor: hair rises into it with the head."""

_CORNER_SHARE: Final = 0.35
"""Radius of the rounded corners, as a share of the crop's side. Shoulders, which the plate shows at
rest, reach into the corners; a nodding head hardly does."""

_FADE_SHARE: Final = 0.16
"""Share of the crop's side over which the mesh's motion fades towards the plate."""

_ALIGNED_PX: Final = 0.02
"""A side this little longer than a whole number of px counts as that number."""


class Paster:
    """Pastes crops of one target into its plate. One thread calls it at a time.

    Args:
        target: its `plate` and `crop_to_plate` are used. Crops of any size may be pasted.
        max_side: px; a plate with a longer side is scaled down to it.

    Attributes:
        plate: uint8 (H, W, 3) RGB, the aligned plate; do not write into it.
        size: (width, height) px of the composed pictures, both even.
        box: rows and columns of the part of that picture which the crop covers.
        square: (left, top, side) px of the whole crop in it; it may extend beyond the picture.
    """

    def __init__(self, target: Target, max_side: int = 1280) -> None:
        self.plate, self.square = _aligned_plate(target, max_side)
        left, top, side = self.square
        height, width = self.plate.shape[:2]
        self.size = (width, height)
        self.box, self._cut = overlap(self.square, self.plate)
        weight = _soft_mask(
            _depth(side, left, side, width), _depth(side, top, side, height, _TOP_STEEPNESS)
        )[self._cut]
        self._levels = np.repeat(np.round(weight * 255).astype(np.uint8)[..., None], 3, axis=2)
        behind = self.plate[self.box] * (1 - self._levels / 255)
        self._behind = np.round(behind).astype(np.uint8)

    def paste(self, crop_image: Image) -> Image:
        """Paste a crop, uint8 (S, S, 3) RGB; return a new uint8 (H, W, 3) picture of `size`."""
        result = self.plate.copy()
        if self._levels.size:
            crop = self._resized(crop_image)[self._cut]
            # In bytes this takes a third of the time of a blend by fractions.
            result[self.box] = cv2.multiply(crop, self._levels, scale=1 / 255) + self._behind
        return result

    def _resized(self, crop: Image) -> Image:
        """Scale a crop to its side in the picture; by areas, a small reduction takes 2 ms."""
        side = self.square[2]
        if side < len(crop) < 2 * side:
            return np.asarray(cv2.resize(crop, (side, side)), np.uint8)
        return resized_square(crop, side)


def overlap(
    square: tuple[int, int, int], picture: Image
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return rows and columns of a picture that a square covers, and the square's that are in it.

    The square is (left, top, side) px of the picture, and may extend beyond it.
    """
    left, top, side = square
    x0, x1 = np.clip([left, left + side], 0, picture.shape[1]).tolist()
    y0, y1 = np.clip([top, top + side], 0, picture.shape[0]).tolist()
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    return (slice(y0, y1), slice(x0, x1)), inside


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
    scale, left, top = (float(target.crop_to_plate[at]) for at in ((0, 0), (0, 2), (1, 2)))
    reach = target.crop_size * scale
    across, down = (
        smoothstep(np.minimum(_depth(side, start - 1, reach + 2, length) / _FADE_SHARE, 1))
        for start, length in ((left, width), (top, height))
    )
    return np.asarray(np.minimum.outer(down, across)[..., None], dtype=np.float32)


def share_above(target: Target) -> float:
    """Return how much of the crop, at its top, lies above the plate, as a share of its side."""
    reach = target.crop_size * float(target.crop_to_plate[0, 0])
    return max(0.0, -float(target.crop_to_plate[1, 2]) / reach)


def _aligned_plate(target: Target, max_side: int) -> tuple[Image, tuple[int, int, int]]:
    """Return the plate with even sides, and the crop's left, top and side in px of it."""
    plate, affine = target.plate, target.crop_to_plate.astype(np.float64)
    own = np.array(plate.shape[1::-1])
    wanted = min(1.0, max_side / own.max())
    size = np.maximum(2, 2 * np.floor(own * wanted / 2 + 0.01)).astype(int)
    side = target.crop_size * affine[0, 0]
    whole = max(1, math.ceil(shown_side(target, max_side) - _ALIGNED_PX))
    scale = whole / side
    # Edges, not centres: a pixel reaches half a px to each side of its centre.
    edges = (affine[:, 2] + 0.5 - affine[0, 0] / 2) * scale
    surplus = np.maximum(own * scale - size, 0)
    corner = np.round(edges - np.floor(surplus / 2))
    shift = corner - edges + (scale - 1) / 2
    sigma = 0.5 * math.sqrt(max(1 / scale**2 - 1, 0.0))
    if sigma > 0.1:  # low-pass before subsampling
        plate = np.asarray(cv2.GaussianBlur(plate, (0, 0), sigma), np.uint8)
    moved = cv2.warpAffine(
        plate,
        np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]),
        size.tolist(),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.uint8), (int(corner[0]), int(corner[1]), whole)


def _depth(cells: int, start: float, reach: float, length: float, steepness: float = 1.0) -> Array:
    """Return how far each of a crop's cells lies from its nearer end on one axis, as shares.

    Distances from the first end are multiplied by the steepness. An end at or beyond the plate's
    own edge (0 or `length`) does not count: nothing of the plate lies beside it.
    """
    place = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    depth = np.full(cells, np.inf, np.float32)
    if start > 0:
        depth = np.minimum(depth, place * np.float32(steepness))
    if start + reach < length:
        depth = np.minimum(depth, 1 - place)
    return depth


def _soft_mask(depth_x: Array, depth_y: Array) -> Array:
    """Return (h, w) weights of the crop: a rectangle with round corners and soft edges."""
    beside, above = (np.maximum(_CORNER_SHARE - depth, 0) for depth in (depth_x, depth_y))
    inside = (_CORNER_SHARE - np.hypot(beside[None, :], above[:, None])) / _FEATHER_SHARE
    return np.asarray(smoothstep(np.clip(inside, 0, 1)), dtype=np.float32)
