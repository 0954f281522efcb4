"""How a camera is chosen on the page, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reenact.panel.studio import Studio
from reenact.sources.camera_devices import CameraInfo
from reenact.testing.moving_portrait import moving_portrait
from support.fakes import until
from support.network_camera import network_camera
from support.obs.browser import program
from support.panel_page import Page
from support.panels import Panel

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]


@pytest.fixture
def phone() -> Iterator[str]:
    """The address of a camera that shows a moving face."""
    with network_camera(moving_portrait()[0]) as address:
        yield address


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
    chromium: Any, panel: Panel, phone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", list)
    panel.studio.offer("", "")
    address = phone.replace("://", "://me:secret@")
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


def record(page: Page) -> None:
    """Record the camera for a target `me`, for five seconds instead of twenty."""
    short = '{"seconds": 5}'
    page.tab.route("**/api/takes", lambda route: route.continue_(post_data=short))
    page.button("Record my face").click()
    dialog = page.tab.get_by_role("dialog")
    dialog.get_by_label("Name").fill("me")
    dialog.get_by_role("checkbox").check()
    page.shoot("before the recording")
    dialog.get_by_role("button", name="Record 20 seconds").click()


@pytest.mark.parametrize("running", [False, True])
def test_a_target_is_made_of_the_face_before_the_camera(
    running: bool, chromium: Any, phone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Panel(f"video:{phone}")
    page = Page(chromium, panel)
    if running:
        page.begin()
    else:
        page.tab.locator(".choice").first.click()
        page.tab.locator(".thumb.seen").wait_for()
    record(page)
    page.tab.get_by_text("Recording,").wait_for()
    page.shoot("filming")
    page.tab.locator('[data-name="me"]').wait_for(timeout=120_000)
    assert panel.studio.gallery.store.list() == ("me",)
    assert not list(panel.studio.uploads.folder.iterdir())
    page.close()
    panel.close()


def test_without_a_camera_no_target_is_made(
    chromium: Any, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", list)
    panel.studio.offer("", "")
    page = Page(chromium, panel)
    record(page)
    page.tab.locator(".toast", has_text="No camera sends a picture").wait_for()
    assert panel.studio.gallery.store.list() == ()
    assert not list(panel.studio.uploads.folder.iterdir())
    page.close()
