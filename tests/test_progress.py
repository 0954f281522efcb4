"""A bar in a terminal, a few lines in a log."""

from __future__ import annotations

import io
import time

import pytest

from reenact import progress
from reenact.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, leave: bool = True) -> str:
    """Return what 200 steps of a millisecond or more show on stderr."""
    monkeypatch.setattr("sys.stderr", stream)
    for _ in progress_bar(range(200), desc="clips", leave=leave):
        time.sleep(0.001)
    return stream.getvalue()


def test_a_log_gets_few_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.05)
    began_s = time.monotonic()
    text = shown(io.StringIO(), monkeypatch)
    most = (time.monotonic() - began_s) / 0.05 + 2
    assert "\r" not in text
    lines = text.splitlines()
    assert 2 < len(lines) <= most
    assert all(line.startswith("clips: ") for line in lines)
    assert "200/200" in lines[-1]


@pytest.mark.parametrize(("leave", "lines"), [(True, 2), (False, 0)])
def test_work_that_is_soon_done_leaves_its_end_or_nothing_in_a_log(
    leave: bool, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(io.StringIO(), monkeypatch, leave=leave).count("\n") == lines


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal(), monkeypatch)
    assert text.count("\r") > 1
    assert text.count("\n") == 1
