"""How a camera is chosen on the page, in a real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reenact.panel.studio import Studio
from reenact.sinks.mjpeg_server import HttpSink
from reenact.sources.camera_devices import CameraInfo
from reenact.testing.moving_portrait import moving_portrait
from reenact.types import Frame
from support.fakes import until
from support.obs.browser import program
from support.panel_page import Page
from support.panels import Panel

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]

FPS = 25


@pytest.fixture
def phone() -> Iterator[HttpSink]:
    """Serves a moving face as MJPEG, as the camera app of a phone does."""
    images, ending = moving_portrait()[0], threading.Event()
    height, width = images.shape[1:3]
    with HttpSink() as sink:
        sink.open((width, height), FPS)

        def film() -> None:
            number = 0
            while not ending.wait(1 / FPS):
                sink.write(Frame(images[number % len(images)], number / FPS, number))
                number += 1

        filming = threading.Thread(target=film)
        filming.start()
        yield sink
        ending.set()
        filming.join()


def test_the_camera_of_the_last_time_is_chosen_by_its_name(
    chromium: Any, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = [CameraInfo(0, "Integrated Camera"), CameraInfo(1, 'Bob\'s "HD" Cam: 2')]
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", lambda: cameras)
    panel.studio._choose(source=f"webcam:{cameras[1].name}", target="robin")
    page = Page(chromium, panel)
    page.tab.get_by_role("radio", name=cameras[1].name, exact=True, checked=True).wait_for()
    until(page.button("Start").is_enabled)
    page.close()


def test_the_camera_of_a_phone_is_named_by_its_address(
    chromium: Any, panel: Panel, phone: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", list)
    panel.studio.offer("", "")
    address = phone.url_of("stream.mjpg").replace("://", "://me:secret@")
    page = Page(chromium, panel)
    page.tab.get_by_text("No camera was found").wait_for()
    page.tab.get_by_text("A phone or network camera").click()
    page.tab.get_by_label("Address").fill(address)
    page.button("Use").click()
    name = address.partition("@")[2].partition("?")[0]
    page.tab.get_by_role("radio", name=name, exact=True, checked=True).wait_for()
    page.tab.locator(".thumb.seen").wait_for()
    page.shoot("address")
    page.tab.locator('[data-name="robin"]').click()
    page.button("Start").click()
    page.live()
    until(lambda: panel.studio.running().session.reenactor.face_found)
    assert "secret" not in page.tab.content()
    page.close()
    with Studio() as later:
        assert later.sources() == [{"source": f"video:{address}", "name": name}]
