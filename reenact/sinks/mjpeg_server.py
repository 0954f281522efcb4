"""Shows frames to browsers and other programs on this machine: MJPEG over HTTP.

What is served, each with `?token=…` of the run, which only `url` tells:

- `/` a page with the moving picture,
- `/stream.mjpg` the stream, every reader at its own pace, always the newest picture,
- `/frame.jpg` the newest picture.

The server listens on the loopback address alone. A page of another site that guesses the port
gets nothing: the token is random, a request that calls this machine by any other name, as after
DNS rebinding, is refused, and so is one that a page from elsewhere makes. Pages of this machine may
read the pixels (CORS).

On a port that the user chose, the token is that of the last time, so that an address stays.
`reenact obs status --media-source` tells it, with the options that take OBS's delay from a second
to less than a tenth.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import logging
import os
import secrets
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import cv2
from pydantic import Field

from reenact.config import Section
from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.http_address import LOOPBACK, HttpAddress, keep_address, load_address
from reenact.types import Frame, Image, Sink

log = logging.getLogger(__name__)

_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BOUNDARY: Final = "frame"
_FIRST_FRAME_S: Final = 5.0
_STALLED_READER_S: Final = 20.0
_SEND_BUFFER_BYTES: Final = 128 * 1024
"""A reader that lags is sent newer pictures, instead of old ones from a large buffer."""

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>reenact</title>
<style>
html, body { margin: 0; height: 100%%; background: #111; }
img { width: 100%%; height: 100%%; object-fit: contain; display: block; }
</style>
<img src="stream.mjpg?token=%s" alt="The target's face, live. Synthetic video.">
</html>
"""


class HttpSink(ClosesOnExit):
    """A server of the newest frame.

    A frame is made a JPEG once, whatever the number of readers, and not at all while nobody
    reads; that and the sending happen in the readers' threads, so that a slow reader slows
    nobody. `open` and `write` belong to one thread; `close` and `url` to any.

    Attributes:
        name: "http".
        live: True.
        url: address of the page with its token, "" before `open`; `url_of` gives the others.
    """

    name = "http"
    live = True

    def __init__(self, port: int = 0, quality: int = 85) -> None:
        """Open nothing yet.

        Args:
            port: on the loopback address; 0: any free one.
            quality: of the JPEGs, 1 to 100.
        """
        self._port = port
        kept = load_address(port)
        self._token = kept.token if kept else secrets.token_urlsafe(16)
        self._newest = _Newest(quality)
        self._server: _Server | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the page, with its token; "" while it is not open."""
        return self.url_of("")

    @property
    def encoded_frames(self) -> int:
        """How many frames have been made a JPEG."""
        return self._newest.encoded_frames

    def url_of(self, path: str) -> str:
        """Return the address of `stream.mjpg` or `frame.jpg`; "" while it is not open."""
        server = self._server
        if server is None:
            return ""
        return HttpAddress(int(server.server_address[1]), self._token).url(path)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Start serving and print the address on stderr; size and rate follow the frames.

        Raises:
            SinkError: the port is taken or may not be used.
        """
        handler = functools.partial(_Handler, self._newest, self._token)
        try:
            self._server = _Server((LOOPBACK, self._port), handler)
        except OSError as error:
            raise SinkError(
                f"Port {self._port} on {LOOPBACK} cannot be used ({error.strerror or error}); "
                "choose another with --set sink.http.port=PORT, or 0 for any free one."
            ) from error
        threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="reenact-http",
            daemon=True,
        ).start()
        if self._port:
            keep_address(HttpAddress(self._port, self._token))
        # Printed, not logged: nobody can guess the token.
        print(f"Watch at {self.url}", file=sys.stderr, flush=True)

    def write(self, frame: Frame) -> None:
        """Make this the newest frame; returns at once.

        Raises:
            SinkError: the server is not running.
        """
        if self._server is None:
            raise SinkError("The HTTP stream is closed.")
        self._newest.put(frame.image)

    def close(self) -> None:
        """Stop serving and end every reader's connection. May be called twice."""
        with self._lock:
            server, self._server = self._server, None
            self._newest.close()
            if server is not None:
                server.shutdown()
                server.server_close()


class _Newest:
    """The newest picture and its JPEG. Any thread may call."""

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
        with self._changed:
            self._image = image
            self._number += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def jpeg(self, after: int, timeout_s: float | None = None) -> tuple[int, bytes] | None:
        """Return the newest picture's number and JPEG, once the number is above `after`.

        None when closed, or when no such picture came in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > after, timeout_s)
            if self._closed or self._number <= after:
                return None
        # The first reader to come encodes; the others wait here and find it done.
        with self._encoding:
            with self._changed:
                number, image = self._number, self._image
            if self._jpeg[0] != number and image is not None:
                self._jpeg = (number, _encode(image, self._quality))
                self.encoded_frames += 1
            return self._jpeg


def _encode(image: Image, quality: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them."""

    daemon_threads = True
    # On Windows this option would let two programs have one port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer looks its own name up here, which may take seconds and is not needed.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("A reader of the HTTP stream has gone.", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = _STALLED_READER_S
    disable_nagle_algorithm = True

    def __init__(self, newest: _Newest, token: str, *arguments: Any) -> None:
        self._newest = newest
        self._token = token
        super().__init__(*arguments)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        given = parse_qs(url.query).get("token", [""])[0]
        if not _is_own_name(self.headers.get("Host", "")):
            self._answer(HTTPStatus.FORBIDDEN, b"This server answers to localhost only.\n")
        elif not self._is_asked_from_here():
            self._answer(HTTPStatus.FORBIDDEN, b"Pages of this machine only may ask.\n")
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

    def _is_asked_from_here(self) -> bool:
        """Whether no page asks, or one that came from this machine."""
        origin = self.headers.get("Origin")
        if origin is None:
            return True
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and _is_own_name(host)

    def log_message(self, format: str, *args: Any) -> None:
        # The request line holds the token, so it is not logged.
        pass

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
            # The boundary comes at once: browsers show a picture when they have seen its end.
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


def _is_own_name(host: str) -> bool:
    """Whether a Host header names the loopback address, with or without a port."""
    name, colon, port = host.strip().lower().rpartition(":")
    return host.strip().lower() in _HOSTS or (bool(colon) and port.isdigit() and name in _HOSTS)


class HttpSettings(Section):
    """Where the stream is served, and how good its pictures are."""

    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of the HTTP stream on the loopback address; 0: any free one",
    )
    quality: int = Field(85, ge=10, le=100, description="JPEG quality of the HTTP stream")


def _http(argument: str, settings: HttpSettings) -> Sink:
    if argument and not (argument.isdecimal() and int(argument) < 65536):
        raise SinkError(f"http:{argument}: after the colon comes a port from 0 to 65535.")
    return HttpSink(int(argument) if argument else settings.port, settings.quality)


HTTP: Final = SinkSpec(
    "http",
    "MJPEG for a browser or player on this machine",
    _http,
    settings=HttpSettings,
    argument="[PORT]",
)
