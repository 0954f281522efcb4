"""How an actor's lids are read: what the tracker gets wrong about them.

The tracker often reports a gap for a shut eye: in clips of 47 people the narrowest gap of a blink
has a median of .16 of the open one, and .34 or more for a quarter of the eyes. Without correction
the target's eyes would stay half open whenever the actor blinks. Until the actor's own blinks
are known, that median is assumed.

The tracker also opens one eye more than the other: the standard deviation of the difference, as a
share of the open gap, is .12 in frontal faces of 70 people, and .3 from a yaw of 20 degrees on,
where they would seem to wink. People wink rarely, and then close one eye almost completely while
the other is open.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from reenact.face.geometry import yaw_sine
from reenact.face.regions import LID_INDEX
from reenact.imaging import ramp
from reenact.types import Array

EYE_PAIRS: Final = len(LID_INDEX) // 2
"""Lid pairs of one eye in `regions.lid_closure`; the right eye comes first."""

_OPEN: Final = 0.75
"""Closure above which eyes count as open again."""

_MAX_BLINK: Final = 0.6
"""A blink falls below this closure."""

_MAX_BLINK_S: Final = 0.5
"""Longest blink; a squint or a look at the floor takes longer."""

_MAX_SHUT: Final = 0.45
"""Widest gap, as a share of the open one, that counts as a shut eye."""

_USUAL_SHUT: Final = 0.16
"""Gap of a shut eye, as a share of the open one, before any blink was seen: the median."""

_TURNED: Final = (0.15, 0.35)
"""Sines of the yaw up to which a face counts as frontal, and from which on as turned."""

_NARROWED: Final = (0.6, 0.85)
"""Closures of the wider eye up to which both eyes narrow, and from which on one may wink."""

_DOUBTED: Final = (0.2, 0.5, 2.0)
"""Difference between the eyes, as a share of the open gap, that is halved in a frontal and in a
turned face, and while both eyes narrow."""

_SHARE: Final = 0.7
"""Share of the last blinks that close the eyes completely after the correction."""

_MAX_KEPT: Final = 12
"""Number of blinks remembered."""


def eyes_together(closure: Array, rotation: Array) -> Array:
    """Return lid closures with smaller differences between the eyes, but with winks.

    The nearer eye of a turned head counts for more.

    Args:
        closure: (14,) of `regions.lid_closure`.
        rotation: (3, 3) of the head.
    """
    yaw = yaw_sine(rotation)
    frontal, turned, narrowed = _DOUBTED
    right, left = closure.reshape(2, EYE_PAIRS)
    wider = float(max(right.mean(), left.mean()))
    doubted = max(
        frontal + (turned - frontal) * ramp(abs(yaw), *_TURNED),
        narrowed + (frontal - narrowed) * ramp(wider, *_NARROWED),
    )
    difference = left - right
    removed = difference * np.float32(doubted**2 / (float(difference.mean()) ** 2 + doubted**2))
    share_of_left = np.float32((1 + yaw) / 2)
    return np.concatenate([right + share_of_left * removed, left - (1 - share_of_left) * removed])


class BlinkDepths:
    """Learns the gaps that the tracker reports for one actor's shut eyes. One thread at a time.

    Attributes:
        shut: (14,) closures that the tracker reports while the eyes are shut.
    """

    def __init__(self) -> None:
        self.shut = np.full(len(LID_INDEX), _USUAL_SHUT, np.float32)
        self._depths: deque[Array] = deque(maxlen=_MAX_KEPT)
        self._open_s: float | None = None
        self._narrowest: Array | None = None

    def observe(self, closure: Array, time_s: float) -> None:
        """Take in one frame.

        Args:
            closure: (14,) of `regions.lid_closure`.
            time_s: time of the frame; must rise.
        """
        mean = float(closure.mean())
        if mean < _OPEN:
            if self._narrowest is None or mean < self._narrowest.mean():
                self._narrowest = closure.copy()
            return
        if self._narrowest is not None and self._open_s is not None:
            quick = 0 < time_s - self._open_s <= _MAX_BLINK_S
            if quick and self._narrowest.mean() < _MAX_BLINK:
                self._depths.append(self._narrowest)
                usual = np.quantile(np.stack(self._depths), _SHARE, axis=0)
                self.shut = np.minimum(usual, _MAX_SHUT).astype(np.float32)
        self._open_s, self._narrowest = time_s, None

    def widen(self, closure: Array) -> Array:
        """Return the (14,) closures stretched so that this actor's shut eyes give 0.

        Open eyes do not change.
        """
        stretched = np.maximum((closure - self.shut) / (1 - self.shut), 0)
        return np.asarray(np.where(closure < 1, stretched, closure), dtype=np.float32)
