"""Questions that a command asks before it does something that cannot be undone or needs consent."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from reenact.config import Settings
from reenact.errors import SinkError, TargetError

log = logging.getLogger(__name__)


def ask_consent(name: str, assume_yes: bool) -> str:
    """Ask whether the user may use a face, unless --yes was passed (`assume_yes`).

    Returns the text to store under "consent" in the target's metadata. Without a terminal nothing
    is asked, and the text says so. Raises TargetError if the user did not answer yes.
    """
    if assume_yes:
        return "confirmed on the command line"
    if not _in_terminal():
        log.warning(
            "Nobody was asked whether the face of %s may be used: there is no terminal. "
            "--yes confirms it.",
            name,
        )
        return "not asked: no terminal"
    if not _agreed(f"Is the face of {name} your own, invented, or used with its owner's consent?"):
        raise TargetError(f"{name} was not created; use a face that you have the right to use.")
    return "confirmed in the terminal"


def confirm_removal(name: str, lost: Sequence[str], assume_yes: bool) -> None:
    """Ask before a target is removed with parts that cannot be made again, such as its footage.

    Nothing is asked if no such part is lost, --yes was passed, or there is no terminal. Raises
    TargetError if the user did not answer yes.
    """
    if not lost or assume_yes or not _in_terminal():
        return
    if not _agreed(f"Remove {name} with its {' and '.join(lost)}?"):
        raise TargetError(f"{name} was not removed; answer y, or pass --yes.")


def confirm_replacement(
    sinks: Sequence[str], settings: Settings, report: Path | None = None
) -> None:
    """Ask before a run replaces files, its report among them, unless `output.overwrite` is set.

    Nothing is asked if no file exists or there is no terminal. Raises SinkError if the user did not
    answer yes.
    """
    from reenact.sinks.fanout import existing_files

    files = existing_files(sinks)
    if report is not None and report.is_file():
        files.append(str(report))
    named = " and ".join(files)
    asked = files and not settings.output.overwrite and _in_terminal()
    if asked and not _agreed(f"Replace {named}?"):
        kept, other = "stays as it is", "another file"
        if len(files) > 1:
            kept, other = "stay as they are", "other files"
        raise SinkError(f"{named} {kept}; name {other} to write.")


def confirm_export(path: Path, assume_yes: bool) -> None:
    """Ask before an export replaces a file, which may be the only copy of a removed target.

    Raises TargetError if the user did not answer yes, or there is no terminal and no --yes.
    """
    if assume_yes or not path.is_file():
        return
    if not _in_terminal():
        raise TargetError(f"{path} already exists; name another file to write, or pass --yes.")
    if not _agreed(f"Replace {path}?"):
        raise TargetError(f"{path} stays as it is; name another file to write.")


def _in_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
