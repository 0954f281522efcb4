"""The address of the HTTP stream that was opened last, kept for this user alone.

`reenact obs status --media-source` tells it, and a stream on the same fixed port takes the same
token again, so that what OBS or a browser has stored goes on working.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,100}")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where an HTTP stream is.

    Attributes:
        port: on the loopback address.
        token: what a request must know.
    """

    port: int
    token: str

    def url(self, path: str) -> str:
        """Return the address of a path, which has no leading slash."""
        return f"http://{LOOPBACK}:{self.port}/{path}?token={self.token}"


def load_address() -> HttpAddress | None:
    """Return the address that was kept; None: none was, or it cannot be read."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
        port, token = int(found["port"]), str(found["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return HttpAddress(port, token) if 0 < port < 65536 and _TOKEN.fullmatch(token) else None


def keep_address(address: HttpAddress) -> None:
    """Keep an address, readable by this user alone; where that fails, it is not kept."""
    path = _path()
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made with the rights 0600.
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        partial = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"port": address.port, "token": address.token}, file)
        partial.replace(path)
    except OSError:
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def _path() -> Path:
    # It brings much along, which `reenact obs` can do without.
    from reenact.target_store import data_folder

    return data_folder() / "http.json"
