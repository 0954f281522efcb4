"""Single keys from a real terminal, and a program that runs in its background."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from reenact.cli.terminal import Keys, _named
from support.fakes import until

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")

BACKGROUND = """
import os, subprocess, sys
os.open(os.ttyname(0), os.O_RDWR)  # makes the terminal this session's own
read = "from reenact.cli.terminal import Keys; keys = Keys().__enter__()"
read += "; print(keys.active, keys.pressed(), keys.close())"
started = subprocess.Popen([sys.executable, "-c", read], preexec_fn=os.setpgrp)
_, status = os.waitpid(started.pid, os.WUNTRACED)
print("stopped" if os.WIFSTOPPED(status) else "ended")
started.kill()
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return where a test types into the terminal that is stdin."""
    import pty

    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours
    os.close(ours)


@posix
def test_a_key_without_a_name_presses_no_other(terminal: int) -> None:
    with Keys() as keys:
        assert keys.active
        # F5, 5, up, Ctrl + up, left, right, N
        os.write(terminal, b"\x1b[15~5\x1b[A\x1b[1;5A\x1b[D\x1b[CN")
        seen: list[str] = []
        until(lambda: seen.extend(keys.pressed()) or "n" in seen)  # type: ignore[func-returns-value]
    assert seen == ["5", "up", "left", "right", "n"]


@posix
def test_keys_that_came_together_are_read_together(terminal: int) -> None:
    """A key that is held repeats 30 times a second; the rest after it must not queue behind it."""
    with Keys() as keys:
        os.write(terminal, b"\x1b[A" * 90 + b" ")
        seen: list[str] = []
        until(lambda: seen.extend(keys.pressed()) or seen)  # type: ignore[func-returns-value]
    assert seen == ["up"] * 90 + [" "]


def test_keys_of_windows_without_a_name_press_no_other() -> None:
    assert [_named(b"\xe0H"), _named(b"\xe0R"), _named(b"\x00R")] == ["up", None, None]
    assert [_named(b"\xe0K"), _named(b"\xe0M")] == ["left", "right"]
    assert [_named(b"R"), _named(b"\xff"), _named(b"")] == ["r", "", None]


@posix
def test_a_program_in_the_background_leaves_the_terminal_alone() -> None:
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", BACKGROUND],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
        start_new_session=True,
    )
    os.close(ours)
    os.close(theirs)
    assert done.stdout.split() == ["False", "[]", "None", "ended"], done.stderr
