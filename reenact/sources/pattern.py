"""Moving colour bars with a running number, to test outputs without a camera."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from pydantic import Field

from reenact.config import Pixels
from reenact.registry import SourceSpec
from reenact.sources.clocked import DEFAULT_FPS, ClockedSettings, ClockedSource
from reenact.types import Image


class PatternSource(ClockedSource):
    """Moving colour bars with a running number; see `ClockedSource` for when it is live."""

    def __init__(
        self, size: tuple[int, int] = (1280, 720), fps: float = DEFAULT_FPS, frames: int = 0
    ) -> None:
        super().__init__("test pattern", size, fps, frames)

    def _picture(self, index: int) -> Image:
        return pattern_image(index, self.size)


_BARS: Final = np.array(
    [
        [235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16],
        [235, 16, 235], [235, 16, 16], [16, 16, 235], [16, 16, 16],
    ],
    np.uint8,
)  # fmt: skip
_BAR_STEP_PX: Final = 4


def pattern_image(index: int, size: tuple[int, int]) -> Image:
    """Draw picture number `index` of the test pattern at (width, height) px, uint8 (H, W, 3) RGB.

    The number is written in the middle; the bars move left by 4 px a picture.
    """
    width, height = size
    columns = (np.arange(width) + index * _BAR_STEP_PX) % width * len(_BARS) // width
    image = np.ascontiguousarray(np.broadcast_to(_BARS[columns], (height, width, 3)))
    text = str(index)
    scale = height / 120
    thickness = max(1, round(scale * 2))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    left, bottom = (width - text_width) // 2, (height + text_height) // 2
    pad = text_height // 2
    cv2.rectangle(
        image,
        (left - pad, bottom - text_height - pad),
        (left + text_width + pad, bottom + pad),
        (0, 0, 0),
        cv2.FILLED,
    )
    cv2.putText(
        image, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness
    )
    return image


class PatternSettings(ClockedSettings):
    """Size, frame rate and duration of the test pattern."""

    width: Pixels = Field(1280, ge=64, le=7680, description="width of the pictures")
    height: Pixels = Field(720, ge=64, le=4320, description="height of the pictures")


PATTERN: Final = SourceSpec(
    name="pattern",
    summary="moving colour bars with a running number, to test outputs without a camera",
    build=lambda _, own: PatternSource((own.width, own.height), own.fps, own.frames),
    settings=PatternSettings,
)
