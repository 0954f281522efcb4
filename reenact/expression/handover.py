"""Goes over to another face that the tracker follows from one picture to the next."""

from __future__ import annotations

import numpy as np

from reenact.imaging import smoothstep
from reenact.types import Array


class Handover:
    """Blends the landmarks before a change of the followed face into those after it."""

    def __init__(self) -> None:
        self._before: Array | None = None
        self._share = 0.0

    def begin(self, before: Array | None) -> None:
        """Begin at (478, 3) landmarks, px of the target's crop; None: blend nothing."""
        self._before, self._share = before, 0.0

    def step(self, after: Array, share: float) -> Array:
        """Return what to show in place of `after`; `share` is that of the blend's duration."""
        if self._before is None:
            return after
        self._share = min(self._share + share, 1.0)
        shown = self._before + np.float32(smoothstep(self._share)) * (after - self._before)
        if self._share == 1:
            self._before = None
        return np.asarray(shown, np.float32)
