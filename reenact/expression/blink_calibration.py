"""How far an actor's eyes shut in the tracker's eyes, learned from blinks.

Of a shut eye the tracker often leaves a gap: in clips of 47 people a blink's narrowest gap is .16
of the open one in the median, and .34 or more for a quarter of the eyes. Taken as they are, such
gaps leave the target's eyes half open whenever the actor blinks.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from reenact.face.regions import LID_INDEX
from reenact.types import Array

EYE_PAIRS: Final = len(LID_INDEX) // 2
"""Pairs of lids of one eye in `regions.lid_closure`, the right eye's first."""

_OPEN: Final = 0.75
"""From this closure on an eye is open again."""

_NARROW: Final = 0.6
"""What does not get below this is no blink."""

_BLINK_S: Final = 0.5
"""A blink takes no longer; what does is a squint, or a look at the floor."""

_DEEPEST: Final = 0.45
"""No gap above this share of the open eye's is taken for a shut eye."""

_SHARE: Final = 0.7
"""So many of an eye's last blinks are to shut it whole."""

_KEPT: Final = 12
"""Blinks of each eye that are remembered."""


class BlinkDepths:
    """The gaps that one actor's shut eyes are left with.

    One thread calls it at a time.
    """

    def __init__(self) -> None:
        self._eyes = (_Eye(), _Eye())

    def observe(self, closure: Array, time_s: float) -> None:
        """Look at one frame.

        Args:
            closure: (14,) of `regions.lid_closure`.
            time_s: of the frame, rising.
        """
        for eye, lids in zip(self._eyes, np.split(closure, 2), strict=True):
            eye.observe(lids, time_s)

    def widen(self, closure: Array) -> Array:
        """Return (14,) closures of `regions.lid_closure`, 0 where the actor's eyes are shut.

        Open eyes stay as they are, and so does all before the first blink.
        """
        shut = np.concatenate([eye.shut for eye in self._eyes])
        stretched = np.maximum((closure - shut) / (1 - shut), 0)
        return np.asarray(np.where(closure < 1, stretched, closure), dtype=np.float32)


class _Eye:
    """One eye; `shut` is (7,), the closures that it is shut at."""

    def __init__(self) -> None:
        self.shut = np.zeros(EYE_PAIRS, np.float32)
        self._depths: deque[Array] = deque(maxlen=_KEPT)
        self._open_s: float | None = None
        self._narrowest: Array | None = None

    def observe(self, lids: Array, time_s: float) -> None:
        if float(lids.mean()) < _OPEN:
            if self._narrowest is None or lids.mean() < self._narrowest.mean():
                self._narrowest = lids.copy()
            return
        if self._narrowest is not None and self._open_s is not None:
            quick = 0 < time_s - self._open_s <= _BLINK_S
            if quick and self._narrowest.mean() < _NARROW:
                self._depths.append(self._narrowest)
                usual = np.quantile(np.stack(self._depths), _SHARE, axis=0)
                self.shut = np.minimum(usual, _DEEPEST).astype(np.float32)
        self._open_s, self._narrowest = time_s, None
