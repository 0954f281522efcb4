"""Closing devices, and silencing native libraries while they load."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Protocol

from typing_extensions import Self

log = logging.getLogger(__name__)

LIBRARY_VARIABLES: Final[Mapping[str, str]] = {
    "GLOG_minloglevel": "2",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OPENCV_LOG_LEVEL": "ERROR",
    # The pieces of work of NumPy and OpenCV are small here: a second thread would wait for the core
    # that tracks the next frame, and spin while there is nothing to do.
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
"""Environment variables by which the program silences its libraries and limits their threads."""

_STDERR_FD: Final = 2


class ClosesOnExit:
    """A context manager that calls `close` at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything."""
        raise NotImplementedError


class Closable(Protocol):
    """A part that holds a device, file or model."""

    def close(self) -> None:
        """Release it."""


def close_part(part: Closable) -> None:
    """Close a part; log an error, such as a plugin's, so that further parts are closed as well."""
    try:
        part.close()
    except Exception:
        log.warning("%s could not be closed.", type(part).__name__, exc_info=True)


def separate_python_stderr() -> None:
    """Give Python's stderr a file descriptor of its own, so that descriptor 2 can be silenced.

    Called once, before anything keeps `sys.stderr`. Does nothing without a stderr, as under
    pythonw, or if it was redirected inside the process.
    """
    python_stderr = sys.stderr
    with contextlib.suppress(AttributeError, OSError):
        if python_stderr.fileno() == _STDERR_FD:
            python_stderr.flush()
            sys.stderr = open(  # noqa: SIM115  it stays open as long as the program runs
                os.dup(_STDERR_FD),
                "w",
                buffering=1,
                encoding=python_stderr.encoding,
                errors=python_stderr.errors,
                closefd=False,
            )


class _Silence:
    """How many blocks keep descriptor 2 silent, and where it led before the first of them."""

    lock = threading.Lock()
    blocks = 0
    before_fd = -1


@contextlib.contextmanager
def quiet_native_libraries() -> Iterator[None]:
    """Discard what C++ libraries write to stderr while the block runs.

    Python's own messages, from any thread, still arrive, because only descriptor 2 is replaced.
    Nothing is discarded unless `separate_python_stderr` was called before. Blocks may be nested and
    overlap; any thread may open one.
    """
    try:
        _begin_silence()
    except (AttributeError, OSError):  # AttributeError: there is no stderr
        yield
        return
    try:
        yield
    finally:
        _end_silence()


def _begin_silence() -> None:
    with _Silence.lock:
        if _Silence.blocks == 0:
            if sys.stderr.fileno() == _STDERR_FD:
                raise OSError("Python's stderr has no descriptor of its own")
            _Silence.before_fd = os.dup(_STDERR_FD)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), _STDERR_FD)
        _Silence.blocks += 1


def _end_silence() -> None:
    with _Silence.lock:
        _Silence.blocks -= 1
        if _Silence.blocks == 0:
            os.dup2(_Silence.before_fd, _STDERR_FD)
            os.close(_Silence.before_fd)
