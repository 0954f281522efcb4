"""Temporal smoothing of the picture, which leaves moving regions unchanged.

Landmarks that jitter by a tenth of a pixel make hair and collars flicker by a few grey levels. A
first-order low-pass filter removes this flicker. Its weight of the new picture rises with the local
change, so that motion leaves no trail.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.config import SmoothingSettings
from reenact.face.filters import MAX_GAP_S, smoothing_factor
from reenact.types import Array, Image

_STILL_LEVELS: Final = 4.0
"""Changes around a pixel of up to this many levels are smoothed."""

_MOVING_LEVELS: Final = 4.65
"""Changes of at least this many levels pass unchanged."""

_REACH_SHARE: Final = 1.5 / 256
"""Standard deviation of the blur that averages changes, as a share of the side."""


class PictureFilter:
    """Smooths pixels that hardly change between pictures. One thread calls it at a time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget earlier pictures; the next one passes unchanged."""
        self._state: Array | None = None
        self._shown: Image | None = None

    def step(self, picture: Image, dt_s: float, settings: SmoothingSettings) -> Image:
        """Return the smoothed picture, uint8 (S, S, 3); a change of its size resets the filter.

        The filter keeps the picture that it returns; do not write into it.
        `dt_s` is the time since the previous picture. Of the settings, `enabled` and
        `picture_min_cutoff` are used.
        """
        if not settings.enabled:
            self.reset()
            return picture
        state, shown = self._state, self._shown
        if state is None or shown is None or shown.shape != picture.shape or dt_s > MAX_GAP_S:
            self._state, self._shown = picture.astype(np.float32), picture.copy()
            return picture
        still = float(smoothing_factor(settings.picture_min_cutoff, dt_s))
        share = _share_of_new(picture, shown, still)
        self._state = new = picture.astype(np.float32)
        cv2.blendLinear(new, state, share, 1 - share, dst=new)
        self._shown = np.asarray(cv2.convertScaleAbs(new), np.uint8)
        return self._shown


def _share_of_new(picture: Image, shown: Image, still: float) -> Array:
    """Return the new picture's weights, (S, S), from `still` to 1, by the change around a pixel."""
    half = (picture.shape[1] // 2, picture.shape[0] // 2)
    small = cv2.resize(cv2.absdiff(picture, shown), half, interpolation=cv2.INTER_AREA)
    change = np.maximum.reduce(cv2.split(small)).astype(np.float32)
    change = cv2.GaussianBlur(change, (0, 0), _REACH_SHARE * half[0])
    # Neighbours of moving pixels count as moving.
    change = cv2.dilate(change, np.ones((3, 3), np.uint8))
    moving = np.clip((change - _STILL_LEVELS) / (_MOVING_LEVELS - _STILL_LEVELS), 0, 1)
    share = still + (1 - still) * moving
    return np.asarray(cv2.resize(share, picture.shape[1::-1]), np.float32)
