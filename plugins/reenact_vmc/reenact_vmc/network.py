"""Looks up hosts."""

from __future__ import annotations

import errno
import socket


def looked_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> tuple[str, int]:
    """Return the numeric address and port of a host, for UDP.

    Raises:
        OSError: the host is unknown, or its name cannot be one. `strerror` says which.
    """
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    except UnicodeError as error:  # an empty or overlong part, as in 192.168..20
        raise OSError(errno.EINVAL, "it is no address") from error
    return str(found[0][4][0]), int(found[0][4][1])
