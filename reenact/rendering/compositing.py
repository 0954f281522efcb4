"""Pastes the generated crop into the target's whole picture without visible edges.

Everything that depends on the target alone is computed once. The plate is scaled so that the crop's
box has integer edges in it. A frame then costs one separable resize, one multiplication and one
addition over that box.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from reenact.imaging import smoothstep
from reenact.types import Array, Image, Target

_FEATHER_SHARE: Final = 0.13
"""Width of the soft edge, as a share of the crop's side."""

_TOP_STEEPNESS: Final = 2.0
"""The edge at the top is narrower by this factor: hair rises into it with the head."""

_CORNER_SHARE: Final = 0.35
"""Radius of the rounded corners, as a share of the crop's side. Shoulders, which the plate shows at
rest, reach into the corners; a nodding head hardly does."""

_ALIGNED_PX: Final = 0.02
"""A box this close to integer pixels is not resampled."""


class Paster:
    """Pastes crops of one target into its plate.

    One thread calls it at a time.

    Args:
        target: its `plate` and `crop_to_plate` are used. Crops of any size may be pasted; the
            renderer's size may differ from that of the stored references.
        max_side: px; a plate with a longer side is scaled down to it.

    Attributes:
        plate: uint8 (H, W, 3) RGB, the scaled plate; do not write into it.
        size: (width, height) px of the composed pictures, both even.
        box: (left, top, right, bottom) px of the part of that picture which the crop covers.
        square: (left, top, side) px of the whole crop in it; it may extend beyond the picture.
    """

    def __init__(self, target: Target, max_side: int = 1280) -> None:
        self.plate, left, top, self._side = _aligned_plate(target, max_side)
        height, width = self.plate.shape[:2]
        self.size = (width, height)
        self.square = (left, top, self._side)
        self.box = (
            min(max(left, 0), width),
            min(max(top, 0), height),
            min(max(left + self._side, 0), width),
            min(max(top + self._side, 0), height),
        )
        x0, y0, x1, y1 = self.box
        self._cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        weight = _soft_mask(
            _depth(self._side, left, width)[self._cut[1]],
            _depth(self._side, top, height, _TOP_STEEPNESS)[self._cut[0]],
            self._side,
        )
        self._weight = np.ascontiguousarray(np.repeat(weight[..., None], 3, axis=2))
        self._kept: Array = self.plate[y0:y1, x0:x1] * (np.float32(1) - self._weight)

    def paste(self, crop_image: Image) -> Image:
        """Return the whole picture with the crop pasted in.

        Args:
            crop_image: uint8 (S, S, 3) RGB.

        Returns:
            uint8 (H, W, 3) RGB of `size`, contiguous, a new array each time.
        """
        result = self.plate.copy()
        x0, y0, x1, y1 = self.box
        if x0 == x1 or y0 == y1:
            return result
        moving = cv2.multiply(self._resized(crop_image)[self._cut], self._weight, dtype=cv2.CV_32F)
        result[y0:y1, x0:x1] = cv2.add(moving, self._kept, dtype=cv2.CV_8U)
        return result

    def _resized(self, crop_image: Image) -> Image:
        side = crop_image.shape[0]
        if side == self._side:
            return crop_image
        # Cubic keeps an enlarged face sharp; area averages all pixels of a shrunk one.
        method = cv2.INTER_CUBIC if self._side > side else cv2.INTER_AREA
        resized = cv2.resize(crop_image, (self._side, self._side), interpolation=method)
        return np.asarray(resized, dtype=np.uint8)


def _aligned_plate(target: Target, max_side: int) -> tuple[Image, int, int, int]:
    """Scale the plate so that the crop's box has integer edges.

    Returns:
        The plate with even sides, and the box's left, top and side in px of it.
    """
    plate = target.plate
    height, width = plate.shape[:2]
    # Edges, not centres: a pixel reaches half a px to each side of its centre.
    scale_to_plate = float(target.crop_to_plate[0, 0])
    left = float(target.crop_to_plate[0, 2]) + 0.5 - scale_to_plate / 2
    top = float(target.crop_to_plate[1, 2]) + 0.5 - scale_to_plate / 2
    side = target.crop_size * scale_to_plate

    wanted = min(1.0, max_side / max(width, height))
    out_width, out_height = _even(width * wanted), _even(height * wanted)
    out_side = max(1, math.ceil(side * wanted - _ALIGNED_PX))
    scale = out_side / side
    if abs(scale - 1) * max(side, width, height) < _ALIGNED_PX:
        scale = 1.0
    shift_x = _whole_shift(left * scale, width * scale - out_width)
    shift_y = _whole_shift(top * scale, height * scale - out_height)
    out_left, out_top = round(left * scale + shift_x), round(top * scale + shift_y)
    if scale == 1.0 and max(abs(shift_x), abs(shift_y)) < _ALIGNED_PX:
        image = np.ascontiguousarray(_filled(plate, out_width, out_height))
        return image, out_left, out_top, out_side
    affine = np.array(
        [
            [scale, 0, shift_x + (scale - 1) / 2],
            [0, scale, shift_y + (scale - 1) / 2],
        ]
    )
    return _resampled(plate, affine, (out_width, out_height)), out_left, out_top, out_side


def _even(length: float) -> int:
    return max(2, 2 * math.floor(length / 2 + 0.01))


def _whole_shift(edge: float, surplus: float) -> float:
    """Return the shift that moves an edge to an integer px and splits the surplus on both sides."""
    if abs(edge - round(edge)) < _ALIGNED_PX and surplus < 2:
        return round(edge) - edge
    return round(edge - surplus / 2) - edge


def _filled(plate: Image, width: int, height: int) -> Image:
    """Crop to the size, or repeat the last row or column of a plate one px too small."""
    missing_x, missing_y = max(0, width - plate.shape[1]), max(0, height - plate.shape[0])
    if missing_x or missing_y:
        plate = np.pad(plate, ((0, missing_y), (0, missing_x), (0, 0)), mode="edge")
    return plate[:height, :width]


def _resampled(plate: Image, affine: Array, size: tuple[int, int]) -> Image:
    """Apply a (2, 3) scale and shift of pixel centres, without aliasing."""
    scale = float(affine[0, 0])
    if scale < 1:  # low-pass before subsampling
        sigma = 0.5 * math.sqrt(max(1 / scale**2 - 1, 0.0))
        plate = np.asarray(cv2.GaussianBlur(plate, (0, 0), sigma), dtype=np.uint8)
    result = cv2.warpAffine(
        plate, affine, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(result, dtype=np.uint8)


def _depth(side: int, start: int, length: int, steepness: float = 1.0) -> Array:
    """Return the (side,) distances, px, from each place of the crop to its nearer end on one axis.

    Distances from the first end are multiplied by the steepness. An end at or beyond the plate's
    own edge (0 or `length`) does not count: nothing of the plate lies beside it.
    """
    place = np.arange(side, dtype=np.float32) + 0.5
    depth = np.full(side, np.inf, np.float32)
    if start > 0:
        depth = np.minimum(depth, place * np.float32(steepness))
    if start + side < length:
        depth = np.minimum(depth, side - place)
    return depth


def _soft_mask(depth_x: Array, depth_y: Array, side: int) -> Array:
    """Return (h, w) weights of the crop: a rectangle with round corners and soft edges."""
    radius = _CORNER_SHARE * side
    beside = np.hypot(
        np.maximum(radius - depth_x, 0)[None, :], np.maximum(radius - depth_y, 0)[:, None]
    )
    x = np.clip((radius - beside) / max(1.0, _FEATHER_SHARE * side), 0, 1)
    return np.asarray(smoothstep(x), dtype=np.float32)
