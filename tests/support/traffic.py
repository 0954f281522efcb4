"""Pictures that a thread writes into an open sink, for readers in other programs; free ports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from reenact.types import Frame, Image, Sink


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Traffic:
    """Sends numbered pictures to an open sink from another thread until the block ends.

    The first one has been sent when the block begins; a device cannot be read earlier.

    Attributes:
        draw: makes the picture of a number; may be exchanged meanwhile.
        number: of the picture that was sent last.
    """

    def __init__(
        self, sink: Sink, draw: Callable[[int], Image], fps: float, first: int = 1
    ) -> None:
        self.draw = draw
        self.number = first - 1
        self._sink, self._period_s = sink, 1.0 / fps
        self._begun, self._stop = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            due_s = time.monotonic()
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                number = self.number + 1
                self._sink.write(Frame(self.draw(number), due_s, number))
                self.number = number
                self._begun.set()
                due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
        except BaseException as failure:
            self._failure = failure
            self._begun.set()
