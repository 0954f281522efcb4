"""The entry point: how a command starts and ends.

Exit codes: 0 success; 1 a bug, with its traceback; 2 a user's mistake or a missing part, with
one sentence on stderr; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType, ModuleType
from typing import Any, Final, TextIO, cast

from reenact.cli.live import (
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    LAST_SIGNAL,
    SIGNALS,
    STOPPING,
    interruptions,
    print_in_handler,
)
from reenact.cli.parser import parse_arguments
from reenact.errors import ReenactError
from reenact.lifecycle import LIBRARY_VARIABLES, separate_python_stderr

EXIT_BUG: Final = 1

_NO_BUGS: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTCONN,  # a network folder whose connection has broken
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
"""What a disk or the rights of a user can do to any file, at any place of the program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what was typed after `reenact`; None for `sys.argv`.

    Returns:
        The exit code.
    """
    separate_python_stderr()
    _print_any_text()
    _prepare_libraries()
    with _warnings_on_stderr(), _interrupt_on_signals(), _named_stdout():
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except Exception as error:
            # Some libraries raise another error if Ctrl-C interrupts their import.
            return EXIT_INTERRUPTED if SIGNALS else _report(error)


def _run(arguments: Sequence[str]) -> int:
    """Run one command; raise OSError if its output cannot be written, such as to a full disk."""
    try:
        chosen = parse_arguments(arguments)
        return int(chosen.run(chosen) or 0)
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            # Python would try again at exit, and print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise


class _Named:
    """A text stream whose errors give its name, because those of `write` give none."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._naming():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._naming():
            self._stream.flush()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self._name
            raise


@contextlib.contextmanager
def _named_stdout() -> Iterator[None]:
    """Let errors of stdout say what could not be written while the context is open."""
    if sys.stdout is None:
        yield
        return
    with contextlib.redirect_stdout(cast("TextIO", _Named(sys.stdout, "standard output"))):
        yield


def _report(error: Exception) -> int:
    """Print an error; return the exit code."""
    if isinstance(error, ReenactError):
        print(f"reenact: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    if isinstance(error, OSError) and error.errno in _NO_BUGS:
        place = f"{error.filename}: " if error.filename else ""
        print(f"reenact: {place}{error.strerror}.", file=sys.stderr)
        return EXIT_MISTAKE
    if isinstance(error, BrokenPipeError):
        return 0  # nobody reads stdout any more, as after `| head`
    if problem := _library_problem(error):
        print(f"reenact: {problem}; run `reenact doctor`, which says what to do.", file=sys.stderr)
        return EXIT_MISTAKE
    traceback.print_exception(error)
    return EXIT_BUG


def _library_problem(error: Exception) -> str:
    """Return in a few words which library is missing or broken; "" for any other error."""
    if isinstance(error, ImportError) and not (error.name or "").startswith("reenact"):
        return f"A library cannot be loaded: {error}"
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        module = error.obj
        # pip removes a package's files although another package has put them there as well.
        if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
            return f"The library {module.__name__} has lost its files"
    return ""


def _print_any_text() -> None:
    """Print "?" for what the encoding of stdout lacks, as of a file on Windows."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _prepare_libraries() -> None:
    """Silence libraries, and limit NumPy and OpenCV to one thread."""
    # MediaPipe imports it, but nothing is drawn with it: its cache is no matter of the user's.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for name, value in LIBRARY_VARIABLES.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show the warnings of the program and its libraries while the context is open."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Let the signals that end a command raise KeyboardInterrupt while the context is open.

    In the middle of an import the program ends instead, because an exception may be lost there, or
    may leave the lock of the imports taken. The third signal ends it in any case.
    """
    SIGNALS.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not SIGNALS:
            print_in_handler(STOPPING)
        SIGNALS.append(number)
        importing = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
        if importing or len(SIGNALS) == LAST_SIGNAL:
            os._exit(EXIT_INTERRUPTED)
        raise KeyboardInterrupt

    # A shell without job control starts background jobs with SIGINT ignored.
    before = {number: signal.signal(number, interrupt) for number in interruptions()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
