"""The entry point of `reenact`, and of `python -m reenact` if no folder of scripts is in the path.

It imports nothing large, so that Ctrl-C ends the program without a traceback while that loads.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final

_EXIT_INTERRUPTED: Final = 130


def main() -> int:
    """Run the command in `sys.argv`; return its exit code."""
    # An exception may be lost in an import; `reenact.cli.main` replaces this once it is loaded.
    signal.signal(signal.SIGINT, _end)
    from reenact.cli.main import main

    return main()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    raise SystemExit(main())
