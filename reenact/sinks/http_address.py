"""This machine's loopback names, and the stored addresses of HTTP streams on chosen ports.

A stream on the same port gets the same token again, so that addresses stored in OBS or a browser
keep working. `reenact obs status --media-source` prints the address that was opened last.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reenact.errors import SinkError
from reenact.storage import atomic_write, data_folder

LOOPBACK: Final = "127.0.0.1"

LOOPBACK_HOSTS: Final = frozenset({LOOPBACK, "localhost", "[::1]"})
"""The names of the loopback address in a URL."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,100}")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """The port of a stream on the loopback address, and the token that requests must carry."""

    port: int
    token: str

    def url(self, path: str) -> str:
        """Return the URL of a path without a leading slash."""
        return f"http://{LOOPBACK}:{self.port}/{path}?token={self.token}"


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    host = host.strip().lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def load_address(port: int | None = None) -> HttpAddress | None:
    """Return the address stored for a port, or the last one opened; None if there is none."""
    kept = _kept()
    if port is None:
        port = next(reversed(kept), 0)
    return HttpAddress(port, kept[port]) if port in kept else None


def keep_address(address: HttpAddress) -> None:
    """Store an address, readable by this user alone; failure to do so is ignored."""
    kept = _kept()
    kept.pop(address.port, None)
    kept[address.port] = address.token
    text = json.dumps([{"port": port, "token": token} for port, token in kept.items()])
    with contextlib.suppress(SinkError), atomic_write(_path(), parents=True) as partial:
        partial.touch(0o600)
        partial.write_text(text, encoding="utf-8")


def _kept() -> dict[int, str]:
    """Return the token of each port, the last one opened at the end."""
    try:
        addresses = json.loads(_path().read_text(encoding="utf-8"))
        tokens = {int(one["port"]): str(one["token"]) for one in addresses}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {
        port: token
        for port, token in tokens.items()
        if 0 < port < 65536 and _TOKEN.fullmatch(token)
    }


def _path() -> Path:
    return data_folder() / "http.json"
