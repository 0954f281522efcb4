"""A bar in a terminal, a few lines in a log."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from reenact.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, step_s: float, leave: bool = True
) -> str:
    """Return what 190 steps of a given duration show on stderr."""
    now_s = 1000.0
    monkeypatch.setattr("tqdm.std.time", lambda: now_s)
    monkeypatch.setattr("sys.stderr", stream)

    def steps() -> Iterator[int]:
        nonlocal now_s
        for number in range(190):
            now_s += step_s
            yield number

    for _ in progress_bar(steps(), total=190, desc="clips", leave=leave):
        pass
    return stream.getvalue()


@pytest.mark.parametrize("leave", [True, False])
def test_a_log_gets_a_whole_line_every_ten_seconds(
    leave: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(io.StringIO(), monkeypatch, step_s=0.25, leave=leave)
    assert "\r" not in text
    lines = text.splitlines()
    assert all(line.startswith("clips: ") for line in lines)
    done = [line.split("|")[-1].split("[")[0].strip() for line in lines]
    every_ten_seconds = ["40/190", "80/190", "120/190", "160/190"]
    assert done == (["0/190", *every_ten_seconds, "190/190"] if leave else every_ten_seconds)


@pytest.mark.parametrize(("leave", "lines"), [(True, 2), (False, 0)])
def test_short_work_leaves_its_end_or_nothing_in_a_log(
    leave: bool, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(io.StringIO(), monkeypatch, step_s=0.001, leave=leave)
    assert text.count("\n") == lines


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal(), monkeypatch, step_s=0.25)
    assert text.count("\r") > 1
    assert text.count("\n") == 1
