"""Loads NDI, and finds senders in the local network."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from pathlib import Path
from typing import Any, Final

from reenact.errors import ReenactError

_AVAHI: Final = Path("/run/avahi-daemon/socket")
_LOOK_S: Final = 0.2

_log = logging.getLogger(__name__)


def load_module(name: str, error: type[ReenactError]) -> Any:
    """Return a module of cyndilib, NDI's library; an `error` if it does not run here."""
    try:
        return importlib.import_module(f"cyndilib.{name}")
    except ImportError as missing:
        raise error(f"NDI does not run here ({missing}); `pip install cyndilib`.") from missing


def warn_without_avahi() -> None:
    """Log a warning on a Linux without Avahi, through which NDI announces and finds senders."""
    if sys.platform == "linux" and not _AVAHI.exists():
        _log.warning(
            "NDI neither finds other programs nor is found without Avahi; install and start it, as "
            "by `sudo apt install avahi-daemon`."
        )


def find_senders(part: str, timeout_s: float, error: type[ReenactError]) -> tuple[Any, list[Any]]:
    """Look for senders whose name contains `part`, in any case.

    Returns:
        NDI's finder, which owns the senders until it is closed, and all senders that were found
        when the first one matched, or in `timeout_s`.
    """
    finder = load_module("finder", error).Finder()
    finder.open()
    deadline_s = time.monotonic() + timeout_s
    while True:
        finder.wait_for_sources(_LOOK_S)
        senders = list(finder)
        if matching(senders, part) or time.monotonic() > deadline_s:
            return finder, senders


def matching(senders: list[Any], part: str) -> list[Any]:
    """Return the senders whose name contains `part`, in any case."""
    return [sender for sender in senders if part.lower() in sender.name.lower()]
