"""What the page shows of things that wait, fail or are not there yet, in a real Chromium."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reenact.panel.jobs import Job
from reenact.storage import write_png
from reenact.targets.target_training import preview_path, training_folder
from support.fakes import until
from support.obs.browser import program
from support.panel_page import Page
from support.panels import Panel, without_display
from support.portraits import box_target, smooth_picture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]

SMALL = box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)


def test_what_waits_for_the_next_start_is_shown_after_a_reload(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Settings")
    field = page.tab.locator('[data-setting="output.picture"]')
    notice = page.tab.get_by_text("Some changes take effect at the next start.")
    page.tab.get_by_label("Search").fill("output.picture")
    assert (field.input_value(), notice.is_visible()) == ("plate", False)
    field.select_option("crop")
    notice.wait_for()
    page.tab.reload()
    page.live()
    notice.wait_for()
    page.tab.get_by_label("Search").fill("output.picture")
    assert field.input_value() == "crop"
    field.select_option("plate")  # as it is now
    notice.wait_for(state="hidden")
    assert panel.studio.waiting() == {}


def test_an_output_that_has_failed_is_given_up(
    page: Page, panel: Panel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_display(monkeypatch)
    lost = f"file:{tmp_path / 'missing' / 'out.mp4'}"  # as `--sink` on the command line names it
    panel.studio.start("pattern", "robin", ["window", lost])
    page.live()
    problems = page.tab.locator(".problems li")
    until(lambda: problems.filter(has_text="switch it on again").count() == 2)
    page.shoot("failed")
    for _ in range(2):
        left = problems.count()
        page.button("Do without it").first.click()
        problems.nth(left - 1).wait_for(state="detached")
    assert [one["name"] for one in panel.studio.running().outputs()] == ["panel"]
    assert panel.studio.choice.outputs == ()


def test_a_training_without_a_preview_gives_no_error_in_the_browsers_console(
    page: Page, panel: Panel
) -> None:
    told: list[str] = []
    page.tab.on("console", lambda one: told.append(one.text) if one.type == "error" else None)
    store = panel.studio.gallery.store
    store.create(replace(SMALL, name="anna"))

    def train(job: Job) -> str:
        job.step = "Training"
        job.stop_wanted.wait(60.0)
        return "anna is trained."

    with page.tab.expect_response(lambda answer: "/training" in answer.url) as asked:
        job = panel.studio.jobs.start("train", "anna", train)
    assert asked.value.status == 204
    training_folder(store, "anna").mkdir()
    write_png(preview_path(training_folder(store, "anna")), smooth_picture((48, 40)))
    page.tab.locator("img.training").wait_for()
    job.stop_wanted.set()
    assert told == []
