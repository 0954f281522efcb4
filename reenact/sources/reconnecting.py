"""Reopens a live source after every failure, for as long as it takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.types import Frame, HasProblem, Source

_PAUSE_GROWTH: Final = 1.6
_STEADY_AFTER_S: Final = 10.0
_JOIN_S: Final = 0.5

_log = logging.getLogger(__name__)


class SourceUnavailable(SourceError):  # noqa: N818 - a passing state rather than an error
    """There is no frame now; the source is being reopened, and the next `read` may succeed."""


class ReadGuard:
    """Lets any thread close a device while one thread reads it.

    The reading thread wraps every call into the device in `with guard as is_open:`. Whichever of
    the two threads finishes last releases the device: OpenCV and FFmpeg crash if a handle is
    released during a read.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._reading = threading.Lock()
        self._released = False
        self.closing = threading.Event()

    def __enter__(self) -> bool:
        self._reading.acquire()
        return not self.closing.is_set()

    def __exit__(self, *_: object) -> None:
        self._reading.release()
        if self.closing.is_set():
            self._release_once()

    def close(self) -> None:
        """Release the device now, or as soon as the read in progress has returned."""
        self.closing.set()
        self._release_once()

    def _release_once(self) -> None:
        # A reader that holds the lock comes here itself after it has released the lock.
        if self._reading.acquire(blocking=False):
            try:
                if not self._released:
                    self._released = True
                    self._release()
            finally:
                self._reading.release()


class Backoff:
    """The pauses between attempts to reopen a source, each longer than the one before.

    They start over once the source has worked for more than ten seconds.
    """

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._pause_s = first_s
        self._opened_s: float | None = None

    def note_opened(self, now_s: float) -> None:
        """Record when the source was opened."""
        self._opened_s = now_s

    def next_s(self, now_s: float) -> float:
        """Return the seconds to wait after a failure at `now_s`."""
        if self._opened_s is not None and now_s - self._opened_s > _STEADY_AFTER_S:
            self._pause_s = self._first_s
        self._opened_s = None
        pause_s = self._pause_s
        self._pause_s = min(pause_s * _PAUSE_GROWTH, self._max_s)
        return pause_s


class ReconnectingSource(ClosesOnExit):
    """Wraps a live source and reopens it after every SourceError.

    A separate thread opens and reads the source and keeps the newest frame, so `read` never blocks
    longer than `timeout_s`, even if a driver hangs. The constructor opens the source for the first
    time and passes its error on: a camera that was never there is the user's mistake, while one
    that went away is waited for.

    The frames' `index` counts what the device delivered since the first opening, across reopenings.
    A gap means that a frame was replaced before it was read.

    Attributes:
        size: (width, height) px; may change when the device comes back.
        fps: frames/s of the wrapped source; the last known rate while it is away.
        timeout_s: maximum duration of one `read`.
        reopened: number of times the source came back.
        dropped: frames replaced by a newer one before they were read.
    """

    live = True

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        timeout_s: float = 1.0,
        first_pause_s: float = 0.5,
        max_pause_s: float = 5.0,
    ) -> None:
        """Open the source for the first time, with its error if that fails.

        `open_source` is called again after each failure, from the source's own thread, with pauses
        that grow from `first_pause_s` to `max_pause_s`.
        """
        self.timeout_s = timeout_s
        self.reopened = 0
        self.dropped = 0
        self._open_source = open_source
        self._backoff = Backoff(first_pause_s, max_pause_s)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._frame: Frame | None = None
        self._ended = False
        self._crash: BaseException | None = None
        self._failure = ""
        self._failure_told = False
        self._stall = ""
        self._count = -1
        self._source = open_source()
        self.name = self._source.name
        self.size = self._source.size
        self.fps = self._source.fps
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """The current problem as a sentence, such as a black picture; "" if there is none."""
        own = self._source.problem if isinstance(self._source, HasProblem) else ""
        return self._failure or self._stall or own

    def read(self) -> Frame | None:
        """Return the newest unread frame; None when the source has ended or was closed.

        Waits at most `timeout_s`. Only one thread may call. Raises SourceUnavailable at once when
        the source is lost, then once per `timeout_s` until it is back; call again.
        """
        with self._changed:
            self._changed.wait_for(self._has_news, self.timeout_s)
            if self._frame is not None and not self._closing.is_set():
                frame, self._frame = self._frame, None
                return frame
            if self._crash is not None:
                raise self._crash
            if self._ended or self._closing.is_set():
                return None
            self._failure_told = bool(self._failure)
            self._stall = f"{self.name} has sent no picture for {self.timeout_s:g} s."
            raise SourceUnavailable(self._failure or self._stall)

    def close(self) -> None:
        """Stop and release the device; may be called twice and from any thread."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
            source = self._source
        source.close()
        if threading.current_thread() is not self._thread:
            # An opening in progress cannot be interrupted; the thread ends after it.
            self._thread.join(timeout=_JOIN_S)

    def _has_news(self) -> bool:
        lost = bool(self._failure) and not self._failure_told
        return self._frame is not None or self._ended or self._closing.is_set() or lost

    def _run(self) -> None:
        try:
            self._backoff.note_opened(time.monotonic())
            while (failure := self._pump()) is not None and self._reopen(failure):
                self._backoff.note_opened(time.monotonic())
        except BaseException as error:
            self._crash = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._source.close()

    def _pump(self) -> SourceError | None:
        """Pass frames on until the source fails; return its error, None if it has ended."""
        while not self._closing.is_set():
            try:
                frame = self._source.read()
            except SourceError as error:
                return error
            if frame is None:
                return None
            with self._changed:
                self.size = frame.size
                self.fps = self._source.fps
                self._failure = self._stall = ""
                self._failure_told = False
                self.dropped += self._frame is not None
                self._count += 1
                self._frame = replace(frame, index=self._count)
                self._changed.notify_all()
        return None

    def _reopen(self, failure: SourceError) -> bool:
        """Try until the source is open again; return False if this was closed meanwhile."""
        lost_s = time.monotonic()
        _log.info("%s It will be reopened when it is back.", failure)
        self._source.close()
        self._tell(failure)
        while not self._closing.wait(self._backoff.next_s(time.monotonic())):
            try:
                source = self._open_source()
            except SourceError as error:
                _log.debug("%s", error)
                self._tell(error)
                continue
            with self._changed:
                self._source = source
                self.name, self.size = source.name, source.size
                self.reopened += 1
            _log.info("%s is back after %.1f s.", source.name, time.monotonic() - lost_s)
            return True
        return False

    def _tell(self, failure: SourceError) -> None:
        with self._changed:
            self._failure = str(failure)
            self._changed.notify_all()
