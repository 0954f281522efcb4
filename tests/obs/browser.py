"""Starts Chromium without a window and lets a page in it report what it sees."""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """Return Chromium's path, or "" where it is not installed."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), "")


@contextmanager
def page(html: str, folder: Path, host: str = "127.0.0.1") -> Iterator[queue.Queue[Any]]:
    """Show a page in Chromium; yield what its calls of `report(value)` send.

    Args:
        html: the page; a function `report` is defined before it.
        folder: for the browser's profile.
        host: the name by which the browser asks for the page, so its origin; of this machine.
    """
    reports: queue.Queue[Any] = queue.Queue()
    report = (
        "<script>const report = value => "
        "fetch('/', {method: 'POST', body: JSON.stringify(value)});</script>"
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((report + html).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reports.put(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        program(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={folder}",
        f"--host-resolver-rules=MAP {host} 127.0.0.1",
        f"http://{host}:{server.server_address[1]}/",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield reports
    finally:
        process.terminate()
        process.wait(20)
        server.shutdown()
        server.server_close()


def screenshot(url: str, path: Path, folder: Path) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) RGB of what Chromium shows at an address after some seconds.

    Args:
        url: of the page.
        path: of the PNG that is made.
        folder: for the browser's profile.
    """
    subprocess.run(
        [
            program(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--window-size=640,480",
            # The stream never ends, so the page is never loaded: it is looked at after a while.
            "--timeout=5000",
            f"--user-data-dir={folder}",
            f"--screenshot={path}",
            url,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
