"""The window: its messages without a display, and real frames with one."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from reenact.errors import SinkError
from reenact.sinks.window import WindowSink, display_problem
from reenact.types import Frame
from support.clips import numbered_picture

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about X11")


@pytest.fixture(autouse=True)
def _fresh_answer() -> None:
    display_problem.cache_clear()


@linux
@pytest.mark.parametrize(
    ("display", "wayland", "words"),
    [
        (None, None, "DISPLAY is not set"),
        (None, "wayland-0", "XWayland"),
        # There is no display 987; OpenCV itself would end this process.
        (":987", None, "display :987 cannot be opened"),
    ],
)
def test_without_a_display_the_message_says_what_else_to_use(
    display: str | None, wayland: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("DISPLAY", display), ("WAYLAND_DISPLAY", wayland)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with WindowSink() as sink, pytest.raises(SinkError, match=words) as caught:
        sink.open((160, 120), 25.0)
    display_problem.cache_clear()
    assert "--sink http" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_window_that_is_not_open_takes_no_frames() -> None:
    sink = WindowSink()
    with pytest.raises(SinkError, match="closed"):
        sink.write(Frame(numbered_picture(1), 0.0, 0))
    sink.close()
    sink.close()
    assert not sink.closed_by_user


@pytest.mark.skipif(sys.platform != "darwin", reason="only macOS ties windows to a thread")
def test_macos_wants_the_main_thread() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(SinkError, match="main thread"):
        pool.submit(WindowSink().open, (160, 120), 25.0).result()


SHOWN = """
import threading
import numpy as np
from reenact.types import Frame
from reenact.sinks.window import WindowSink

def show():
    with WindowSink() as sink:
        sink.open((160, 120), 25.0)
        for index in range(10):
            sink.write(Frame(np.full((120, 160, 3), 90, np.uint8), index / 25, index))
            assert not sink.closed_by_user
    print("shown")

thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


@linux
def test_window_shows_frames_from_a_thread_of_its_own() -> None:
    problem = display_problem()
    if problem is not None:
        pytest.skip(problem)
    done = subprocess.run(
        [sys.executable, "-c", SHOWN], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "shown", done.stderr
