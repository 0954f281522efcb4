"""Starts Chromium without a window and lets a page in it report what it sees."""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--enable-logging=stderr",
    # Chromium's processes end if the first one does not answer for 15 s, as happens on busy or
    # emulated processors. Without its network process, it never loads the page.
    "--ipc-connection-timeout=300",
)

_LOG: Final = "chromium.log"
_LOG_LINES: Final = 20
_NOISE: Final = "dbus/"  # long complaints about a missing desktop bus
_LOOK_S: Final = 0.5
_END_S: Final = 20.0

_FUNCTIONS: Final = """<script>
const send = (path, value) => fetch(path, {method: 'POST', body: JSON.stringify(value)});
const report = value => send('/report', value);
const progress = step => send('/progress', step);
progress('the page runs');
</script>"""


def program() -> str:
    """Return Chromium's path, or "" if it is not installed."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), "")


class Reports:
    """What a page has sent by its calls of `report(value)`, in order, and how far it came."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.steps: list[str] = []
        self._sent: queue.Queue[Any] = queue.Queue()
        self._process = process
        self._log = log

    def put(self, value: Any) -> None:
        """Add a report; any thread may call."""
        self._sent.put(value)

    def get(self, timeout: float) -> Any:
        """Return the next report, at once or when it comes.

        Raises AssertionError if there is none within `timeout` seconds, or the browser has ended;
        it says how far the page came and what the browser wrote last.
        """
        until_s = time.monotonic() + timeout
        while True:
            status = self._process.poll()
            try:
                return self._sent.get(timeout=_LOOK_S)
            except queue.Empty:
                if status is not None:
                    raise self._failure(f"Chromium has ended with status {status}") from None
                if time.monotonic() >= until_s:
                    raise self._failure(f"no report came within {timeout:g} s") from None

    def _failure(self, what: str) -> AssertionError:
        steps = "; ".join(self.steps) or "the page was not even fetched"
        return AssertionError(f"{what}. Steps: {steps}. Chromium wrote last:\n{_tail(self._log)}")


@contextmanager
def page(
    html: str, folder: Path, host: str = "127.0.0.1", flags: tuple[str, ...] = ()
) -> Iterator[Reports]:
    """Show a page in Chromium; yield what its calls of `report(value)` send.

    `folder` is for the browser's profile and its log. `host` is the name by which the browser asks
    for the page, so its origin; it leads to this machine.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_page = self.path == "/"
            if is_page:
                reports.steps.append("the page was fetched")
            self.send_response(200 if is_page else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if is_page:
                self.wfile.write((_FUNCTIONS + html).encode())

        def do_POST(self) -> None:
            value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/progress":
                reports.steps.append(str(value))
            else:
                reports.put(value)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / _LOG
    command = [
        program(),
        *_FLAGS,
        *flags,
        f"--user-data-dir={folder}",
        f"--host-resolver-rules=MAP {host} 127.0.0.1",
        # Without an address bar, Chromium starts twice as fast.
        f"--app=http://{host}:{server.server_address[1]}/",
    ]
    with log.open("wb") as err:
        process = subprocess.Popen(command, stdout=err, stderr=err)
    reports = Reports(process, log)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield reports
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        server.shutdown()
        server.server_close()


def screenshot(url: str, path: Path, folder: Path) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) RGB of what Chromium shows at an address after some seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / _LOG
    with log.open("wb") as err:
        done = subprocess.run(
            [
                program(),
                *_FLAGS,
                "--hide-scrollbars",
                "--window-size=640,480",
                # The stream never ends, so the page never finishes loading.
                "--timeout=5000",
                f"--user-data-dir={folder}",
                f"--screenshot={path}",
                url,
            ],
            stdout=err,
            stderr=err,
            timeout=120,
            check=False,
        )
    picture = cv2.imread(str(path)) if done.returncode == 0 else None
    assert picture is not None, f"no screenshot was made. Chromium wrote last:\n{_tail(log)}"
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if _NOISE not in line]
    return "\n".join(lines[-_LOG_LINES:]) or "(nothing)"
