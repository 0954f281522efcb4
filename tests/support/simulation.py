"""Time for tests of sessions: it passes only while every thread of the session waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TypeVar

from reenact.live.clock import Clock

T = TypeVar("T")


class SimulatedTime(threading.Condition):
    """The one condition on which all threads of a session wait, and its time.

    Time stands still while a thread works and jumps to the next deadline once all of them wait. A
    run thus takes hardly any real time, and its rates and delays are exact.

    Attributes:
        now_s: the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self._waits: dict[int, tuple[Callable[[], object], float]] = {}

    @property
    def clock(self) -> Clock:
        """The clock for a session."""
        return Clock(now_s=lambda: self.now_s, condition=lambda: self)

    def sleep(self, duration_s: float) -> None:
        """Let a thread of the session work for a time."""
        with self:
            self.wait_for(lambda: False, duration_s)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait as a condition does, but by the simulated time."""
        deadline_s = math.inf if timeout is None else self.now_s + timeout
        thread = threading.get_ident()
        while not predicate() and self.now_s < deadline_s:
            self._waits[thread] = predicate, deadline_s
            if not self._advance():
                self.wait(0.005)  # a thread that ends tells nobody
        self._waits.pop(thread, None)
        return predicate()

    def _advance(self) -> bool:
        """Go to the next deadline if nobody works and nobody has what it waits for."""
        working = {
            thread.ident for thread in threading.enumerate() if thread.name.startswith("reenact_")
        } - self._waits.keys()
        next_s = min(deadline_s for _, deadline_s in self._waits.values())
        if working or next_s <= self.now_s or any(done() for done, _ in self._waits.values()):
            return False
        assert next_s < math.inf, "all threads wait for each other"
        self.now_s = next_s
        self.notify_all()
        return True
