"""What a person does with the page and might do by mistake, in a real Chromium."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.live.presets import own_settings
from reenact.panel.gallery import Gallery
from reenact.panel.jobs import Job
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.sinks.obs.ring import RingReader
from reenact.storage import write_png
from support.clips import corners, four_colours
from support.fakes import FakeSink, until
from support.obs.browser import program
from support.obs.rings import ring_name, writing_process
from support.panel_page import Page
from support.panels import Panel
from support.portraits import box_target, smooth_picture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]

SMALL = box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)

# Files on their way from a folder, as names and base64; they are dropped on a part of the page.
DROP = """([files, place]) => {
  const dragged = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    dragged.items.add(new File([bytes], name));
  }
  const event = new DragEvent("drop", { dataTransfer: dragged, bubbles: true, cancelable: true });
  document.querySelector(place).dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.fixture
def page(chromium: Any, panel: Panel) -> Iterator[Page]:
    for name in ("anna", "ben"):
        panel.studio.gallery.store.create(replace(SMALL, name=name))
    opened = Page(chromium, panel)
    yield opened
    opened.close()


def show(panel: Panel) -> str:
    return panel.studio.running().session.presenter.show.value


def drop(page: Page, place: str, *files: tuple[str, bytes]) -> bool:
    encoded = [[name, base64.b64encode(content).decode()] for name, content in files]
    prevented: bool = page.tab.evaluate(DROP, [encoded, place])
    return prevented


def seen(page: Page, place: str) -> NDArray[np.float32]:
    """Return what the browser shows of a part of the page, (H, W, 3) RGB."""
    png = np.frombuffer(page.tab.locator(place).screenshot(), np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR_RGB), np.float32)


def seen_corners(page: Page, place: str) -> list[str]:
    return corners(seen(page, place).astype(np.uint8))


def menu(page: Page, name: str, item: str) -> None:
    card = page.tab.locator(f'[data-name="{name}"]')
    card.locator("summary").click()
    card.get_by_role("button", name=item).click()


def test_settings_are_kept_with_a_target_and_forgotten(page: Page, panel: Panel) -> None:
    page.begin()
    store, controls = panel.studio.gallery.store, panel.studio.running()
    page.tab.locator('[data-name="anna"]').click()
    until(lambda: controls.target == "anna", 60.0)
    panel.call("PATCH", "/api/settings", values={"fusion.mouth": 0.4})
    menu(page, "anna", "Keep these settings with it")
    page.tab.get_by_text("anna keeps fusion.mouth").wait_for()
    assert own_settings(store, "anna") == {"fusion.mouth": 0.4}
    page.tab.locator('[data-name="ben"]').click()
    until(lambda: panel.studio.settings().fusion.mouth == 1.0, 60.0)
    page.tab.locator('[data-name="ben"].chosen:not(.waiting)').wait_for()
    page.tab.locator('[data-name="anna"]').click()
    until(lambda: panel.studio.settings().fusion.mouth == 0.4, 60.0)
    page.tab.locator('[data-name="anna"].chosen:not(.waiting)').wait_for()
    menu(page, "anna", "Forget its settings")
    until(lambda: panel.studio.settings().fusion.mouth == 1.0, 60.0)
    assert own_settings(store, "anna") == {}


def test_a_video_is_added_to_the_target_that_is_shown_which_is_drawn_anew(
    page: Page, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.targets.additions.add_videos", lambda *_: 7)
    page.begin()
    controls = panel.studio.running()
    page.tab.locator('[data-name="anna"]').click()
    page.tab.locator('[data-name="anna"].chosen:not(.waiting)').wait_for()
    switched = Mock(return_value=True)
    monkeypatch.setattr(controls, "switch_target", switched)
    with page.tab.expect_file_chooser() as chooser:
        menu(page, "anna", "Add a video")
    chooser.value.set_files({"name": "anna.mp4", "mimeType": "video/mp4", "buffer": b"video"})
    page.tab.get_by_text("anna has 7 new reference pictures").wait_for()
    until(lambda: switched.call_args_list == [call("anna")], 60.0)


def test_a_click_counts_on_a_card_that_an_older_state_still_marks(page: Page) -> None:
    page.begin()
    card = page.tab.locator('[data-name="robin"].chosen:not(.waiting)')
    card.wait_for()
    with page.tab.expect_request("**/api/target") as asked:
        card.click()
    assert asked.value.post_data_json == {"name": "robin"}


def test_a_double_click_or_a_held_key_does_not_end_the_rest(page: Page, panel: Panel) -> None:
    page.begin()
    page.button("Rest").dblclick(delay=300)  # the state comes between the clicks
    page.button("Go on").wait_for()
    assert show(panel) == "rest"
    page.button("Go on").click()
    page.button("Rest").wait_for()
    for _ in range(20):
        page.tab.keyboard.down("Space")
        page.tab.wait_for_timeout(50)
    page.tab.keyboard.up("Space")
    assert show(panel) == "rest"


def test_keys_work_after_a_click_and_leave_keyboard_users_where_they_are(
    page: Page, panel: Panel
) -> None:
    page.begin()
    page.tab.locator('[data-name="astronaut"]').click()
    until(lambda: panel.studio.running().target == "astronaut", 60.0)
    page.tab.keyboard.press("ArrowUp")
    until(lambda: panel.studio.settings().drive.intensity == 1.1)
    page.button("Freeze").click()
    until(lambda: show(panel) == "frozen")
    page.tab.keyboard.press("Space")
    until(lambda: show(panel) == "rest")
    assert panel.studio.running().target == "astronaut"
    summary = page.tab.locator('[data-name="anna"] summary')
    summary.press("Space")
    page.tab.locator('[data-name="anna"] details[open]').wait_for()
    assert show(panel) == "rest"
    summary.press("Escape")
    page.tab.locator('[data-name="anna"] details:not([open])').wait_for()
    page.open("Expression")
    slider = page.tab.get_by_label("Mouth", exact=True)
    for _ in range(3):
        slider.press("ArrowUp")
    until(lambda: panel.studio.settings().fusion.mouth == 1.15)
    assert slider.evaluate("slider => slider === document.activeElement")
    assert panel.studio.settings().drive.intensity == 1.1


def test_keys_step_through_the_targets_and_end_an_emotion(page: Page, panel: Panel) -> None:
    page.begin("astronaut")
    keyboard = page.tab.keyboard
    keyboard.press("ArrowRight")
    page.tab.locator('[data-name="robin"].chosen').wait_for()
    for _ in range(3):  # held down
        keyboard.down("ArrowRight")
    keyboard.up("ArrowRight")
    page.tab.locator('[data-name="anna"].chosen').wait_for()
    keyboard.press("ArrowLeft")
    page.tab.locator('[data-name="robin"].chosen').wait_for()
    for emotion in ("happy", "actor"):
        keyboard.press("6")
        until(lambda emotion=emotion: panel.studio.settings().drive.emotion == emotion)  # type: ignore[misc]


def test_settings_that_are_changed_elsewhere_are_shown(page: Page, panel: Panel) -> None:
    page.begin()
    page.open("Expression")
    emotion = page.tab.get_by_label("Emotion", exact=True)
    emotion.wait_for()
    panel.call("POST", "/api/act", do="emotion=happy")
    until(lambda: emotion.input_value() == "happy" or page.tab.wait_for_timeout(100))
    emotion.select_option("actor")
    until(lambda: panel.studio.settings().drive.emotion == "actor")


def test_results_are_told_whichever_tab_is_open(page: Page, panel: Panel) -> None:
    def fail(job: Job) -> str:
        raise ReenactError("No face was found in it.")

    page.begin()
    page.open("Expression")
    panel.studio.jobs.start("create", "anna", fail)
    page.tab.locator(".toast", has_text="No face was found").wait_for()
    page.open("Targets")
    page.tab.wait_for_timeout(1500)
    assert page.tab.locator(".toast", has_text="No face was found").count() == 1


def test_a_renamed_choice_stays_chosen_and_a_removed_one_does_not(page: Page, panel: Panel) -> None:
    page.tab.locator(".choice").first.click()
    page.tab.locator('[data-name="anna"]').click()
    menu(page, "anna", "Rename")
    dialog = page.tab.get_by_role("dialog")
    dialog.get_by_label("New name").fill("ben")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_text("already a target ben").wait_for()
    dialog.get_by_label("New name").fill("berta")
    dialog.get_by_role("button", name="Save").click()
    page.tab.locator('[data-name="berta"].chosen').wait_for()
    until(page.button("Start").is_enabled)
    menu(page, "berta", "Remove")
    page.tab.locator('[data-name="berta"]').wait_for(state="detached")
    page.tab.get_by_text("Choose a target.").wait_for()
    until(page.button("Start").is_disabled)


def test_a_name_is_checked_before_files_are_sent(page: Page, panel: Panel) -> None:
    page.tab.locator('[data-name="anna"]').wait_for()
    drop(page, ".targets", ("_MG_1234.JPG", b"photo"))
    dialog = page.tab.get_by_role("dialog")
    assert dialog.get_by_label("Name").input_value() == "MG_1234"
    dialog.get_by_label("Name").fill("anna")
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Make target").click()
    dialog.get_by_text("already a target anna").wait_for()
    assert not list(panel.studio.uploads.folder.iterdir())
    page.tab.keyboard.press("Escape")
    drop(page, ".targets", *((f"{number}.jpg", b"photo") for number in range(33)))
    page.tab.locator(".toast", has_text="at most 32 files").wait_for()
    assert dialog.count() == 0


def test_dropped_exports_are_imported_and_asked_for_another_name(
    page: Page, panel: Panel, tmp_path: Path
) -> None:
    store = panel.studio.gallery.store
    page.tab.locator('[data-name="anna"]').wait_for()
    files = [
        (f"{name}.reenact-target", store.export_file(name, tmp_path / name).read_bytes())
        for name in ("anna", "ben")
    ]
    store.remove("ben")
    drop(page, ".targets", *files)
    dialog = page.tab.get_by_role("dialog")
    dialog.get_by_text("already a target anna").wait_for()
    dialog.get_by_label("New name").fill("cleo")
    dialog.get_by_role("button", name="Save").click()
    page.tab.locator(".toast", has_text="ben is ready").wait_for()
    assert store.list() == ("anna", "ben", "cleo")


def test_a_menu_works_where_a_click_gives_buttons_no_focus(page: Page, panel: Panel) -> None:
    """As in Safari."""
    page.tab.evaluate(
        """document.addEventListener("mousedown", (event) => {
          if (!event.target.closest("button, summary")) return;
          event.preventDefault();
          document.activeElement.blur();
        }, true)"""
    )
    menu(page, "anna", "Remove")
    page.tab.locator('[data-name="anna"]').wait_for(state="detached")
    assert panel.studio.gallery.store.list() == ("ben",)


def test_a_refusal_in_plain_text_is_told_as_it_is(page: Page) -> None:
    told = page.tab.evaluate(
        """async () => {
          const { call } = await import("/static/api.js");
          return call("PUT", "state").catch((error) => error.message);
        }"""
    )
    assert told == "Method Not Allowed"


def test_targets_that_cannot_be_listed_are_told_once_and_shown_once_they_can(
    page: Page, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ReenactError("The disk sleeps.")

    page.tab.locator('[data-name="anna"]').wait_for()
    panel.studio.gallery.store.remove("anna")
    with monkeypatch.context() as asleep:
        asleep.setattr(Gallery, "list", fail)
        panel.studio.gallery.changes += 1
        page.tab.locator(".toast", has_text="The disk sleeps").wait_for()
        page.tab.wait_for_timeout(1500)
        assert page.tab.locator(".toast").count() == 1
    page.tab.locator('[data-name="anna"]').wait_for(state="detached")


def test_a_file_beside_the_gallery_is_not_opened_in_place_of_the_page(page: Page) -> None:
    page.tab.locator('[data-name="anna"]').wait_for()
    assert drop(page, ".top", ("photo.jpg", b"photo"))
    assert page.tab.get_by_role("dialog").count() == 0


def test_a_session_that_is_on_the_air_ends_only_if_that_is_confirmed(
    page: Page, panel: Panel
) -> None:
    page.begin()
    first = panel.studio.running()
    dialog = page.tab.get_by_role("dialog")
    with ring_name() as name:
        output = f"obs:{name}"
        first.add_output(output)
        outputs = page.tab.locator(".status", has_text=output)
        outputs.wait_for()
        page.button("Stop").click()
        dialog.get_by_text("Leave the call first: without new pictures for OBS").wait_for()
        assert page.serious() == []
        page.shoot("asked")
        dialog.get_by_role("button", name="Cancel").click()
        panel.frames(10)
        page.button("Stop").click()
        page.tab.keyboard.press("Escape")
        panel.frames(10)
        assert panel.studio.controls is first
        page.button("Stop").click()
        dialog.get_by_role("button", name="Stop anyway").click()
        page.tab.locator(".steps").wait_for()


def test_an_output_that_is_on_the_air_is_switched_off_only_if_that_is_confirmed(
    page: Page, panel: Panel
) -> None:
    page.begin()
    controls = panel.studio.running()
    controls.add_output("null")
    dialog = page.tab.get_by_role("dialog")
    with ring_name() as name:
        output = f"obs:{name}"
        controls.add_output(output)
        page.open("Outputs")
        switch = page.tab.locator(f'[data-output="{output}"]')
        until(switch.is_checked)
        switch.click()
        dialog.get_by_text("Leave the call first: without new pictures for OBS").wait_for()
        dialog.get_by_role("button", name="Cancel").click()
        until(switch.is_checked)
        panel.frames(10)
        assert output in controls.on_air()
        page.tab.locator('[data-output="null"]').click()  # nobody sees it
        until(lambda: "null" not in [one["name"] for one in controls.outputs()])
        switch.click()
        dialog.get_by_role("button", name="Switch off anyway").click()
        until(lambda: controls.on_air() == [])


def test_a_session_that_is_not_on_the_air_ends_at_once(page: Page, panel: Panel) -> None:
    page.begin()
    panel.studio.running().add_output("null")
    with ring_name() as name, writing_process(name, 0.02), RingReader(name) as reader:
        until(reader.newest)  # so that the output fails
        panel.studio.running().add_output(f"obs:{name}")
        page.tab.locator(".problems", has_text=f"already writes for OBS as {name}").wait_for()
        page.button("Stop").click()
        page.tab.locator(".steps").wait_for()


def test_a_preview_is_mirrored_on_the_page_alone(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "actor.png", four_colours())
    as_filmed, mirrored = ["red", "green", "blue", "white"], ["green", "red", "white", "blue"]
    panel = Panel(f"image:{tmp_path / 'actor.png'}", "idle.life=false")
    page = Page(chromium, panel)
    switch = page.tab.get_by_role("switch", name="Mirror this preview")
    page.tab.locator(".choice").first.click()
    page.tab.locator(".thumb.seen").wait_for()
    assert seen_corners(page, ".thumb canvas") == mirrored
    switch.uncheck()
    assert seen_corners(page, ".thumb canvas") == as_filmed
    page.tab.reload()
    page.begin()
    kept = FakeSink("kept")
    panel.studio.running().session.output.add(kept)
    page.tab.get_by_role("switch", name="Show me").check()
    page.tab.locator(".inset canvas").wait_for()
    until(lambda: seen_corners(page, ".inset canvas") == as_filmed)
    page.tab.get_by_role("switch", name="Mirror my picture").check()
    assert seen_corners(page, ".inset canvas") == mirrored
    page.tab.get_by_role("switch", name="Show me").uncheck()
    panel.frames(5)
    before, shown = kept.frames[-1].image, seen(page, ".stage > canvas")
    assert not switch.is_checked()
    switch.check()
    page.shoot("mirrored")
    assert np.abs(shown[:, ::-1] - seen(page, ".stage > canvas")).mean() < 3
    assert np.abs(shown - shown[:, ::-1]).mean() > 20
    panel.frames(5)
    assert np.array_equal(kept.frames[-1].image, before)
    page.tab.reload()
    page.live()
    assert switch.is_checked()
    page.close()
    panel.close()


def test_the_place_for_files_stays_where_it_is_while_one_is_dragged_over_it(page: Page) -> None:
    place = page.tab.locator(".drop")
    place.wait_for()
    page.tab.locator('[data-name="anna"]').wait_for()
    before = place.bounding_box()
    dragged = page.tab.evaluate_handle("() => new DataTransfer()")
    page.tab.locator(".targets").dispatch_event("dragover", {"dataTransfer": dragged})
    page.tab.locator(".drop.over").wait_for()
    assert place.bounding_box() == before


def test_menus_stay_inside_the_page_and_messages_above_dialogs(chromium: Any, panel: Panel) -> None:
    panel.studio.gallery.store.create(replace(SMALL, name="anna"))
    page = Page(chromium, panel, 320, 640)
    page.begin()
    card = page.tab.locator('[data-name="anna"]')
    card.locator("summary").click()
    box = card.locator(".menu-items").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320
    card.get_by_role("button", name="Rename").click()
    panel.studio.jobs.start("create", "eve", lambda job: "eve is ready.")
    toast = page.tab.locator(".toast", has_text="eve is ready")
    toast.wait_for()
    box = toast.bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    on_top = "([x, y]) => document.elementFromPoint(x, y).closest('.toast') !== null"
    assert page.tab.evaluate(on_top, middle)
    page.close()


def test_a_page_finds_the_program_again_after_a_restart_and_is_told_of_a_new_token(
    page: Page, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.tab.locator('[data-name="anna"]').wait_for()
    page.tab.evaluate("document.body.dataset.before = true")
    asked = threading.Event()

    def look(studio: Studio) -> list[dict[str, Any]]:
        asked.set()
        time.sleep(1.0)
        return []

    monkeypatch.setattr(Studio, "sources", look)
    assert asked.wait(20.0)
    panel.server.close()  # while the page waits for an answer
    page.tab.get_by_text("The panel has ended").wait_for()
    time.sleep(4.0)  # longer than the cameras are looked for
    assert page.tab.locator(".toast").all_inner_texts() == []
    panel.studio._run = "another"
    panel.server = PanelServer(panel.studio, Address(port=panel.port))
    page.tab.locator("body:not([data-before])").wait_for()
    page.tab.locator('[data-name="anna"]').wait_for()
    panel.server.close()
    monkeypatch.setattr("reenact.panel.server.kept_token", lambda: "another token")
    panel.server = PanelServer(panel.studio, Address(port=panel.port))
    page.tab.get_by_text("Open the panel with the address").first.wait_for()
