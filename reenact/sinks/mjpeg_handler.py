"""Answers HTTP requests of browsers and players on this machine.

Each path needs the token of the run as `?token=...`, which only `HttpSink.url` reveals:

- `/` is a page with the moving picture,
- `/stream.mjpg` is the stream; every reader gets the newest picture at its own pace,
- `/frame.jpg` is the newest picture.

The server listens on the loopback address only. It refuses requests that address this machine by
another name, as after DNS rebinding, or that come from a page of another site. Pages served by this
machine may read the pixels (CORS).
"""

from __future__ import annotations

import hmac
import logging
import os
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from reenact.imaging import encoded
from reenact.sinks.http_address import LOOPBACK_HOSTS, host_name
from reenact.types import Image

log = logging.getLogger(__name__)

_BOUNDARY: Final = "frame"
_FIRST_FRAME_S: Final = 5.0
_STALLED_READER_S: Final = 20.0
_SEND_BUFFER_BYTES: Final = 128 * 1024
"""Small, so that a slow reader gets newer pictures instead of old ones from a buffer."""

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>reenact</title>
<style>
html, body { margin: 0; height: 100%%; background: #111; }
img { width: 100%%; height: 100%%; object-fit: contain; display: block; }
</style>
<img src="stream.mjpg?token=%s" alt="The target's face, live. Synthetic video.">
</html>
"""


class NewestPicture:
    """The newest picture and its JPEG; counts encoded pictures. Any thread may call."""

    def __init__(self, quality: int) -> None:
        self.encoded_frames = 0
        self._quality = quality
        self._image: Image | None = None
        self._number = 0
        self._closed = False
        self._changed = threading.Condition()
        self._jpeg = (0, b"")
        self._encoding = threading.Lock()

    def put(self, image: Image) -> None:
        """Make this the newest picture, uint8 (H, W, 3) RGB."""
        with self._changed:
            self._image = image
            self._number += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all waiting readers; there will be no more pictures."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def jpeg(self, after: int, timeout_s: float | None = None) -> tuple[int, bytes] | None:
        """Return the newest picture's number and JPEG once the number exceeds `after`.

        None if this was closed, or no such picture came in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > after, timeout_s)
            if self._closed or self._number <= after:
                return None
        # The first reader encodes; the others wait here and find the result.
        with self._encoding:
            with self._changed:
                number, image = self._number, self._image
            if self._jpeg[0] != number and image is not None:
                self._jpeg = (number, encoded(image, ".jpg", self._quality))
                self.encoded_frames += 1
            return self._jpeg


class MjpegServer(ThreadingHTTPServer):
    """An HTTP server for readers that come and go."""

    # On Windows this option would let two programs share a port.
    allow_reuse_address = os.name != "nt"

    @override
    def server_bind(self) -> None:
        # HTTPServer looks up its own name here, which is not needed and may take seconds.
        socketserver.TCPServer.server_bind(self)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("A reader of the HTTP stream has gone.", exc_info=True)


class MjpegHandler(BaseHTTPRequestHandler):
    """Handles one request."""

    timeout = _STALLED_READER_S
    disable_nagle_algorithm = True

    def __init__(self, newest: NewestPicture, token: str, *arguments: Any) -> None:
        self._newest = newest
        self._token = token
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer a request if it is allowed."""
        url = urlsplit(self.path)
        given = parse_qs(url.query).get("token", [""])[0]
        if host_name(self.headers.get("Host", "")) not in LOOPBACK_HOSTS:
            self._answer(HTTPStatus.FORBIDDEN, b"This server answers to localhost only.\n")
        elif not self._is_from_this_machine():
            self._answer(HTTPStatus.FORBIDDEN, b"This server answers to local pages only.\n")
        elif not hmac.compare_digest(given.encode(), self._token.encode()):
            self._answer(HTTPStatus.FORBIDDEN, b"The token in the address is missing or wrong.\n")
        elif url.path == "/":
            self._answer(HTTPStatus.OK, (_PAGE % self._token).encode(), "text/html; charset=utf-8")
        elif url.path == "/frame.jpg":
            self._send_frame()
        elif url.path == "/stream.mjpg":
            self._send_stream()
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There are /, /stream.mjpg and /frame.jpg.\n")

    def _is_from_this_machine(self) -> bool:
        """Return True if the request comes from no page, or from one of this machine."""
        origin = self.headers.get("Origin")
        if origin is None:
            return True
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and host_name(host) in LOOPBACK_HOSTS

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass  # the request line contains the token

    def _send_frame(self) -> None:
        found = self._newest.jpeg(0, _FIRST_FRAME_S)
        if found is None:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"There is no picture yet.\n")
        else:
            self._answer(HTTPStatus.OK, found[1], "image/jpeg")

    def _send_stream(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._send_head(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.wfile.write(f"--{_BOUNDARY}\r\n".encode())
        number = 0
        while (found := self._newest.jpeg(number)) is not None:
            number, data = found
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            # The boundary is sent at once: browsers show a picture when they see its end.
            self.wfile.write(head.encode() + data + f"\r\n--{_BOUNDARY}\r\n".encode())

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self._send_head(status, kind, len(body))
        self.wfile.write(body)

    def _send_head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        origin = self.headers.get("Origin")
        if origin is not None and status == HTTPStatus.OK:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Vary", "Origin")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
        )
        self.end_headers()
