"""A session at the terminal: its keys, its progress and figures, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import Self

from reenact.cli.terminal import Keys

if TYPE_CHECKING:
    from reenact.live.session import Session
    from reenact.stats import Stats

EXIT_INTERRUPTED: Final = 130

STOPPING: Final = "Stopping ..."
"""Said at once where it is interrupted: libraries that are being loaded take seconds to end."""

_HANGS_S: Final = 5.0
"""An output that takes longer to finish is given up."""

_TICK_S: Final = 0.1
"""How often keys and the progress line are looked after."""


def run_session(session: Session, sinks: list[str], report: Path | None = None) -> None:
    """Run a session with its keys, progress line, figures and Ctrl-C."""
    from reenact.storage import write_json  # loads cv2

    interruption = Interruption()
    with interruption, session, Keys() as keys:
        threads = [
            threading.Thread(target=body, args=(session, interruption, keys), daemon=True)
            for body in (_stop_when_asked, _converse)
        ]
        for thread in threads:
            thread.start()
        try:
            session.run()
        finally:
            # Ctrl-C is how a live run ends, so its figures are told then, too.
            stats = session.stats()
            if report is not None:
                write_json(report, stats.report())
            for thread in threads:
                thread.join()
            if stats.frames_in:
                _tell("\n".join([_summary(stats), *_outcome(sinks, session.output_errors)]))
        if interruption.came:
            raise KeyboardInterrupt


def _interruptions() -> list[signal.Signals]:
    """Return what ends a session: Ctrl-C, a polite kill, and a terminal that is closed.

    Where that one is ignored, as under nohup, it stays so.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


class Interruption:
    """Notes Ctrl-C and its like while its context is open, instead of raising.

    A handler that took locks, or an exception in the middle of a write, could hang the program
    or harm the file. Its attributes are plain for that reason.

    Attributes:
        came: whether there was one.
        stop: whether the session is to stop, for that or because the user said so.
    """

    def __init__(self) -> None:
        self.came = False
        self.stop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _interruptions()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = self.stop = True


def _stop_when_asked(session: Session, interruption: Interruption, keys: Keys) -> None:
    """Until the session ends: stop it when asked.

    Apart from what is shown, which waits and fails where nobody reads stderr any more.
    """
    while not session.ended(_TICK_S):
        if interruption.stop:
            session.stop()
            if not session.ended(_HANGS_S):
                keys.close()
                _tell("reenact: an output does not answer.")
                os._exit(EXIT_INTERRUPTED)


def _converse(session: Session, interruption: Interruption, keys: Keys) -> None:
    """Until the session ends: act on keys, show a file's progress; not without a terminal."""
    with contextlib.suppress(OSError):  # whoever read stderr has gone, or the terminal has
        _show(session, interruption, keys)


def _show(session: Session, interruption: Interruption, keys: Keys) -> None:
    from reenact.progress import progress_bar  # loads tqdm
    from reenact.types import HasLength

    total = session.source.frames_total if isinstance(session.source, HasLength) else None
    show = not session.source.live and sys.stderr is not None
    with progress_bar(total=total, unit=" frames", disable=not show, leave=False) as bar:
        if keys.active and session.source.live:
            print("n: this is my neutral face   p: figures   q: quit", file=sys.stderr)
        told = False
        while not session.ended(_TICK_S):
            if interruption.came and not told:
                told = True
                bar.write(STOPPING, file=sys.stderr)
            if show:
                bar.update(session.frames_out - bar.n)
            key = keys.pressed()
            if key == "q":
                interruption.stop = True
            elif key == "n":
                session.set_neutral()
                bar.write("Your face as it is now is taken as neutral.", file=sys.stderr)
            elif key == "p":
                bar.write(_summary(session.stats()), file=sys.stderr)


def _tell(text: str) -> None:
    """Say something at the end, where anybody still listens."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _summary(stats: Stats) -> str:
    width, height = stats.size
    parts = [
        f"{stats.frames_in} frames in, {stats.frames_out} out of {width}x{height}",
        f"{stats.fps:.1f} frames/s",
    ]
    if stats.latency_ms is not None:
        parts.append(f"latency {stats.latency_ms.p50:.0f} ms (95 %: {stats.latency_ms.p95:.0f} ms)")
    if stats.drops:
        parts.append("dropped: " + ", ".join(f"{n} {cause}" for cause, n in stats.drops.items()))
    if stats.faces_lost:
        parts.append(f"face lost {stats.faces_lost} times")
    if stats.failures:
        parts.append(f"{stats.failures} frames could not be rendered")
    return "; ".join(parts) + "."


def _outcome(sinks: list[str], errors: Mapping[str, str]) -> list[str]:
    """Return lines: the files that were written, and why other outputs were given up."""
    texts = [text for text in sinks if text.startswith("file:") and text not in errors]
    files = ", ".join(str(Path(text.partition(":")[2])) for text in texts)
    # Where all have failed, that is how the run ends, and told as its error.
    failed = errors.values() if len(errors) < len(sinks) else ()
    return [*([files] if files else []), *failed]
