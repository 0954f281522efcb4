"""Questions that a command asks before it does what cannot be undone or may not be allowed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from reenact.errors import TargetError

log = logging.getLogger(__name__)


def ask_consent(name: str, assume_yes: bool) -> str:
    """Ask whether the user may use a face.

    Args:
        name: the name of the new target.
        assume_yes: True if the user passed --yes; nothing is asked.

    Returns:
        The text to store under "consent" in the target's metadata. Without a terminal nothing is
        asked, and the text says so.

    Raises:
        TargetError: the user did not answer yes.
    """
    if assume_yes:
        return "confirmed on the command line"
    if not _in_terminal():
        log.warning("Nobody was asked whether the face of %s may be used: no terminal.", name)
        return "not asked: no terminal"
    if not _agreed(
        f"Is the face of {name} your own, invented, or that of someone who lets you use it?"
    ):
        raise TargetError(f"{name} was not created; use a face that you have the right to use.")
    return "confirmed in the terminal"


def confirm_removal(name: str, lost: Sequence[str], assume_yes: bool) -> None:
    """Ask before a target is removed together with parts that cannot be made again.

    Args:
        name: the name of the target.
        lost: those parts, such as "trained weights"; nothing is asked if there are none.
        assume_yes: True if the user passed --yes; nothing is asked.

    Raises:
        TargetError: the user did not answer yes. Without a terminal nothing is asked.
    """
    if not lost or assume_yes or not _in_terminal():
        return
    if not _agreed(f"Remove {name} with its {' and '.join(lost)}?"):
        raise TargetError(f"{name} was not removed; answer y, or pass --yes.")


def _in_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
