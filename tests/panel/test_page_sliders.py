"""The page's sliders and presets in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reenact.config import UnitSettings
from reenact.face.topology import ACTION_UNITS
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


def test_a_preset_brings_sliders_back(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Expression")
    page.tab.get_by_label("Mouth", exact=True).fill("0.5")
    until(lambda: panel.studio.settings().fusion.mouth == 0.5)
    page.open("Presets")
    page.tab.get_by_label("Name").fill("calm")
    page.button("Save").click()
    page.tab.locator(".list .name", has_text="calm").wait_for()
    page.open("Expression")
    page.button("Reset").click()
    until(lambda: panel.studio.settings().fusion.mouth == 1.0)
    page.open("Presets")
    page.button("Use: calm").click()
    until(lambda: panel.studio.settings().fusion.mouth == 0.5)
    until(lambda: panel.studio.choice.settings["fusion.mouth"] == 0.5)


def test_units_are_set_by_hand_and_taken_back_together(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Expression")
    slider = page.tab.get_by_role("slider", name="Smile, left")
    page.tab.get_by_text("Face by hand").wait_for()
    assert slider.count() == 0, "the group is folded"
    page.tab.get_by_text("Face by hand").click()
    assert page.tab.locator("details[open]").get_by_role("slider").count() == len(ACTION_UNITS) + 1
    slider.fill("0.4")
    page.tab.get_by_label("Mouth open").fill("1")
    units = panel.studio.running().session.settings.drive.units
    until(lambda: (units.smile_left, units.mouth_open) == (0.4, 1.0))
    assert page.serious() == []
    page.shoot("face by hand")
    panel.call("PATCH", "/api/settings", values={"drive.units.smile_left": 0.7})
    until(lambda: slider.input_value() == "0.7" or page.tab.wait_for_timeout(100))
    page.button("Reset").click()
    until(lambda: units == UnitSettings())
    until(lambda: slider.input_value() == "0" or page.tab.wait_for_timeout(100))


def test_keys_work_after_a_slider_and_a_group_were_clicked(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Expression")
    session = panel.studio.running().session
    page.tab.get_by_text("Face by hand").click()
    page.tab.keyboard.press("t")
    until(lambda: session.settings.drive.units.tongue == 1)
    page.tab.get_by_label("Mouth", exact=True).click()
    mouth = session.settings.fusion.mouth
    page.tab.keyboard.press("ArrowRight")
    until(lambda: session.settings.fusion.mouth > mouth)
    page.tab.keyboard.press(" ")
    until(lambda: session.presenter.show.value == "rest")


def test_the_last_of_several_quick_changes_counts(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Expression")
    slow: list[Any] = []

    def delay_the_first(route: Any) -> None:
        if route.request.method != "PATCH" or slow:
            route.continue_()
        else:
            slow.append(route)

    page.tab.route("**/api/settings", delay_the_first)
    slider = page.tab.get_by_label("Mouth", exact=True)
    for _ in range(3):
        slider.press("ArrowUp")
    page.tab.wait_for_timeout(1000)  # time for the later ones to overtake
    with page.tab.expect_response(lambda answer: answer.request == slow[0].request):
        slow[0].continue_()
    until(lambda: panel.studio.settings().fusion.mouth == 1.15 or page.tab.wait_for_timeout(100))


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
