"""Ends a process, or interrupts a call, before each line that it runs, to see what is left."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any


def killed_at_each_line(action: Callable[[], object], files: set[str]) -> Iterator[int]:
    """Run an action without threads in forked processes: the first dies before its first line, etc.

    Only lines of modules at these paths count. Yields the number of the line, after the process
    died before it; the last is of a process that came to the end of the action.
    """
    number = 0
    while True:
        number += 1
        child = os.fork()
        if child == 0:
            sys.settrace(_at_line(number, lambda: os._exit(9), files))
            try:
                action()
            finally:
                os._exit(0)
        finished = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        yield number
        if finished:
            return


def interrupted_at_each_line(action: Callable[[], object], files: set[str]) -> Iterator[int]:
    """Run an action that KeyboardInterrupt ends before its first line, then its second, and so on.

    Yields the line's number after each interrupted run; none after the one that came to its end.
    """

    def interrupt() -> None:
        raise KeyboardInterrupt

    previous, number = sys.gettrace(), 0
    while True:
        number += 1
        sys.settrace(_at_line(number, interrupt, files))
        try:
            action()
        except KeyboardInterrupt:
            sys.settrace(previous)
            yield number
        else:
            return
        finally:
            sys.settrace(previous)


def _at_line(number: int, event: Callable[[], None], files: set[str]) -> Callable[..., Any]:
    left = number

    def trace(frame: types.FrameType, kind: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if kind == "line":
            left -= 1
            if left == 0:
                event()
        return trace

    return trace
