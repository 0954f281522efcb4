"""The clock of a session."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and the conditions on which threads wait. Tests pass a simulated one.

    Attributes:
        now_s: returns the monotonic time, s.
        condition: makes a condition whose timeouts follow that time.
    """

    now_s: Callable[[], float] = time.monotonic
    condition: Callable[[], threading.Condition] = threading.Condition


SYSTEM_CLOCK: Final = Clock()
