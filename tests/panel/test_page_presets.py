"""The page's presets in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reenact.live.presets import import_preset, preset_names, preset_path
from support.fakes import until
from support.obs.browser import program
from support.panel_page import Page
from support.panels import Panel

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]


@pytest.fixture
def page(chromium: Any, panel: Panel) -> Iterator[Page]:
    opened = Page(chromium, panel)
    yield opened
    opened.close()


def test_a_preset_file_stays_open_until_it_is_saved(page: Page, tmp_path: Path) -> None:
    page.begin()
    page.open("Presets")
    file = tmp_path / "con.toml"  # a name that no file can have on Windows
    file.write_text("[drive]\nintensity = 1.7\n", "utf-8")
    page.tab.locator('input[accept=".toml"]').set_input_files(str(file))
    page.tab.locator(".toast", has_text="name of a device").wait_for()
    page.tab.get_by_label("Name").fill("Party")
    page.button("Save").click()
    page.tab.locator(".list .name", has_text="Party").wait_for()
    assert "1.7" in preset_path("Party").read_text("utf-8")
    file = file.rename(tmp_path / "Calm (1).toml")
    page.tab.locator('input[accept=".toml"]').set_input_files(str(file))
    page.tab.locator(".list .name", has_text="Calm 1").wait_for()
    assert preset_names() == ["Calm 1", "Party"]
    page.tab.locator('input[accept=".toml"]').set_input_files(str(file))
    page.tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.button("Delete: Party").click()
    page.tab.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.tab.locator(".list .name", has_text="Party").wait_for(state="detached")
    assert preset_names() == ["Calm 1"]


def test_a_preset_names_what_waits_for_the_next_start(page: Page, panel: Panel) -> None:
    import_preset("square", '[drive]\nintensity = 1.7\n[output]\npicture = "crop"\n')
    import_preset("calm", "[drive]\nintensity = 0.6\n")
    page.begin()
    page.open("Presets")
    notice = page.tab.locator(".notice", has_text="output.picture takes effect at the next start.")
    page.button("Use: calm").click()
    until(lambda: panel.studio.settings().drive.intensity == 0.6)
    assert not notice.is_visible()
    page.button("Use: square").click()
    notice.wait_for()
    assert panel.studio.settings().drive.intensity == 1.7
    assert page.serious() == []
    page.shoot("notice")
    before = panel.studio.running()
    notice.get_by_role("button", name="Start again").click()
    until(lambda: panel.studio.controls not in (None, before), 60.0)
    page.live()
    assert panel.studio.settings().output.picture == "crop"
