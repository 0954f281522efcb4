"""The command line: how a command begins, and how it ends. What can be typed: `arguments`.

Exit codes: 0 done; 1 a bug (with its traceback); 2 the user's mistake or a missing part (one
sentence on stderr); 130 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

from reenact.cli.live import EXIT_INTERRUPTED, STOPPING
from reenact.cli.parser import TRAIN_PREPARE, build_parser
from reenact.errors import ReenactError

EXIT_BUG: Final = 1
EXIT_MISTAKE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what was typed after `reenact`; None: `sys.argv`. Nothing typed: `--help`.

    Returns:
        The exit code.
    """
    _quiet_libraries()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == ["train", "prepare"]:
        words[:2] = [TRAIN_PREPARE]
    chosen = build_parser().parse_args(words or ["--help"])
    with _warnings_on_stderr(), _interrupt_on_signals() as interruptions:
        try:
            return int(chosen.run(chosen))
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except Exception as error:
            # Some libraries, interrupted while they are imported, make another error of it.
            return EXIT_INTERRUPTED if interruptions else _told(error)


def _told(error: Exception) -> int:
    """Tell the user of an error; return the exit code."""
    if isinstance(error, ReenactError):
        print(f"reenact: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone, as `head` does; nothing may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    traceback.print_exception(error)
    return EXIT_BUG


def _quiet_libraries() -> None:
    """Keep the start-up chatter of native libraries off the terminal."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show warnings of the program and its libraries while the context is open."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[list[int]]:
    """Let Ctrl-C and a polite kill end the program the same way while the context is open.

    Yields:
        The numbers of the signals that came, filled as they come.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not came:
            # Past Python's buffer, in which the signal may have interrupted a write.
            with contextlib.suppress(AttributeError, OSError):  # no stderr, or it has gone
                os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())
        came.append(number)
        raise KeyboardInterrupt

    # A background job of a shell without job control starts with Ctrl-C ignored.
    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
