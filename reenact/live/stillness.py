"""Repeats the last picture while the target does not move."""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.types import Array, Drive

MAX_SHIFT: Final = 0.1 / 256
"""Maximum motion of a landmark since it was drawn, relative to the crop's side, that counts as
still. People who speak are never this still (0 to 1 % of the frames of six training clips); a photo
of a person in front of a good camera is in half of the frames."""

_MAX_CHANGE: Final = 0.002
"""The same for the deviation, iod, for the tongue and for the emotions' weights."""

_SETTLE_S: Final = 0.3
"""A still drive is drawn for this time, so that a renderer's fades and filters can settle."""

_MAX_AGE_S: Final = 1.0
"""After this time a picture is redrawn in any case."""


class Stillness:
    """Decides which drives need not be drawn. One thread calls it.

    Args:
        size_px: side of the crop, in whose px the landmarks are.
    """

    def __init__(self, size_px: int) -> None:
        self._max_px = MAX_SHIFT * size_px
        self.reset()

    def reset(self) -> None:
        """Forget what was drawn."""
        self._drawn: Drive | None = None
        self._still_s = self._age_s = 0.0

    def repeats(self, drive: Drive) -> bool:
        """Return True if the last picture also shows this drive; False if it must be drawn."""
        near = self._drawn is not None and self._is_near(self._drawn, drive)
        self._still_s = self._still_s + drive.dt_s if near else 0.0
        self._age_s += drive.dt_s
        if self._still_s >= _SETTLE_S and self._age_s < _MAX_AGE_S:
            return True
        self._drawn, self._age_s = drive, 0.0
        return False

    def _is_near(self, drawn: Drive, drive: Drive) -> bool:
        pairs: list[tuple[Array | float, Array | float, float]] = [
            (drawn.landmarks[:, :2], drive.landmarks[:, :2], self._max_px),
            (drawn.expression.deviation[:, :2], drive.expression.deviation[:, :2], _MAX_CHANGE),
            (drawn.expression.tongue, drive.expression.tongue, _MAX_CHANGE),
            (drawn.emotion, drive.emotion, _MAX_CHANGE),
            (drawn.intensity, drive.intensity, _MAX_CHANGE),
        ]
        for before, now in (
            (drawn.body.torso, drive.body.torso),
            (drawn.body.hair, drive.body.hair),
        ):
            if (before is None) != (now is None):
                return False
            if before is not None and now is not None:
                pairs.append((before.motion, now.motion, MAX_SHIFT))
                pairs.append((before.share, now.share, _MAX_CHANGE))
        return all(np.abs(np.subtract(a, b)).max() <= most for a, b, most in pairs)
