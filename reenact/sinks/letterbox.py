"""What the sinks share: fitting a picture into a fixed size."""

from __future__ import annotations

import cv2
import numpy as np

from reenact.types import Image


def even(size: tuple[int, int]) -> tuple[int, int]:
    """Round (width, height) px up to even numbers, as pictures with halved colour need them."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def letterbox(image: Image, size: tuple[int, int]) -> Image:
    """Fit a picture into another size: whole, centred, its proportions kept, bars black.

    A picture that is only rounded up to even numbers is not scaled: its last row or column is
    repeated. One that has the size already is returned as it is.

    Args:
        image: uint8 (H, W, 3) RGB.
        size: (width, height) px of the result.

    Returns:
        uint8 (height, width, 3) RGB, contiguous.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(image)
    if even((width, height)) == size:
        padding = ((0, size[1] - height), (0, size[0] - width), (0, 0))
        return np.pad(image, padding, mode="edge")
    factor = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    fitted = np.zeros((size[1], size[0], 3), np.uint8)
    fitted[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        image, inner, interpolation=method
    )
    return fitted
