"""Serves the panel in its own thread; if it fails, the session goes on."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reenact.errors import ReenactError
from reenact.lifecycle import ClosesOnExit
from reenact.panel.security import Access, kept_token
from reenact.sinks.http_address import LOOPBACK, LOOPBACK_HOSTS

if TYPE_CHECKING:
    from reenact.panel.studio import Studio

log = logging.getLogger(__name__)

PORT: Final = 7843
"""Preferred port, so that bookmarks and OBS's dock keep working."""

_WILDCARDS: Final = {"0.0.0.0": LOOPBACK, "::": "[::1]"}
"""Addresses that stand for all addresses of this machine, and one that it can open itself."""

_STOP_S: Final = 3.0
_MAX_WEBSOCKET_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Address:
    """The address of the panel.

    Attributes:
        host: an address of this machine.
        port: 0: `PORT`, or any free port if that is taken.
        certificate: a TLS certificate, PEM; None: no TLS.
        key: private key of the certificate, PEM.
    """

    host: str = LOOPBACK
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None


class PanelServer(ClosesOnExit):
    """The running panel. One thread creates and closes it.

    Args:
        studio: state and functions of the panel.
        address: where it is served.

    Attributes:
        url: address of the page, including its token.
        url_once: the same for a browser that is started now; everybody on this machine can read it
            in the list of processes, so its token works once.

    Raises:
        ReenactError: the address or the certificate cannot be used.
    """

    def __init__(self, studio: Studio, address: Address | None = None) -> None:
        import uvicorn

        from reenact.panel.app import make_app

        address = address or Address()
        secure = address.certificate is not None
        token = kept_token()
        self._socket = _bound(address)
        port = self._socket.getsockname()[1]
        named = _named(address.host)
        hosts = [*LOOPBACK_HOSTS, named.lower()]
        everywhere = address.host in _WILDCARDS
        if everywhere:
            hosts.append(socket.gethostname().lower())
            named = _WILDCARDS[address.host]
        self.url = f"{'https' if secure else 'http'}://{named}:{port}/?token={token}"
        once = secrets.token_urlsafe(24)
        self.url_once = self.url.replace(token, once)
        guard = Access(token, hosts, everywhere=everywhere, secure=secure, once=once)
        config = uvicorn.Config(
            make_app(studio, guard),
            log_config=None,
            log_level="error",
            access_log=False,  # the address contains the token
            lifespan="off",
            server_header=False,
            ws_max_size=_MAX_WEBSOCKET_BYTES,
            ws_per_message_deflate=False,  # JPEGs do not compress further
            timeout_keep_alive=5,
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="panel-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; open pages say that the panel has ended."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(_STOP_S)
        self._socket.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            log.exception("The panel has failed; the session goes on.")


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    ports = (address.port,) if address.port else (PORT, 0)
    for port in ports:
        listener = socket.socket(family)
        try:
            # On Windows the option would let two programs share the port.
            if hasattr(socket, "SO_REUSEPORT"):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if port == ports[-1]:
                raise ReenactError(
                    f"The panel cannot be served at {address.host}:{port}: "
                    f"{error.strerror or error}. Choose another --port or --listen address."
                ) from error
            continue
        return listener
    raise AssertionError("unreachable")


def _named(host: str) -> str:
    """Return an address in URL form, IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
