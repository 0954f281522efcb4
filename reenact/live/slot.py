"""The hand-over between threads: a slot that holds one item, and turns for the newest request.

A longer queue would only add latency: if the renderer is slower than the camera, each further
place delays the picture by one frame and adds no throughput.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from reenact.live.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - it is an end, not an error
    """Nothing more will come out of the slot."""


class Slot(Generic[T]):
    """Holds one item between the thread that puts and the thread that takes.

    Args:
        replaces: if True, `put` replaces an item that was not taken; otherwise it waits.
        clock: measures the timeouts.
    """

    def __init__(self, replaces: bool, clock: Clock = SYSTEM_CLOCK) -> None:
        self._replaces = replaces
        self._changed = clock.condition()
        self._item: T | None = None
        self._finished = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    def put(self, item: T) -> T | None:
        """Hand an item over.

        Returns:
            The item that was replaced and will not be taken; None if the slot was empty.

        Raises:
            Closed: the slot was closed or finished.
        """
        with self._changed:
            if not self._replaces:
                self._changed.wait_for(lambda: self._item is None or self._finished)
            if self._finished:
                raise Closed
            replaced, self._item = self._item, item
            self._changed.notify_all()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and return it; return None after the timeout.

        Raises:
            Closed: the slot was closed, or it was finished and is empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._finished, timeout_s)
            item, self._item = self._item, None
            if item is None and self._finished:
                raise Closed
            self._changed.notify_all()
            return item

    def withdraw(self, unwanted: Callable[[T], bool]) -> bool:
        """Remove the item that waits if it is unwanted; return True if it was."""
        with self._changed:
            found = self._item is not None and unwanted(self._item)
            if found:
                self._item = None
            return found

    def pause(self, duration_s: float) -> None:
        """Wait for a time; return early if the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, duration_s)

    def finish(self) -> None:
        """Accept no more items; the one in the slot may still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> T | None:
        """End every wait; return the item in the slot, which will not be taken."""
        with self._changed:
            dropped, self._item = self._item, None
            self._finished = self._closed = True
            self._changed.notify_all()
            return dropped


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Something that was asked for by name; each is another one, whatever the name."""

    name: str


class Turns:
    """Lets one thread at a time work, in the order in which they come.

    A request for which there is a newer one gives way at once.

    Args:
        first: the name that counts as the newest request at first.

    Attributes:
        lock: while a thread holds it, no other one can make a request.
        newest: the newest request.
    """

    def __init__(self, first: str) -> None:
        self.lock = threading.Condition()
        self.newest = Request(first)
        self._line: list[object] = []

    def ask(self, name: str) -> Request:
        """Make a request, which is then the newest, and return it."""
        with self.lock:
            self.newest = Request(name)
            self.lock.notify_all()
            return self.newest

    @contextmanager
    def take(self, request: Request | None = None) -> Iterator[bool]:
        """Wait for a turn; give False, at once, to a request that has given way."""

        def gave_way() -> bool:
            return request is not None and request is not self.newest

        place = object()
        with self.lock:
            self._line.append(place)
        try:
            with self.lock:
                self.lock.wait_for(lambda: gave_way() or self._line[0] is place)
                mine = not gave_way()
            yield mine
        finally:
            with self.lock:
                self._line.remove(place)
                self.lock.notify_all()
