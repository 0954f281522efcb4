"""The command line: how a command begins, and how it ends. What can be typed: `arguments`.

Exit codes: 0 done; 1 a bug (with its traceback); 2 the user's mistake or a missing part (one
sentence on stderr); 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Final

from reenact.arguments import TRAIN_PREPARE, build_parser
from reenact.errors import ReenactError
from reenact.running import EXIT_INTERRUPTED

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
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == ["train", "prepare"]:
        words[:2] = [TRAIN_PREPARE]
    chosen = build_parser().parse_args(words or ["--help"])
    _interrupt_on_signals()
    try:
        return int(chosen.run(chosen))
    except ReenactError as error:
        print(f"reenact: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; nothing may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        return EXIT_BUG


def _quiet_libraries() -> None:
    """Keep the start-up chatter of native libraries off the terminal."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


def _interrupt_on_signals() -> None:
    """Let Ctrl-C and a polite kill both end the program the same way."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # A background job of a shell without job control starts with Ctrl-C ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    sys.exit(main())
