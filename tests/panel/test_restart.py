"""What outputs and requests do while a session, or the panel, makes way for another."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from typing import IO, Any

import cv2
import numpy as np
import pytest

from reenact.live.controls import Controls
from reenact.panel.choice import Choice
from reenact.panel.studio import Studio
from reenact.sinks.http_address import load_address
from reenact.types import Image
from support.fakes import until
from support.panels import Panel
from support.traffic import free_port


@pytest.fixture
def output() -> str:
    return f"http:{free_port()}"


@pytest.fixture
def viewer(panel: Panel, output: str) -> Iterator[IO[bytes]]:
    """A program that watches the output of a session that shows the robin."""
    panel.studio.start("pattern", "robin", [output])  # as the command line does
    address = until(lambda: load_address(int(output.partition(":")[2])), 120.0)
    with urllib.request.urlopen(address.url("stream.mjpg"), timeout=60.0) as stream:
        _picture(stream)
        yield stream


def test_a_program_that_watches_goes_on_with_the_next_session(
    panel: Panel, output: str, viewer: IO[bytes]
) -> None:
    before = _picture(viewer)
    panel.start("pattern", target="astronaut", outputs=(output,))
    assert panel.studio.running().outputs() == [
        {"name": "panel", "error": ""},
        {"name": output, "error": ""},
    ]
    until(lambda: _difference(_picture(viewer), before) > 20, 30.0)


def test_an_output_that_shows_the_actor_turns_black_until_the_next_session(
    panel: Panel, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next session may not show the actor any more, and its preparation takes seconds."""
    panel.studio.update({"output.show_raw_camera": True})
    panel.studio.start("pattern", "robin", [output])
    address = until(lambda: load_address(int(output.partition(":")[2])), 120.0)
    begun, seen = threading.Event(), threading.Event()
    open_next = Studio.open

    def slow(studio: Studio, choice: Choice) -> Controls | None:
        begun.set()
        assert seen.wait(30.0)
        return open_next(studio, choice)

    with urllib.request.urlopen(address.url("stream.mjpg"), timeout=60.0) as stream:
        until(lambda: _picture(stream)[:, :200].max() > 200, 30.0)
        monkeypatch.setattr(Studio, "open", slow)
        panel.studio.update({"output.show_raw_camera": False})
        panel.studio.start("pattern", "robin", [output])
        assert begun.wait(30.0)
        until(lambda: _picture(stream).max() < 10, 30.0)
        seen.set()
        until(lambda: _picture(stream).max() > 200, 60.0)


def test_an_output_that_the_next_session_does_not_have_ends(
    panel: Panel, output: str, viewer: IO[bytes]
) -> None:
    panel.start("pattern", target="astronaut")
    assert _ends(viewer)


def test_an_output_ends_if_the_next_session_cannot_begin(
    panel: Panel, output: str, viewer: IO[bytes]
) -> None:
    panel.studio.offer("image:missing.png", "")
    panel.call("POST", "/api/start", source="image:missing.png", target="robin", outputs=[output])
    until(lambda: panel.studio.state()["error"] != "", 60.0)
    assert _ends(viewer)


def test_a_request_that_is_answered_while_the_panel_ends_is_told_so_and_nothing_is_logged(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def look(studio: Studio) -> list[dict[str, Any]]:
        asked.set()
        assert ended.wait(20.0)
        return []

    monkeypatch.setattr(Studio, "sources", look)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(panel.send, "GET", "/api/sources")
        assert asked.wait(20.0)
        closing = threading.Thread(target=panel.server.close)
        closing.start()
        status, _, content = answer.result(20.0)
        ended.set()
        closing.join(20.0)
    assert (status, json.loads(content)) == (503, {"error": "The panel has ended."})
    assert not caplog.records


def _picture(stream: IO[bytes]) -> Image:
    """Return the next picture of a stream."""
    line, length = b"", 0
    while not length or line.strip():
        line = stream.readline()
        assert line, "The stream has ended."
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    encoded = np.frombuffer(stream.read(length), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _difference(one: Image, other: Image) -> float:
    """Return the mean difference, in levels; the sizes may differ."""
    small = [cv2.resize(picture, (32, 32)).astype(np.float32) for picture in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())


def _ends(stream: IO[bytes]) -> bool:
    """Read a stream until it ends."""
    try:
        while stream.read(1 << 16):
            pass
    except (IncompleteRead, OSError):
        pass
    return True
