"""Writes to several sinks; if one fails, the others go on."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count

from reenact.config import Settings
from reenact.errors import ReenactError, SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import load, split
from reenact.stats import StepTimer
from reenact.storage import expanded
from reenact.types import Frame, HasProblem, Sink, UserClosable

log = logging.getLogger(__name__)


class SinkSet(ClosesOnExit):
    """Writes to several sinks; one that fails is closed, and the others go on.

    One thread calls `open` and `write`. Any thread may call the rest; `close` may be called twice.

    Attributes:
        newest: the last frame written; None before the first.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        timer: StepTimer | None = None,
        *,
        ends_with_window: bool = True,
    ) -> None:
        """Take over at least one sink; `timer` times each one's writes as a step `write NAME`.

        Unless `ends_with_window`, a window that the user closes is removed as if by `remove`.
        """
        if not sinks:
            raise SinkError("Name an output, as in --sink window.")
        self.newest: Frame | None = None
        self._sinks = dict(zip(_unique([sink.name for sink in sinks]), sinks, strict=True))
        self._working = dict(self._sinks)
        self._errors: dict[str, str] = {}
        self._timer = timer or StepTimer()
        self._ends_with_window = ends_with_window
        self._fps = 0.0
        self._changes = threading.Lock()
        self._waiting: dict[str, Sink] = {}
        self._open_already: set[str] = set()
        self._leaving: set[str] = set()
        self._closing: dict[str, threading.Thread] = {}
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the working sinks, and of those that open with the next frame."""
        with self._changes:
            return (
                *(name for name in list(self._working) if name not in self._leaving),
                *self._waiting,
            )

    def add(self, sink: Sink, name: str = "", *, opened: bool = False) -> str:
        """Add a sink that gets all frames from the next one on; return its name here.

        The name is the given one, else the sink's own. If the sink cannot be opened, `errors`
        gives the reason; one that another set's `hand_over` has given is `opened` already.

        Raises SinkError after `close`.
        """
        with self._changes:
            if self._closed:
                raise SinkError("The session has ended; it gets no further output.")
            staying = [name for name in list(self._working) if name not in self._leaving]
            name = _unique([*staying, *self._waiting, name or sink.name])[-1]
            self._errors.pop(name, None)
            self._waiting[name] = sink
            if opened:
                self._open_already.add(name)
        return name

    def hand_over(self, names: Iterable[str]) -> dict[str, Sink]:
        """Give the working live sinks of these names away without closing them, for `add`.

        Windows stay, because a window that nobody serves appears to hang.
        """
        given: dict[str, Sink] = {}
        with self._changes:
            for name in set(names) - self._leaving:
                sinks = self._waiting if name in self._open_already else self._working
                sink = sinks.get(name)
                if sink is not None and sink.live and not isinstance(sink, UserClosable):
                    given[name] = sinks.pop(name)
                    self._sinks.pop(name, None)
            self._open_already -= given.keys()
        return given

    def began(self, name: str) -> bool:
        """Return False for a sink that opens with the next frame."""
        with self._changes:
            return name not in self._waiting

    def remove(self, name: str) -> None:
        """Close a sink; it gets no further frame. Raises SinkError if there is no such sink."""
        with self._changes:
            waiting = self._waiting.pop(name, None)
            self._open_already.discard(name)
            if self._errors.pop(name, None) is None and waiting is None:
                if name not in self._working:
                    raise SinkError(f"There is no output {name}.")
                self._leaving.add(name)
        if waiting is not None:
            self._finish(name, waiting)

    def _change(self, size: tuple[int, int]) -> None:
        """Open the sinks added and close those removed since the last frame.

        A device or port is free once the sink that used it is closed, so a sink of the same name
        waits for that.
        """
        with self._changes:
            leaving, self._leaving = self._leaving, set()
            gone = {name: self._working.pop(name) for name in leaving if name in self._working}
            for name in gone:
                self._sinks.pop(name)
        for name, sink in gone.items():
            if isinstance(sink, UserClosable):  # by the thread that opened it
                self._finish(name, sink)
            else:  # a file may take long to finish while the next frame is due
                self._closing[name] = threading.Thread(target=self._finish, args=(name, sink))
                self._closing[name].start()
        self._closing = {name: one for name, one in self._closing.items() if one.is_alive()}
        with self._changes:
            new = {name: one for name, one in self._waiting.items() if name not in self._closing}
            unopened = {name: new[name] for name in new.keys() - self._open_already}
            self._waiting = {name: one for name, one in self._waiting.items() if name not in new}
            self._open_already -= new.keys()
            self._sinks |= new
            self._working |= new
        for name, sink in unopened.items():
            self._open(name, sink, size)

    def _finish(self, name: str, sink: Sink) -> None:
        if not self._close_one(name, sink):
            log.warning("%s", self._errors[name])

    def _close_one(self, name: str, sink: Sink) -> bool:
        """Close a sink; return False if that fails, for which `errors` then has the reason."""
        try:
            sink.close()
        except Exception as error:
            self._errors[name] = told(name, error)
            return False
        return True

    @property
    def errors(self) -> Mapping[str, str]:
        """The message of each sink that failed, by name."""
        return self._errors

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the pictures of working sinks (`types.HasProblem`), by name."""
        return {
            name: sink.problem
            for name, sink in list(self._working.items())
            if isinstance(sink, HasProblem) and sink.problem
        }

    @property
    def live(self) -> bool:
        """True if any working sink is paced by the clock."""
        return any(sink.live for sink in list(self._working.values()))

    @property
    def closed_by_user(self) -> bool:
        """True if the user has closed one of the sinks, which ends the session."""
        closed = [
            name
            for name, sink in list(self._sinks.items())
            if isinstance(sink, UserClosable) and sink.closed_by_user
        ]
        if self._ends_with_window:
            return bool(closed)
        self._leaving.update(closed)
        return False

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Open every sink. Raises SinkError with all messages if none could be opened."""
        self._fps = fps
        for name, sink in list(self._working.items()):
            self._open(name, sink, size)
        self._require_one()

    def _open(self, name: str, sink: Sink, size: tuple[int, int]) -> None:
        try:
            sink.open(size, self._fps)
        except Exception as error:
            self._give_up(name, error)

    def write(self, frame: Frame) -> None:
        """Write to every working sink. Raises SinkError with all messages if none is left."""
        if self._waiting or self._leaving:
            self._change(frame.size)
        self.newest = frame
        for name, sink in list(self._working.items()):
            try:
                with self._timer.step(f"write {name}"):
                    sink.write(frame)
            except Exception as error:
                self._give_up(name, error)
        self._require_one()

    def close(self) -> None:
        """Close every sink.

        Raises SinkError if none could be closed properly, such as the only file on a full disk. If
        some could, the failures are in `errors` and in the log.
        """
        with self._changes:  # from now on none is handed over, since a file may take long to finish
            self._closed = True
            waiting, self._waiting = self._waiting, {}
            working, self._working = self._working, {}
        for name, sink in waiting.items():
            self._finish(name, sink)
        failed = [name for name, sink in working.items() if not self._close_one(name, sink)]
        if working and len(failed) == len(working):
            raise SinkError(" ".join(self._errors.values()))
        for name in failed:
            log.warning("%s", self._errors[name])

    def _give_up(self, name: str, error: Exception) -> None:
        sink = self._working.pop(name, None)
        if sink is None:
            return
        self._errors[name] = told(name, error)
        try:
            sink.close()
        except Exception:
            log.debug("%s could not be closed.", name, exc_info=True)
        if self._working:
            log.warning("%s The other outputs go on.", self._errors[name])

    def _require_one(self) -> None:
        if not self._working:
            raise SinkError(" ".join(self._errors.values()) or "The outputs are closed.")


def told(name: str, error: Exception) -> str:
    """Return the message for the user about a sink; a bug is also logged with its traceback."""
    if isinstance(error, ReenactError):
        return str(error)
    log.error("A bug in the sink %s:", name, exc_info=error)
    return f"{name} failed: {type(error).__name__}: {error}."


def input_files(source: str, config: object, track: str) -> dict[str, object]:
    """Return the files that a run reads, or None, for `check_outputs`; `source` as typed."""
    return {"source": split(source)[1] if source else None, "CONFIG": config, "track": track}


def check_outputs(sinks: Sequence[str], inputs: Mapping[str, object]) -> None:
    """Raise SinkError if a sink would write to an input of the run, or to another sink's file.

    Files are compared by what they are, whatever their paths.

    Args:
        sinks: as typed on the command line, such as `file:out.mp4`.
        inputs: by what they are called in the message, such as "source"; what is not a file, such
            as an address or None, is ignored.
    """
    paths = [path for path in _files(sinks) if path]
    written = [os.path.realpath(expanded(path)) for path in paths]
    for path in written:
        if written.count(path) > 1:
            raise SinkError(f"Two outputs write to {path}; give each its own file.")
    for what, read in inputs.items():
        own = expanded(str(read or ""))
        for path in paths if own.is_file() else ():
            if expanded(path).is_file() and os.path.samefile(expanded(path), own):
                raise SinkError(f"{path} is the {what} itself; write to another file.")


def existing_files(sinks: Sequence[str]) -> list[str]:
    """Return the existing files, as typed, that the sinks would replace."""
    return [path for path in _files(sinks) if path and expanded(path).is_file()]


def check_not_replaced(sinks: Sequence[str]) -> None:
    """Raise SinkError if a sink would replace an existing file."""
    for path in existing_files(sinks):
        raise SinkError(
            f"{path} already exists; write to another file, or set output.overwrite=true to "
            "replace it."
        )


def _files(sinks: Sequence[str]) -> list[str]:
    return [path for kind, path in map(split, sinks) if kind in ("file", "landmarks")]


def _unique(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        numbered = (f"{name} {number}" for number in count(2))
        unique.append(next(one for one in chain([name], numbered) if one not in unique))
    return unique


def make_sinks(texts: Sequence[str], settings: Settings) -> list[Sink]:
    """Make the named sinks; warn of those that cannot show a transparent background."""
    sinks: list[Sink] = []
    opaque: list[str] = []
    for text in texts:
        kind, argument = split(text)
        spec = load("sinks", kind)
        sinks.append(spec.make(argument, settings.sink))
        if not spec.alpha:
            opaque.append(text)
    if opaque and settings.output.background == "transparent":
        log.warning(
            "output.background=transparent has no effect on %s; use --sink obs, or a .webm or .mov "
            "file, for a target without its background.",
            " and ".join(opaque),
        )
    return sinks
