"""Picture operations that everything shares: value ranges, scaling, letterboxing, crops.

Only `to_unit` and `from_unit` convert between 0..255 and -1..1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.types import Array, Frame, Image

LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of RGB by ITU-R BT.601."""

_MIRRORED_GAP: Final = 0.4
"""How deep a picture is mirrored beyond its edge, as a share of the distance between face and edge:
a mirrored forehead above hair that the edge cuts off, or a second chin on the neck, would be seen
at once."""

_KNEE: Final = 185
"""Level from which a brighter one is compressed; cut off at 255, teeth are one white slab."""

_Number = TypeVar("_Number", float, Array)


def to_unit(image: NDArray[np.uint8]) -> Array:
    """Map uint8 (..., H, W, 3) in 0..255 to float32 (..., 3, H, W) in -1..1."""
    scaled = image.astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def ramp(value: float, low: float, high: float) -> float:
    """Return 0 up to `low`, 1 from `high` on, and a linear ramp between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def smoothstep(x: _Number) -> _Number:
    """Return 3x² - 2x³, a ramp from 0 to 1 with flat ends, of x from 0 to 1."""
    return x * x * (3 - 2 * x)


def in_bytes(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert a mask from 0..1 to 0..255, rounded."""
    return np.asarray(np.round(np.asarray(mask) * 255), dtype=np.uint8)


def from_unit(tensor: Array) -> NDArray[np.uint8]:
    """Map float32 (..., 3, H, W) in -1..1 to uint8 (..., H, W, 3), clipped and rounded."""
    height, width = tensor.shape[-2:]
    planes = np.ascontiguousarray(tensor, np.float32).reshape(-1, 3, height, width)
    result = np.empty((len(planes), height, width, 3), np.uint8)
    for picture, colours in zip(result, planes, strict=True):
        merged = cv2.merge(list(colours))
        picture[:] = cv2.addWeighted(merged, 127.5, merged, 0, 127.5, dtype=cv2.CV_8U)
    return result.reshape(*tensor.shape[:-3], height, width, 3)


def below_white(levels: Array) -> NDArray[np.uint8]:
    """Convert levels of 0 or more to uint8; bright ones approach white as in a camera's picture."""
    over = np.maximum(levels - _KNEE, 0)
    room = np.float32(255 - _KNEE)
    return np.asarray(np.minimum(levels, _KNEE) + room * (1 - np.exp(-over / room)), np.uint8)


def blend_in(part: NDArray[np.uint8], other: NDArray[np.uint8], share: Array) -> None:
    """Blend another picture into a part of a picture, both uint8 (H, W) or (H, W, C); in place.

    `share` is that of the other, float32 (H, W), 0 to 1.
    """
    cv2.blendLinear(other, part, share, 1 - share, dst=part)


def is_picture(image: object) -> bool:
    """Return True if this, such as what a plugin returns, is uint8 (H, W, 3) and not empty."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not image.size:
        return False
    return image.ndim == 3 and image.shape[2] == 3


def turned(image: Image, turns: int) -> Image:
    """Turn a picture by quarter turns, counter-clockwise like `np.rot90`."""
    ways = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
    way = ways[turns % 4]
    return image if way is None else np.asarray(cv2.rotate(image, way), dtype=np.uint8)


def rotated(frame: Frame, degrees: int) -> Frame:
    """Turn a frame clockwise by a multiple of 90; one that carries landmarks stays as it is."""
    if frame.performance is not None:
        return frame
    return replace(frame, image=turned(frame.image, -degrees // 90))


def resized_square(picture: Image, size_px: int) -> Image:
    """Scale a square picture, uint8 (S, S, 3), to another side."""
    if picture.shape[0] == size_px:
        return picture
    shrinks = size_px < picture.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size_px, size_px), interpolation=method))


def limited(image: Image, max_side_px: int) -> Image:
    """Scale a picture, uint8 (H, W, 3), down if its longer side is above `max_side_px`."""
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encoded(image: Image, suffix: str, quality: int = 95) -> bytes:
    """Encode uint8 (H, W, 3) RGB as ".jpg", of this quality from 0 to 100, or as ".png".

    A PNG may also have an alpha channel: (H, W, 4) RGBA.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def with_alpha(frame: Frame) -> NDArray[np.uint8]:
    """Return a frame's picture with straight alpha, uint8 (H, W, 4) RGBA; 255 if it has none."""
    alpha = np.full(frame.image.shape[:2], 255, np.uint8) if frame.alpha is None else frame.alpha
    picture = np.empty((*alpha.shape, 4), np.uint8)
    cv2.mixChannels([frame.image, alpha], [picture], [0, 0, 1, 1, 2, 2, 3, 3])
    return picture


def on_white(rgba: NDArray[np.uint8]) -> Image:
    """Composite uint8 (H, W, 4) RGBA with straight alpha on white; return uint8 (H, W, 3) RGB."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(mixed.astype(np.uint8))


def even(size: tuple[int, int]) -> tuple[int, int]:
    """Round (width, height) px up to even numbers, as 4:2:0 chroma subsampling needs them."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def letterbox(image: Image, size: tuple[int, int]) -> Image:
    """Fit a whole picture into another size, centred between black bars, with its aspect ratio.

    A picture whose size is only rounded up to even numbers is not scaled; its last row or column is
    repeated. A picture of the right size is returned as it is.

    Args:
        image: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA, where the bars are transparent.
        size: (width, height) px of the result.

    Returns:
        uint8 (height, width, 3) RGB or (height, width, 4) RGBA, contiguous.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(image)
    if even((width, height)) == size:
        padding = ((0, size[1] - height), (0, size[0] - width), (0, 0))
        return np.pad(image, padding, mode="edge")
    factor = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    bars = top, size[1] - inner[1] - top, left, size[0] - inner[0] - left
    fitted = cv2.resize(image, inner, interpolation=method)
    return np.asarray(cv2.copyMakeBorder(fitted, *bars, cv2.BORDER_CONSTANT), np.uint8)


def mirrored_within(
    positions: Array, count: int, face: tuple[float, float], deepest: float = np.inf
) -> Array:
    """Map positions on one axis, px, into a picture; what lies beyond its edge is mirrored.

    The mirror image ends at a depth that does not reach the face; from there its last px goes on.

    Args:
        positions: (N,) px.
        count: px of the picture along the axis.
        face: first and last position of the face.
        deepest: maximum depth of the mirror image, px.
    """
    inside = np.clip(positions, 0, count - 1)
    beyond = positions - inside
    gap = np.where(beyond < 0, face[0], count - 1 - face[1])
    depth = np.clip(_MIRRORED_GAP * gap, 1, deepest)
    mirrored = inside - depth * np.tanh(beyond / depth)
    return np.asarray(np.clip(mirrored, 0, count - 1), np.float32)


def invert_affine(affine: Array) -> Array:
    """Invert a (2, 3) affine."""
    return np.asarray(cv2.invertAffineTransform(affine), dtype=np.float32)


def crop_image(image: Image, affine: Array, size_px: int) -> Image:
    """Cut the (size_px, size_px, 3) crop that a (2, 3) affine describes; edges are repeated."""
    scale = float(np.hypot(affine[0, 0], affine[1, 0]))
    if scale < 0.5:  # shrink first, so that no pixel is skipped
        factor = max(0.5 ** int(np.floor(np.log2(1 / scale))), 1 / min(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        fx, fy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        to_small = np.array(
            [[1 / fx, 0, 0.5 * (1 / fx - 1)], [0, 1 / fy, 0.5 * (1 / fy - 1)], [0, 0, 1]]
        )
        affine = (np.vstack([affine, [0, 0, 1]]) @ to_small)[:2].astype(np.float32)
        image = small.astype(np.uint8)
    interpolation = cv2.INTER_LINEAR if scale <= 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.warpAffine(
            image, affine, (size_px, size_px), flags=interpolation, borderMode=cv2.BORDER_REPLICATE
        )
    )
