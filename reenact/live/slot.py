"""The hand-over between two threads: a slot that holds one item.

A queue would only make the picture old: before a renderer that is slower than the camera, every
place in it adds one frame of latency and none of throughput.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - it is an end, not an error
    """Nothing more will come out of the slot."""


class Slot(Generic[T]):
    """Holds one item between the thread that puts and the thread that takes."""

    def __init__(self, replaces: bool) -> None:
        """Make an empty slot.

        Args:
            replaces: True: `put` replaces an item that was not taken; False: `put` waits.
        """
        self._replaces = replaces
        self._changed = threading.Condition()
        self._item: T | None = None
        self._finished = False

    def put(self, item: T) -> T | None:
        """Hand an item on.

        Returns:
            The earlier item that it replaced, which is thereby dropped; None where there was none.

        Raises:
            Closed: the slot was closed.
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
        """Return the item, or None when there is none within the timeout.

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

    def finish(self) -> None:
        """Let the item inside be taken, and nothing be put any more."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> T | None:
        """Wake everybody; return the item inside, which is thereby dropped."""
        with self._changed:
            held, self._item = self._item, None
            self._finished = True
            self._changed.notify_all()
            return held
