"""A panel that runs in this process."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from websockets.sync.client import ClientConnection, connect

from reenact.live.controls import Controls
from reenact.panel.security import COOKIE
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from support.fakes import until
from support.traffic import free_port

FAST = ["renderer.name=warp", "renderer.size=128", "fusion.method=direct", "actor.neutral=fresh"]


class Panel:
    """A running panel and the thread that runs its sessions.

    Attributes:
        studio: the panel's state.
        server: serves it.
        port: of the server.
        token: that requests need.
    """

    def __init__(self, source: str = "pattern", *assignments: str) -> None:
        self.studio = Studio(assignments=[*FAST, "source.video.loop=true", *assignments])
        self.studio.offer(source, "")
        # Not the usual port: after a restart another test may have it.
        self.server = PanelServer(self.studio, Address(port=free_port()))
        address = urlsplit(self.server.url)
        assert address.port is not None
        self.port = address.port
        self.token = parse_qs(address.query)["token"][0]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run_sessions, daemon=True)
        self._thread.start()

    def _run_sessions(self) -> None:
        while not self._ending.is_set():
            choice = self.studio.next_start(0.05)
            controls = None if choice is None else self.studio.open(choice)
            if controls is None:
                continue
            error: Exception | None = None
            try:
                with controls.session:
                    controls.session.run()
            except Exception as caught:
                error = caught
            self.studio.ended(error)

    def close(self) -> None:
        self._ending.set()
        if self.studio.controls is not None:
            self.studio.controls.stop()
        self._thread.join(20.0)
        self.server.close()
        self.studio.close()

    def send(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as it is; names of headers have _ for -, and "" leaves one out."""
        given = {"Host": f"127.0.0.1:{self.port}", "Cookie": f"{COOKIE}={self.token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20.0)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the API; return its value, or the sentence with which it refused."""
        text = json.dumps(body).encode()
        _, _, content = self.send(method, path, text, Content_Type="application/json")
        answer = json.loads(content)
        return answer.get("value", answer.get("error"))

    def upload(self, content: bytes, kind: str, name: str = "") -> Any:
        place = f"/api/uploads?name={quote(name)}"
        _, _, answer = self.send("POST", place, content, Content_Type=kind)
        return json.loads(answer).get("value", answer.decode())

    def live(self, **options: Any) -> ClientConnection:
        """Open the WebSocket of a page."""
        given = {"Cookie": f"{COOKIE}={self.token}"}
        address = f"ws://127.0.0.1:{self.port}/api/live"
        page: ClientConnection = connect(address, additional_headers=given, **options)
        return page

    def start(self, source: str, target: str = "robin", outputs: tuple[str, ...] = ()) -> Controls:
        """Start a session and wait for its first pictures."""
        before = self.studio.controls
        refused = self.call("POST", "/api/start", source=source, target=target, outputs=outputs)
        assert refused is None
        until(lambda: self.studio.controls not in (None, before), 120.0)
        controls = self.studio.running()
        until(lambda: controls.session.frames_out > 3, 60.0)
        return controls

    def frames(self, count: int) -> None:
        """Wait for so many more pictures of the session that runs."""
        session = self.studio.running().session
        goal = session.frames_out + count
        until(lambda: session.frames_out >= goal)


def without_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no screen on which a window could open."""
    monkeypatch.setattr("reenact.sinks.window.display_problem", lambda: "there is no display")
