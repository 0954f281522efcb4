"""Writes a label, such as "AI", into a picture, to tell viewers that it is synthetic.

A virtual camera carries no metadata, so only the picture itself can tell.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from reenact.types import Image

_TEXT_SHARE: Final = 1 / 24
"""Height of the text, as a share of the picture's shorter side."""

_MIN_TEXT_PX: Final = 10
_PADDING: Final = 0.5
"""Space around the text, and around the label, as a share of the text's height."""

_PLATE_OPACITY: Final = 0.6
"""Opacity of the dark plate behind the text, which keeps it readable on any picture."""


def write_label(picture: Image, alpha: NDArray[np.uint8] | None, text: str) -> None:
    """Write a text on a dark plate into the lower left corner, in place.

    Args:
        picture: uint8 (H, W, 3) RGB.
        alpha: its alpha channel, uint8 (H, W), which becomes opaque under the label; or None.
        text: shrunk if it is wider than the picture.
    """
    height, width = picture.shape[:2]
    plate = _plate(text, max(_MIN_TEXT_PX, round(min(height, width) * _TEXT_SHARE)))
    margin = round(_PADDING * plate.shape[0] / 2)
    shrink = min(1.0, (width - 2 * margin) / plate.shape[1], (height - 2 * margin) / len(plate))
    if shrink < 1:
        size = [max(1, int(side * shrink)) for side in plate.shape[1::-1]]
        plate = np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = plate.shape[:2]
    corner = slice(height - margin - rows, height - margin), slice(margin, margin + columns)
    share = plate[..., 1].astype(np.float32) / 255
    covered = picture[corner]
    covered[:] = cv2.blendLinear(cv2.merge([plate[..., 0]] * 3), covered.copy(), share, 1 - share)
    if alpha is not None:
        np.maximum(alpha[corner], plate[..., 1], out=alpha[corner])


@lru_cache(maxsize=4)
def _plate(text: str, height_px: int) -> Image:
    """Draw a label: uint8 (H, W, 2), grey level and opacity. Do not write into it."""
    font = ImageFont.truetype(_font_file(), height_px)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    pad = round(_PADDING * height_px)
    size = right - left + 2 * pad, max(height_px, bottom - top) + 2 * pad
    letters = Pictures.new("L", size)
    middle = size[0] / 2, size[1] / 2
    ImageDraw.Draw(letters).text(middle, text, fill=255, font=font, anchor="mm")
    grey = np.asarray(letters, np.uint8)
    opacity = np.maximum(grey, np.uint8(255 * _PLATE_OPACITY))
    return np.dstack([grey, opacity])


def _font_file() -> Path:
    """Return DejaVu Sans in matplotlib, which is not imported; Pillow's own font is ASCII alone."""
    found = find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
