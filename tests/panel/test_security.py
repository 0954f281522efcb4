"""Who gets an answer: nobody without the token, and no page of another site.

The requests are made from the table of routes, so that no new route can be forgotten.
"""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from reenact.panel.app import routes
from reenact.panel.endpoints import ENDPOINTS
from reenact.panel.live_socket import MAX_VIEWERS
from reenact.panel.openapi import document
from reenact.panel.security import CHANGE_TYPES, COOKIE, token_path
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.panel.uploads import MAX_BYTES, MAX_FILES
from support.clips import png_claiming
from support.fakes import until
from support.panels import Panel

EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def every_route(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Return each method and path, WebSockets with the method WS."""
    with pytest.MonkeyPatch.context() as patch, Studio() as studio:
        patch.setenv("REENACT_DATA", str(tmp_path_factory.mktemp("data")))
        return list(_requests(routes(studio)))


def _requests(table: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in table:
        if isinstance(route, WebSocketRoute):
            yield "WS", route.path
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/main.js"
        else:
            assert isinstance(route, Route), f"{route} is not tested"
            for method in sorted(route.methods or ()):
                yield method, re.sub(r"{\w+}", "astronaut", route.path)


def refused(panel: Panel, method: str, path: str, **headers: str) -> int:
    """Send a request and return the status; a WebSocket's refusal counts as 403."""
    if method != "WS":
        return panel.send(method, path, b"{}", **headers)[0]
    given = {"Cookie": f"{COOKIE}={panel.token}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items() if value}
    if headers.get("Cookie") == "":
        del given["Cookie"]
    host = given.pop("Host", f"127.0.0.1:{panel.port}")
    try:
        with (
            socket.create_connection(("127.0.0.1", panel.port)) as raw,
            connect(f"ws://{host}{path}", additional_headers=given, sock=raw, open_timeout=10),
        ):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_every_route_needs_the_token(panel: Panel, every_route: list[tuple[str, str]]) -> None:
    assert len(every_route) > 30
    for method, path in every_route:
        for cookie in ("", f"{COOKIE}=", f"{COOKIE}=wrong", f"{COOKIE}={panel.token}x"):
            assert refused(panel, method, path, Cookie=cookie) in (401, 403), (method, path)
        wrong = refused(panel, method, path, Cookie="", Authorization="Bearer wrong")
        assert wrong in (401, 403), (method, path)


def test_every_route_answers_to_its_own_names_only(
    panel: Panel, every_route: list[tuple[str, str]]
) -> None:
    """After DNS rebinding a page of another site sends its own name as the host."""
    for method, path in every_route:
        for host in ("evil.example", f"evil.example:{panel.port}", "127.0.0.1.evil.example"):
            assert refused(panel, method, path, Host=host) == 403, (method, path)


def test_every_route_refuses_pages_of_other_sites(
    panel: Panel, every_route: list[tuple[str, str]]
) -> None:
    others = (
        EVIL,
        "null",
        "http://127.0.0.1",
        f"http://localhost:{panel.port}",
        "http://127.0.0.1:1",
    )
    for method, path in every_route:
        for origin in others:
            assert refused(panel, method, path, Origin=origin) == 403, (method, path, origin)


def test_every_change_needs_a_type_that_browsers_ask_about(
    panel: Panel, every_route: list[tuple[str, str]]
) -> None:
    simple = (
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    )
    assert not CHANGE_TYPES & {"text/plain", "application/x-www-form-urlencoded"}
    for method, path in every_route:
        if method in ("GET", "HEAD", "WS"):
            continue
        for kind in simple:
            assert refused(panel, method, path, Content_Type=kind) == 415, (method, path, kind)


def test_no_request_that_only_reads_changes_anything() -> None:
    assert all((one.body is None) == (one.method == "GET") for one in ENDPOINTS)


def test_the_panels_own_page_is_answered(panel: Panel) -> None:
    own = f"http://127.0.0.1:{panel.port}"
    status, headers, content = panel.send("GET", "/", Origin=own)
    assert (status, b"<main" in content) == (200, True)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert refused(panel, "WS", "/api/live", Origin=own) == 101
    bearer = f"Bearer {panel.token}"
    assert panel.send("GET", "/api/state", Cookie="", Authorization=bearer)[0] == 200


def test_a_page_holds_no_script_or_style_of_its_own(panel: Panel) -> None:
    page = panel.send("GET", "/")[2].decode()
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page)
    assert "http" not in page.replace("http-equiv", "")


def test_the_token_moves_from_the_address_into_a_cookie(panel: Panel) -> None:
    status, headers, _ = panel.send("GET", f"/dock?token={panel.token}&x=1", Cookie="")
    assert (status, headers["location"]) == (303, "/dock?x=1")
    cookie = headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", panel.token.lower()))
    assert panel.send("GET", "/?token=wrong", Cookie="")[0] == 401
    _, headers, _ = panel.send("GET", f"//evil.example/?token={panel.token}", Cookie="")
    assert headers["location"].startswith("/evil")
    assert token_path().stat().st_mode & 0o077 == 0


def test_the_address_that_a_browser_is_started_with_works_once(panel: Panel) -> None:
    address = panel.server.url_once.partition(str(panel.port))[2]
    assert panel.token not in address
    status, headers, _ = panel.send("GET", address, Cookie="")
    assert (status, panel.token in headers["set-cookie"]) == (303, True)
    assert panel.send("GET", address, Cookie="")[0] == 401


def test_cookies_of_other_programs_do_not_hide_the_panels(panel: Panel) -> None:
    for other in ('prefs={"theme":"dark"}', "name=J\xfcrgen", "a b=2"):
        status, _, _ = panel.send("GET", "/", Cookie=f"{other}; {COOKIE}={panel.token}")
        assert status == 200, other


def test_a_panel_for_other_machines_is_reached_by_its_addresses_alone() -> None:
    with Studio() as studio, PanelServer(studio, Address("0.0.0.0")) as server:
        address = urlsplit(server.url)
        assert (address.hostname, address.port is None) == ("127.0.0.1", False)

        def status(host: str) -> int:
            connection = HTTPConnection(
                "127.0.0.2", address.port
            )  # another address of this machine
            connection.request("GET", f"/?{address.query}", headers={"Host": host})
            return connection.getresponse().status

        assert status(f"127.0.0.2:{address.port}") == 303
        assert status(f"127.0.0.3:{address.port}") == 403
        assert status("evil.example") == 403


def test_names_lead_to_no_other_place(panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("[fusion]\nmirror = true", "utf-8")
    for name in ("..", "%2e%2e", "..%2f..%2fsecret", "%2e%2e%5csecret", "a%00b", "con", "-x", ".x"):
        for method, path in (
            ("GET", f"/api/targets/{name}/picture"),
            ("GET", f"/api/targets/{name}/export"),
            ("GET", f"/api/targets/{name}/training"),
            ("GET", f"/api/presets/{name}/file"),
            ("GET", f"/static/{name}"),
            ("PUT", f"/api/presets/{name}"),
            ("DELETE", f"/api/targets/{name}"),
        ):
            status, _, _ = panel.send(method, path, b"{}", Content_Type="application/json")
            assert status in (400, 404, 405), (method, path, status)
    said = panel.call("POST", "/api/start", source="video:/etc/passwd", target="robin")
    assert "not among the cameras" in said
    for target in ("/etc/passwd", "../x"):
        said = panel.call("POST", "/api/start", source="pattern", target=target)
        assert "no target" in said
    assert "no output" in panel.call("POST", "/api/outputs", output="file:/tmp/x.mp4", on=True)


def ended(panel: Panel, number: int) -> Any:
    job = panel.studio.jobs.get(number)
    assert job is not None
    until(lambda: job.state != "running", 60.0)
    return job


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (png_claiming(50_000, 50_000), "image/png", "more than 179 million pixels"),
        (b"<svg onload=alert(1)>", "image/png", "not a picture"),
        (b"\x00" * 2000, "video/mp4", "video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "image/jpeg", "not a picture"),
    ],
)
def test_a_wrong_picture_makes_no_target(
    panel: Panel, content: bytes, kind: str, message: str
) -> None:
    upload = panel.upload(content, kind)
    number = panel.call("POST", "/api/targets", name="bomb", uploads=[upload], consent=True)
    job = ended(panel, number)
    assert job.state == "failed"
    assert message in job.result
    assert [one["name"] for one in panel.call("GET", "/api/targets")] == ["astronaut", "robin"]


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Jürgen Müller.JPG", "Jürgen Müller.jpg"),
        ("../../escape.jpg", "escape.jpg"),
        ("..\\a:b<c>.jpg", "a-b-c.jpg"),
        ("con.jpg", "file.jpg"),
        ("x" * 300, "x" * 48 + ".jpg"),
        ("", "file.jpg"),
    ],
)
def test_messages_name_a_file_as_the_page_does_and_no_folder(
    panel: Panel, name: str, called: str
) -> None:
    upload = panel.upload(b"no picture", "image/jpeg", name)
    job = ended(panel, panel.call("POST", "/api/targets", name="x", uploads=[upload], consent=True))
    assert job.result.startswith(f"{called} is not a picture")
    assert not list(panel.studio.uploads.folder.iterdir())


def test_refused_files_are_deleted_and_new_ones_take_the_place_of_unused_ones(
    panel: Panel,
) -> None:
    folder = panel.studio.uploads.folder
    upload = panel.upload(b"x", "application/octet-stream")
    assert "not a target" in panel.call("POST", "/api/import", upload=upload)
    assert not list(folder.iterdir())
    upload = panel.upload(b"x", "image/png")
    for name in ("robin", "my/name"):
        said = panel.call("POST", "/api/targets", name=name, uploads=[upload], consent=True)
        assert "choose another name" in said or "cannot be a target's name" in said
    assert [one.name for one in folder.iterdir()] == [upload], "it is kept for another name"
    uploads = [panel.upload(b"x", "image/png") for _ in range(MAX_FILES + 1)]
    assert {one.name for one in folder.iterdir()} == set(uploads[1:])


def test_without_consent_no_target_is_made(panel: Panel) -> None:
    upload = panel.upload(b"x", "image/png")
    said = panel.call("POST", "/api/targets", name="anna", uploads=[upload], consent=False)
    assert "consent" in said


def test_an_archive_writes_nowhere_else(panel: Panel) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../escape.txt", "x")
    upload = panel.upload(stream.getvalue(), "application/octet-stream")
    assert "does not belong there" in panel.call("POST", "/api/import", upload=upload)
    folder = panel.studio.gallery.store.folder
    assert not list(folder.parent.rglob("escape.txt"))


def test_what_is_too_large_is_refused_as_it_comes(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAX_BYTES, "image", 1000)
    status, _, content = panel.send("POST", "/api/uploads", bytes(5000), Content_Type="image/png")
    assert (status, b"larger than" in content) == (413, True)
    body = json.dumps({"source": "x" * (2 << 20), "target": "robin"}).encode()
    status, _, _ = panel.send("POST", "/api/start", body, Content_Type="application/json")
    assert status == 413
    assert not list(panel.studio.uploads.folder.iterdir())


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused_in_a_sentence(panel: Panel, body: bytes) -> None:
    status, _, content = panel.send("POST", "/api/act", body, Content_Type="application/json")
    assert (status, json.loads(content)) == (400, {"error": "The body is not JSON."})


def test_an_upload_that_is_given_up_leaves_nothing_and_is_no_bug(
    panel: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1:{panel.port}\r\nContent-Type: video/mp4\r\n"
        f"Authorization: Bearer {panel.token}\r\nContent-Length: 5000\r\n\r\n"
    )
    folder = panel.studio.uploads.folder
    with socket.create_connection(("127.0.0.1", panel.port)) as page:
        page.sendall(head.encode() + bytes(1000))
        until(lambda: any(folder.iterdir()))
    until(lambda: not any(folder.iterdir()))
    panel.call("GET", "/api/state")
    assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the file size")
def test_an_upload_to_a_full_disk_is_refused_in_a_sentence(panel: Panel) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        status, _, content = panel.send(
            "POST", "/api/uploads?name=anna", bytes(300_000), Content_Type="image/png"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (status, b"anna.png cannot be written" in content) == (400, True)
    assert not list(panel.studio.uploads.folder.iterdir())


def test_a_session_goes_on_under_200_connections_and_slow_readers(panel: Panel) -> None:
    panel.start("pattern")
    idle = [socket.create_connection(("127.0.0.1", panel.port)) for _ in range(160)]
    viewers, turned_away = [], 0
    for _ in range(40):
        try:
            viewer = panel.live()
            viewer.send('{"watch": ["output", "features"]}')  # and never reads or acknowledges
            viewers.append(viewer)
        except InvalidStatus:
            turned_away += 1
    assert (len(viewers), turned_away) == (MAX_VIEWERS, 40 - MAX_VIEWERS)
    panel.frames(20)
    assert panel.send("GET", "/api/state")[0] == 200
    closing = [threading.Thread(target=one.close) for one in viewers]
    for thread in closing:
        thread.start()
    for one in idle:
        one.close()
    for thread in closing:
        thread.join()


def test_a_reader_that_takes_nothing_makes_room_for_others(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.panel.live_socket._STALLED_S", 0.5)
    monkeypatch.setattr("reenact.panel.live_socket._STATE_S", 0.0)
    monkeypatch.setattr("reenact.panel.live_socket.MAX_VIEWERS", 1)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", panel.port))
        panel.live(sock=deaf, max_queue=1, ping_interval=None)

        def there_is_room() -> bool:
            try:
                with panel.live():
                    return True
            except InvalidStatus:
                return False

        assert not there_is_room()
        until(there_is_room, 60.0)


@pytest.mark.parametrize(
    "text", ["x", "[1]", '{"watch": 5}', '{"watch": ["nothing"]}', "{" * 70000]
)
def test_a_strange_message_ends_its_own_connection_at_most(panel: Panel, text: str) -> None:
    with panel.live() as viewer:
        viewer.send(text)
    assert panel.send("GET", "/api/state")[0] == 200


def test_the_document_describes_every_endpoint(every_route: list[tuple[str, str]]) -> None:
    described = {
        (method.upper(), path)
        for path, operations in document()["paths"].items()
        for method in operations
    }
    names = {re.sub(r"{\w+}", "astronaut", path): path for _, path in described}
    asked = {
        (method, names.get(path, path))
        for method, path in every_route
        if path.startswith("/api/") and method not in ("HEAD", "WS")
    }
    assert asked == described
