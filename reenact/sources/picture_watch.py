"""Checks a camera's pictures: whether it hangs, is covered, and what its rate is."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

FROZEN_AFTER_S: Final = 1.0
"""A camera whose pictures stay identical for this long hangs: noise never repeats."""

BLACK_AFTER_S: Final = 2.0
"""A picture that is nearly black for this long is reported."""

_MAX_BLACK_LEVEL: Final = 16
_MAX_BRIGHT_SHARE: Final = 0.005  # of a black picture's pixels: hot pixels, a status light
_SAMPLE_STEP_PX: Final = 8

_RATE_WINDOW: Final = 60  # intervals


class PictureWatch:
    """Detects a frozen or black picture; all times are those of the frames."""

    def __init__(self) -> None:
        self._previous: NDArray[np.uint8] | None = None
        self._same_since_s = 0.0
        self._black_since_s: float | None = None
        self._now_s = 0.0
        self.is_repeat = False

    def look(self, picture: NDArray[np.uint8], time_s: float) -> None:
        """Process the next picture, uint8 (H, W, 3) or (H, W), and its time."""
        previous = self._previous
        # Comparing a few rows suffices for most pictures, because noise is everywhere.
        self.is_repeat = (
            previous is not None
            and previous.shape == picture.shape
            and np.array_equal(previous[:: _SAMPLE_STEP_PX * 4], picture[:: _SAMPLE_STEP_PX * 4])
            and np.array_equal(previous, picture)
        )
        if not self.is_repeat:
            self._previous = picture
            self._same_since_s = time_s
        sample = picture[::_SAMPLE_STEP_PX, ::_SAMPLE_STEP_PX]
        if np.count_nonzero(sample > _MAX_BLACK_LEVEL) > _MAX_BRIGHT_SHARE * sample.size:
            self._black_since_s = None
        elif self._black_since_s is None:
            self._black_since_s = time_s
        self._now_s = time_s

    @property
    def looks_black(self) -> bool:
        """True if the last picture was nearly black."""
        return self._black_since_s is not None

    @property
    def is_black(self) -> bool:
        """True if the pictures have been nearly black for BLACK_AFTER_S."""
        since_s = self._black_since_s
        return since_s is not None and self._now_s - since_s >= BLACK_AFTER_S

    @property
    def is_frozen(self) -> bool:
        """True if the picture has not changed for FROZEN_AFTER_S, unless its lens is covered."""
        return self._black_since_s is None and self._now_s - self._same_since_s >= FROZEN_AFTER_S


class RateMeter:
    """Measures the frame rate over the last pictures."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=_RATE_WINDOW + 1)

    def add(self, time_s: float) -> None:
        """Record the time of a new picture."""
        self._times_s.append(time_s)

    def rate(self, otherwise: float) -> float:
        """Return frames/s, or `otherwise` until there are two pictures."""
        if len(self._times_s) < 2:
            return otherwise
        span_s = self._times_s[-1] - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else otherwise
