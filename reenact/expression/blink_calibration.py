"""How large a gap the tracker reports for an actor's shut eyes, learned from blinks.

The tracker often reports a gap for a shut eye: in clips of 47 people the narrowest gap of a blink
has a median of .16 of the open one, and .34 or more for a quarter of the eyes. Without correction
the target's eyes would stay half open whenever the actor blinks. Until an eye's own blinks are
known, that median is assumed.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from reenact.face.regions import LID_INDEX
from reenact.types import Array

EYE_PAIRS: Final = len(LID_INDEX) // 2
"""Lid pairs of one eye in `regions.lid_closure`; the right eye comes first."""

_OPEN: Final = 0.75
"""Closure above which an eye counts as open again."""

_MAX_BLINK: Final = 0.6
"""A blink falls below this closure."""

_MAX_BLINK_S: Final = 0.5
"""Longest blink; a squint or a look at the floor takes longer."""

_MAX_SHUT: Final = 0.45
"""Widest gap, as a share of the open one, that counts as a shut eye."""

_USUAL_SHUT: Final = 0.16
"""Gap of a shut eye, as a share of the open one, before any blink was seen: the median."""

_SHARE: Final = 0.7
"""Share of an eye's last blinks that close it completely after the correction."""

_MAX_KEPT: Final = 12
"""Number of blinks remembered for each eye."""


class BlinkDepths:
    """Learns the gaps that the tracker reports for one actor's shut eyes. One thread at a time."""

    def __init__(self) -> None:
        self._eyes = (_Eye(), _Eye())

    def observe(self, closure: Array, time_s: float) -> None:
        """Take in one frame.

        Args:
            closure: (14,) of `regions.lid_closure`.
            time_s: time of the frame; must rise.
        """
        for eye, lids in zip(self._eyes, closure.reshape(2, -1), strict=True):
            eye.observe(lids, time_s)

    def widen(self, closure: Array) -> Array:
        """Return the (14,) closures stretched so that this actor's shut eyes give 0.

        Open eyes do not change.
        """
        shut = np.concatenate([eye.shut for eye in self._eyes])
        stretched = np.maximum((closure - shut) / (1 - shut), 0)
        return np.asarray(np.where(closure < 1, stretched, closure), dtype=np.float32)


class _Eye:
    """One eye; `shut` (7,) holds the closures that the tracker reports while it is shut."""

    def __init__(self) -> None:
        self.shut = np.full(EYE_PAIRS, _USUAL_SHUT, np.float32)
        self._depths: deque[Array] = deque(maxlen=_MAX_KEPT)
        self._open_s: float | None = None
        self._narrowest: Array | None = None

    def observe(self, lids: Array, time_s: float) -> None:
        mean = float(lids.sum()) / len(lids)
        if mean < _OPEN:
            if self._narrowest is None or mean < self._narrowest.mean():
                self._narrowest = lids.copy()
            return
        if self._narrowest is not None and self._open_s is not None:
            quick = 0 < time_s - self._open_s <= _MAX_BLINK_S
            if quick and self._narrowest.mean() < _MAX_BLINK:
                self._depths.append(self._narrowest)
                usual = np.quantile(np.stack(self._depths), _SHARE, axis=0)
                self.shut = np.minimum(usual, _MAX_SHUT).astype(np.float32)
        self._open_s, self._narrowest = time_s, None
