"""Shows frames in a window on this machine's screen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Final

import cv2

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.types import Frame

_TITLE: Final = "reenact (q or Esc closes)"
_KEYS: Final = (ord("q"), ord("Q"), 27)
_MAX_SIZE_PX: Final = (1280, 800)
_PROBE_TIMEOUT_S: Final = 20.0

INSTEAD: Final = "use --sink http to watch in a browser, or --sink file:out.mp4"


class WindowSink(ClosesOnExit):
    """A window that the user closes with q, Esc or its button, which sets `closed_by_user`.

    One thread makes all calls; on macOS it must be the program's main thread. Another thread may
    call `close`, but the window then stays open until the program ends.
    """

    name = "window"
    live = True

    def __init__(self) -> None:
        self.closed_by_user = False
        self._thread: int | None = None

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Open the window at (width, height) px, scaled down to fit a small screen.

        Raises SinkError if there is no display, or OpenCV was built without windows.
        """
        if sys.platform == "darwin" and threading.current_thread() is not threading.main_thread():
            raise SinkError(f"macOS opens windows from a program's main thread only; {INSTEAD}.")
        problem = display_problem()
        if problem is not None:
            raise SinkError(f"No window can be shown: {problem}; {INSTEAD}.")
        factor = min(1.0, _MAX_SIZE_PX[0] / size[0], _MAX_SIZE_PX[1] / size[1])
        try:
            cv2.namedWindow(
                _TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            )
            cv2.resizeWindow(_TITLE, round(size[0] * factor), round(size[1] * factor))
        except cv2.error as error:
            raise SinkError(f"No window can be shown: {error.err or error}; {INSTEAD}.") from error
        self._thread = threading.get_ident()

    def write(self, frame: Frame) -> None:
        """Show a frame and check the keyboard. Raises SinkError if the window no longer exists."""
        if self.closed_by_user:
            return
        if self._thread is None:
            raise SinkError("The window is closed.")
        try:
            cv2.imshow(_TITLE, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
            key = cv2.waitKey(1) & 0xFF
            hidden = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            raise SinkError(f"The window is gone: {error.err or error}; {INSTEAD}.") from error
        if hidden or key in _KEYS:
            self.closed_by_user = True
            self.close()

    def close(self) -> None:
        """Close the window. May be called twice."""
        thread, self._thread = self._thread, None
        if thread == threading.get_ident():
            try:
                cv2.destroyWindow(_TITLE)
                cv2.waitKey(1)
            except cv2.error:  # the user has closed it already
                pass


@lru_cache(maxsize=1)
def display_problem() -> str | None:
    """Return in a few words why no window can be shown; None if one can.

    On Linux a child process tries to open a window, because the library behind OpenCV's windows
    ends a process that has no display. That takes up to a second; the answer is cached.
    """
    if not sys.platform.startswith("linux"):
        return None
    if not os.environ.get("DISPLAY"):
        if os.environ.get("WAYLAND_DISPLAY"):
            return "OpenCV's windows need XWayland, and DISPLAY is not set"
        return "there is no display (DISPLAY is not set)"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", "import cv2; cv2.namedWindow('reenact')"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"the display {os.environ['DISPLAY']} does not answer"
    if probe.returncode == 0:
        return None
    if b"not implemented" in probe.stderr:
        return "the installed OpenCV is one without windows (opencv-python-headless)"
    return f"the display {os.environ['DISPLAY']} cannot be opened"


WINDOW: Final = SinkSpec(
    "window", "a window on this screen", lambda *_: WindowSink(), needs="a display"
)
