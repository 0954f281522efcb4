"""Serves frames to browsers and other programs on this machine: MJPEG over HTTP.

`reenact obs status --media-source` prints the address of a chosen port and the options that reduce
the delay of OBS's media source from a second to less than a tenth of it.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import sys
import threading
from typing import Final

from pydantic import Field

from reenact.config import Section
from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.http_address import LOOPBACK, HttpAddress, keep_address, load_address
from reenact.sinks.mjpeg_handler import MjpegHandler, MjpegServer, NewestPicture
from reenact.types import Frame, Sink


class HttpSink(ClosesOnExit):
    """Serves the newest frame over HTTP; `sinks.mjpeg_handler` describes the paths.

    On a port that the user chose, the previous token is used again. A frame is encoded once for all
    readers, in their threads, and not at all if nobody reads. One thread calls `open` and `write`;
    any thread may call the rest.
    """

    name = "http"
    live = True

    def __init__(self, port: int = 0, quality: int = 85) -> None:
        """Create the sink without opening it. `port` is on the loopback address; 0: any."""
        self._port = port
        kept = load_address(port)
        self._token = kept.token if kept else secrets.token_urlsafe(16)
        self._newest = NewestPicture(quality)
        self._server: MjpegServer | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """URL of the page with its token; "" while nothing is served."""
        return self.url_of("")

    @property
    def encoded_frames(self) -> int:
        """Number of encoded frames."""
        return self._newest.encoded_frames

    def url_of(self, path: str) -> str:
        """Return the URL of `stream.mjpg` or `frame.jpg`; "" while nothing is served."""
        server = self._server
        if server is None:
            return ""
        return HttpAddress(int(server.server_address[1]), self._token).url(path)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Start serving and print the address on stderr. Raises SinkError if the port is taken."""
        handler = functools.partial(MjpegHandler, self._newest, self._token)
        try:
            self._server = MjpegServer((LOOPBACK, self._port), handler)
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
        with contextlib.suppress(OSError):  # the terminal is gone
            print(f"Watch at {self.url}", file=sys.stderr, flush=True)

    def write(self, frame: Frame) -> None:
        """Make this the newest frame; returns at once."""
        if self._server is None:
            raise SinkError("The HTTP stream is closed.")
        self._newest.put(frame.image)

    def close(self) -> None:
        """Stop serving; readers get no more pictures. May be called twice."""
        with self._lock:
            server, self._server = self._server, None
            self._newest.close()
            if server is not None:
                server.shutdown()
                server.server_close()


class HttpSettings(Section):
    """Port and picture quality of the stream."""

    port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of the stream on the loopback address; 0: any free one",
    )
    quality: int = Field(85, ge=10, le=100, description="JPEG quality of the stream")


def _http(argument: str, settings: HttpSettings) -> Sink:
    if argument and not (argument.isdecimal() and int(argument) < 65536):
        raise SinkError(f"http:{argument}: the colon must be followed by a port, 0 to 65535.")
    return HttpSink(int(argument) if argument else settings.port, settings.quality)


HTTP: Final = SinkSpec(
    "http",
    "MJPEG for a browser or player on this machine",
    _http,
    settings=HttpSettings,
    argument="[PORT]",
)
