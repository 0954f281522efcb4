"""Closing devices, and silencing native libraries while they load."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Final, TextIO

from typing_extensions import Self

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


@contextlib.contextmanager
def quiet_native_libraries() -> Iterator[None]:
    """Discard what C++ libraries write to stderr while they load.

    Python's own messages still reach the terminal, because only the file descriptor is replaced.
    Nothing is discarded if stderr was redirected inside the process.
    """
    python_stderr = sys.stderr
    try:
        if python_stderr.fileno() != _STDERR_FD:
            raise OSError("stderr is redirected inside the process")
        python_stderr.flush()
        terminal_fd = os.dup(_STDERR_FD)
    except (AttributeError, OSError):  # AttributeError: there is no stderr, as under pythonw
        yield
        return
    with (
        open(terminal_fd, "w", encoding=python_stderr.encoding, buffering=1) as terminal,
        open(os.devnull, "w", encoding="ascii") as nowhere,
    ):
        try:
            os.dup2(nowhere.fileno(), _STDERR_FD)
            _write_python_errors_to(terminal)
            yield
        finally:
            os.dup2(terminal_fd, _STDERR_FD)
            _write_python_errors_to(python_stderr)


def _write_python_errors_to(stream: TextIO) -> None:
    before, sys.stderr = sys.stderr, stream
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is before:
            handler.setStream(stream)
