"""Single keys from the terminal while a session runs."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import Any

from typing_extensions import Self

from reenact.lifecycle import ClosesOnExit

_ARROWS = {
    **{b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left"},
    **{b"\xe0H": "up", b"\xe0P": "down", b"\xe0M": "right", b"\xe0K": "left"},
}
"""What terminals, and Windows, send for the arrow keys."""


class Keys(ClosesOnExit):
    """Reads single keys without Enter while its context is open, if stdin is a terminal.

    Ctrl-C still interrupts the program. One thread calls `pressed`; any thread may call `close`.
    """

    def __init__(self) -> None:
        self._old_mode: list[Any] | None = None
        self._active = False

    def __enter__(self) -> Self:
        self._active = sys.stdin is not None and sys.stdin.isatty()
        if self._active and sys.platform != "win32":
            import termios
            import tty

            try:
                self._active = _in_foreground()
                if self._active:
                    self._old_mode = termios.tcgetattr(sys.stdin)
                    tty.setcbreak(sys.stdin)
            except termios.error:
                self._active = False
        return self

    def close(self) -> None:
        """Restore the terminal if it still exists. May be called twice."""
        if self._old_mode is not None and sys.platform != "win32":
            import termios

            with contextlib.suppress(termios.error):
                if _in_foreground():
                    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._old_mode)

    @property
    def active(self) -> bool:
        """True if keys are read."""
        return self._active

    def pressed(self) -> list[str]:
        """Return the keys pressed since the last call, in lower case.

        The arrow keys are "up", "down", "left" and "right"; keys without a name are left out.
        """
        keys = []
        while self._active and _in_foreground() and _has_input():
            code = _read_code()
            self._active = bool(code)  # empty if the terminal was closed
            keys.append(_named(code))
        return [key for key in keys if key]


def _in_foreground() -> bool:
    """Return False for a background job, which the system stops if it touches the terminal."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # a terminal that controls no jobs
        return True


def _has_input() -> bool:
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.kbhit()
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _read_code() -> bytes:
    """Return what the terminal sends for one key; empty if it was closed."""
    if sys.platform == "win32":
        import msvcrt

        key = msvcrt.getch()
        return key + msvcrt.getch() if key in (b"\x00", b"\xe0") else key
    key = os.read(sys.stdin.fileno(), 1)
    return key + _rest_of_sequence() if key == b"\x1b" else key


def _rest_of_sequence() -> bytes:
    """Return what follows ESC in the code of a key that is no character (ECMA-48, 5.4)."""
    read = b""
    while _has_input() and (one := os.read(sys.stdin.fileno(), 1)):
        read += one
        if len(read) > 1 and b"@" <= one <= b"~":
            break
    return read


def _named(key: bytes) -> str | None:
    """Return the name of a key; None for one without a name here, such as F5."""
    return _ARROWS.get(key) or (key.decode("ascii", "ignore").lower() if len(key) == 1 else None)
