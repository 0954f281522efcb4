"""The progress of long work, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

from tqdm import tqdm

_LINE_EVERY_S: Final = 10.0


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """Return a tqdm bar. If stderr is no terminal, such as a log, it writes whole lines.

    A log gets a line every ten seconds at most, in addition to the first and the last. With
    `leave=False` it gets neither of these two, so that short work writes nothing.

    Args:
        iterable: counted while it is read; None if the caller counts with `update`.
        options: options of tqdm other than `file`.
    """
    if sys.stderr is not None and not sys.stderr.isatty():
        delay_s = 0.0 if options.get("leave", True) else _LINE_EVERY_S
        options |= {"mininterval": _LINE_EVERY_S, "delay": delay_s, "position": 0}
        options["file"] = _Lines(sys.stderr)
    return tqdm(iterable, **options)


class _Lines:
    """Turns the redrawn line of a progress bar into lines of a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
