"""How far long work has come, told on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

from tqdm import tqdm

_LINE_EVERY_S: Final = 10.0


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """Return tqdm's bar; where stderr is no terminal, as in a log, one that writes whole lines.

    They come at most every ten seconds, besides the first and the last; with `leave=False` there
    is neither of these, and nothing of work that is done sooner.

    Args:
        iterable: counted while it is read; None: the bar's `update` counts.
        options: of tqdm, but not `file`.
    """
    if sys.stderr is not None and not sys.stderr.isatty():
        delay_s = 0.0 if options.get("leave", True) else _LINE_EVERY_S
        options |= {"mininterval": _LINE_EVERY_S, "delay": delay_s, "position": 0}
        options["file"] = _Lines(sys.stderr)
    return tqdm(iterable, **options)


class _Lines:
    """Receives what would be drawn over and over on one line of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
