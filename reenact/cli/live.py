"""Runs a session in the terminal: keys, progress, figures and the end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, get_args

from typing_extensions import Self

from reenact.cli.terminal import Keys
from reenact.config import Emotion
from reenact.errors import ReenactError, counted

if TYPE_CHECKING:
    from reenact.live.controls import Controls
    from reenact.stats import Stats

EXIT_MISTAKE: Final = 2
EXIT_INTERRUPTED: Final = 130

STOPPING: Final = "Stopping ..."
"""Printed at once on Ctrl-C, because loading libraries may delay the end by seconds."""

SAVING: Final = "Stopping and saving ... (Ctrl-C again ends at once and keeps what was saved)"
"""The same of a training, which finishes its step and measures its result."""

LAST_SIGNAL: Final = 3
"""The signal that ends the program wherever it is."""

SIGNALS: Final[list[int]] = []
"""The signals since the command began. Native code may swallow the exception of one."""

_MAX_FINISH_S: Final = 5.0
"""An output that takes longer to finish is abandoned."""

_TICK_S: Final = 0.1
"""How often keys are read and the progress line is updated."""


KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "n": ("set neutral face", "neutral"),
    "u": ("undo that", "undo"),
    " ": ("rest", "rest"),
    "f": ("freeze", "freeze"),
    "h": ("hold your expression", "hold"),
    "t": ("tongue out, or in", "tongue"),
    "x": ("mirror", "mirror"),
    "r": ("record", "record"),
    "s": ("store the picture", "picture"),
    "m": ("play a motion", "motion"),
    "up": ("", "intensity=+0.1"),
    "down": ("", "intensity=-0.1"),
    "left": ("", "target=previous"),
    "right": ("", "target=next"),
    **{str(n): ("", f"emotion={emotion}") for n, emotion in enumerate(get_args(Emotion))},
}
"""Each key's help text, and its action of `live.actions.ACTIONS`."""


def keys_help() -> str:
    """Return what the keys do, in one line."""
    named = ((key if key.strip() else "space", text) for key, (text, _) in KEYS.items())
    shown = [f"{key}: {text}" for key, text in named if text]
    more = [
        "1-8: show an emotion, or end it",
        "0: follow you",
        "up/down: intensity",
        "left/right: previous or next target",
        "p: print figures",
        "q: quit",
    ]
    return "   ".join([*shown, *more])


def run_session(
    controls: Controls,
    sinks: list[str],
    report: Path | None = None,
    interruption: Interruption | None = None,
) -> bool:
    """Run a session with keys and a progress line, then print its figures.

    `controls.session.output.errors` has the messages of outputs that failed while others went on.

    Args:
        controls: of the session, which is closed at the end.
        sinks: the sinks as typed; files that were written are listed at the end.
        report: path of the JSON file for the figures.
        interruption: the signals that end the session, already open; None: opened here.

    Returns:
        True if Ctrl-C, or a signal like it, ended the session.

    Raises:
        BaseException: the first error of any of the session's threads.
    """
    from reenact.live.remotes import Remotes
    from reenact.storage import write_json  # loads cv2

    session = controls.session
    with ExitStack() as stack:
        if interruption is None:
            interruption = stack.enter_context(Interruption())
        stack.enter_context(session)
        stack.enter_context(Remotes(controls))
        keys = stack.enter_context(Keys())
        threads = [
            threading.Thread(target=body, args=(controls, interruption, keys), daemon=True)
            for body in (_stop_on_request, _serve_terminal)
        ]
        for thread in threads:
            thread.start()
        try:
            session.run()
        finally:
            session.close()  # the threads count the frames that were under way
            stats = session.stats()
            for thread in threads:
                thread.join()
            if stats.frames_in:
                _print("\n".join([_summary(stats), *_outcome(sinks, controls)]))
            if report is not None:
                write_json(report, stats.report())
    return interruption.came


def check_files(arguments: Namespace, sinks: Sequence[str], track: str) -> dict[str, object]:
    """Check that a run replaces none of its inputs, and that its files can be written.

    Returns:
        The input files, or None, by what they are called; see `fanout.check_outputs`.

    Raises:
        SinkError: an output or the report would replace an input or each other, or cannot be
            written.
    """
    from reenact.config import Settings
    from reenact.registry import split
    from reenact.sinks.fanout import check_outputs, input_files, make_sinks
    from reenact.storage import check_writable

    inputs = input_files(arguments.source, arguments.config, track)
    inputs["target"] = arguments.target
    report = arguments.report
    if report is not None:
        check_writable(report)
    check_outputs([*sinks, *([f"file:{report}"] if report is not None else [])], inputs)
    # Making them checks their names, without writing anything.
    make_sinks([sink for sink in sinks if split(sink)[0] in ("file", "landmarks")], Settings())
    return inputs


def interruptions() -> list[signal.Signals]:
    """Return the signals that end a command.

    These are Ctrl-C, `kill`, and a closed terminal unless nohup ignores it.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


def print_in_handler(text: str) -> None:
    """Print a line to stderr from a signal handler, past Python's own buffer."""
    with contextlib.suppress(AttributeError, OSError):  # there is no stderr
        # In a terminal the text of a progress bar may stand in the line.
        start = "\n" if sys.stderr.isatty() else ""
        os.write(sys.stderr.fileno(), f"{start}{text}\n".encode())


class Interruption:
    """Notes Ctrl-C and similar signals while its context is open, instead of raising.

    An exception in the middle of a write could damage the file, and a signal handler that takes a
    lock could hang the program. Its attributes are therefore plain values.

    Args:
        answer: printed to stderr at the first signal; the second then raises KeyboardInterrupt.
            "": the caller prints its own, and no signal raises. The third ends the program.

    Attributes:
        came: True once there was a signal.
        stop: True once the session should stop, because of a signal or because the user quit.
    """

    def __init__(self, answer: str = "") -> None:
        self.came = False
        self.stop = False
        self._answer = answer
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.came = self.stop = bool(SIGNALS)
        self._before = {number: signal.signal(number, self._note) for number in interruptions()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == LAST_SIGNAL:
            os._exit(EXIT_INTERRUPTED)
        if self._answer:
            if self.came:
                raise KeyboardInterrupt
            print_in_handler(self._answer)
        self.came = self.stop = True


def _stop_on_request(controls: Controls, interruption: Interruption, keys: Keys) -> None:
    """Stop the session when that is requested.

    This has its own thread, because writing to stderr may block or fail if nobody reads it.
    """
    while not controls.session.ended(_TICK_S):
        if interruption.stop:
            controls.stop()
            if not controls.session.ended(_MAX_FINISH_S):
                keys.close()
                _print("reenact: an output does not respond.")
                os._exit(EXIT_INTERRUPTED)


def _serve_terminal(controls: Controls, interruption: Interruption, keys: Keys) -> None:
    """Act on keys and show the progress of a file until the session ends."""
    with contextlib.suppress(OSError):  # nobody reads stderr any more, or the terminal has gone
        _act_on_keys(controls, interruption, keys)


def _act_on_keys(controls: Controls, interruption: Interruption, keys: Keys) -> None:
    from reenact.live.actions import without_waiting
    from reenact.progress import progress_bar  # loads tqdm
    from reenact.types import HasLength

    session = controls.session
    total = session.source.frames_total if isinstance(session.source, HasLength) else None
    show = not session.source.live and sys.stderr is not None
    with progress_bar(total=total, unit=" frames", disable=not show, leave=False) as bar:
        if keys.active and session.source.live:
            print(keys_help(), file=sys.stderr)
        acknowledged = False
        while not session.ended(_TICK_S):
            if interruption.came and not acknowledged:
                acknowledged = True
                bar.write(STOPPING, file=sys.stderr)
            if show:
                bar.update(session.frames_out - bar.n)
            for key in keys.pressed():
                if key == "q":
                    interruption.stop = True
                elif key == "p":
                    bar.write(_summary(session.stats()), file=sys.stderr)
                elif key in KEYS:
                    action = KEYS[key][1]
                    without_waiting(action, partial(_tell_done, action, controls, bar.write))


def _tell_done(action: str, controls: Controls, write: Callable[..., None]) -> None:
    """Perform an action and write its message to stderr, if anybody still reads it."""
    from reenact.live.actions import act

    try:
        told = act(controls, action)
    except ReenactError as error:
        told = str(error)
    with contextlib.suppress(OSError):
        write(told, file=sys.stderr)


def _print(text: str) -> None:
    """Print to stderr if anybody still reads it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _summary(stats: Stats) -> str:
    width, height = stats.size
    parts = [
        f"{counted(stats.frames_in, 'frame')} in, {stats.frames_out} out at {width}x{height}",
        f"{stats.fps:.1f} frames/s",
    ]
    if stats.latency_ms is not None:
        parts.append(f"delay {stats.latency_ms.p50:.0f} ms (p95 {stats.latency_ms.p95:.0f} ms)")
    if stats.drops:
        parts.append("dropped: " + ", ".join(f"{n} {cause}" for cause, n in stats.drops.items()))
    if stats.faces_lost:
        parts.append(f"face lost {counted(stats.faces_lost, 'time')}")
    if stats.frames_limited:
        parts.append(f"{counted(stats.frames_limited, 'frame')} limited to what a face can do")
    if stats.failures:
        parts.append(f"{counted(stats.failures, 'frame')} could not be rendered")
    return "; ".join(parts) + "."


def _outcome(sinks: list[str], controls: Controls) -> list[str]:
    """Return the files that were written and why other outputs failed, in lines."""
    errors = {one["name"]: one["error"] for one in controls.outputs() if one["error"]}
    texts = [
        text for text in sinks if text.startswith(("file:", "landmarks:")) and text not in errors
    ]
    files = ", ".join(str(Path(text.partition(":")[2])) for text in texts)
    # If every sink failed, the session raises their error.
    failed = errors.values() if len(errors) < len(sinks) else ()
    return [*([files] if files else []), *failed]
