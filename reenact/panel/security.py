"""Access control of the panel: this machine's user, but no page of another site.

A web page that the user happens to visit can send requests to the loopback address. All of them are
refused. The page does not know the token and cannot send the cookie (SameSite=Strict). A request to
another host name, as after DNS rebinding, is refused, and so is a foreign Origin. Requests that
change something need a Content-Type that browsers do not send across sites without a preflight.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reenact.errors import SinkError
from reenact.panel.uploads import TYPES
from reenact.sinks.http_address import host_name
from reenact.storage import atomic_write, data_folder

COOKIE: Final = "reenact-panel"

CHANGE_TYPES: Final = frozenset({"application/json"}) | TYPES
"""Media types of requests that change something."""

_SAFE: Final = frozenset({"GET", "HEAD"})

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def kept_token() -> str:
    """Return this user's token, the same at each start, so that bookmarks keep working.

    The file is readable by this user alone. If that is not possible, the token is a new one.
    """
    path = token_path()
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if len(token) < 20:
        token = secrets.token_urlsafe(24)
        try:
            with atomic_write(path, parents=True) as partial:
                partial.touch(0o600)
                partial.write_text(token, encoding="ascii")
        except SinkError:
            pass
    return token


def token_path() -> Path:
    """Return the file that holds the token."""
    return data_folder() / "panel" / "token"


@dataclass(frozen=True, slots=True)
class Access:
    """Who has access to the panel.

    Attributes:
        token: given in the address (`?token=...`), after which a cookie holds it, or with each
            request as `Authorization: Bearer ...`.
        hosts: the accepted names of this machine, without a port.
        everywhere: the panel is served at all addresses of this machine, which are accepted too. A
            foreign host name never is one, so DNS rebinding stays impossible.
        secure: the panel is served by TLS.
        once: another token for the address, which works once.
    """

    token: str
    hosts: Collection[str]
    everywhere: bool = False
    secure: bool = False
    once: str = ""


class Guard:
    """Lets requests through that come from the panel's own page or carry the token.

    Args:
        app: receives the accepted requests.
        access: who is let through.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._once = access.once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that is refused; None if it is accepted."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host_name(host), scope):
            return _refused(403, "The panel cannot be opened under this host name.")
        scheme = "https" if self._access.secure else "http"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scheme}://{host.lower()}":
            return _refused(403, "The panel accepts requests only from its own page.")
        if scope["type"] == "http" and scope["method"] in _SAFE:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if given and (self._is_token(given[0]) or self._is_first(given[0])):
                return self._welcome(scope)
        if not self._knows_token(headers):
            return _refused(401, "Open the panel with the address that reenact printed.")
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in CHANGE_TYPES:
                return _refused(415, "Send application/json, or a picture or video.")
        return None

    def _welcome(self, scope: Scope) -> Response:
        """Move the token from the address into a cookie."""
        rest = parse_qs(scope["query_string"].decode("latin-1"))
        rest.pop("token")
        query = urlencode(rest, doseq=True)
        # A path that begins with two slashes would redirect to another host.
        path = "/" + scope["path"].lstrip("/")
        response = RedirectResponse(f"{path}?{query}" if query else path, 303)
        token, secure = self._access.token, self._access.secure
        response.set_cookie(
            COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/"
        )
        return response

    def _is_own(self, host: str, scope: Scope) -> bool:
        """Return True for a name of this machine, or the address that was connected to."""
        if host in self._access.hosts:
            return True
        served = str((scope.get("server") or [""])[0]).removeprefix("::ffff:")
        return self._access.everywhere and host in (served, f"[{served}]")

    def _is_first(self, given: str) -> bool:
        """Return True for the token that works once, the first time."""
        first = bool(self._once) and _are_equal(given, self._once)
        if first:
            self._once = ""
        return first

    def _knows_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(given.strip())
        # Other programs on this machine share their cookies; `SimpleCookie` would drop them all if
        # one is malformed.
        return self._is_token(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))

    def _is_token(self, given: str) -> bool:
        return _are_equal(given, self._access.token)


def _are_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _refused(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
