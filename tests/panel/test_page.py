"""The page in a real Chromium, with a clip as the camera."""

from __future__ import annotations

import base64
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reenact import registry
from reenact.live.pipeline import Reenactor
from reenact.targets.backgrounds import background_names
from reenact.targets.manual_landmarks import POINTS
from reenact.testing.moving_portrait import moving_portrait, write_video
from reenact.testing.portrait import portrait
from support.clap_room import FPS, ClapMicrophone, seen_and_heard
from support.faces import portrait_target
from support.fakes import FakeSink, is_plain, until
from support.obs.browser import program
from support.panel_page import Page
from support.panels import FAST, Panel, without_display
from support.portraits import write_jpeg
from support.program import repository

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)"),
]

MAGENTA = (255, 0, 255)

# A photo on its way from a folder, as base64.
DRAGGED = """(photo) => {
  const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
  const dragged = new DataTransfer();
  dragged.items.add(new File([bytes], "Anna B.jpg", { type: "image/jpeg" }));
  return dragged;
}"""

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The moving portrait with a broad magenta border, by which any of it would be noticed."""
    images = moving_portrait()[0].copy()
    images[:, :24] = images[:, -24:] = images[:, :, :24] = images[:, :, -24:] = MAGENTA
    path = tmp_path_factory.mktemp("bordered") / "actor.mp4"
    write_video(path, images)
    return path


@pytest.fixture
def filmed(clip: Path) -> Iterator[Panel]:
    """A panel whose camera shows the clip again and again."""
    opened = Panel(f"video:{clip}")
    yield opened
    opened.close()


@pytest.fixture
def page(chromium: Any, filmed: Panel) -> Iterator[Page]:
    opened = Page(chromium, filmed)
    yield opened
    opened.close()


def state(panel: Panel) -> dict[str, Any]:
    session = panel.studio.state()["session"]
    assert session is not None
    return dict(session)


def test_three_clicks_lead_to_a_moving_face_and_are_kept(page: Page, filmed: Panel) -> None:
    page.begin()
    until(lambda: state(filmed)["face"] == "found", 30.0)
    page.tab.wait_for_timeout(1000)
    first = page.tab.locator(".stage canvas").first.screenshot()
    page.tab.wait_for_timeout(1000)
    assert first != page.tab.locator(".stage canvas").first.screenshot()
    assert page.tab.locator(".pill [role=status]").inner_text() == "Live"  # without figures
    page.button("Stop").click()
    page.tab.locator(".steps").wait_for()
    again = Panel(filmed.studio.choice.source)
    try:
        assert (again.studio.choice.target, again.studio.choice.outputs) == ("robin", ())
    finally:
        again.close()


def test_a_photo_becomes_a_target_that_is_renamed_removed_and_brought_back(
    page: Page, filmed: Panel, tmp_path: Path
) -> None:
    photo = write_jpeg(tmp_path / "Anna B.jpg", portrait())
    dragged = page.tab.evaluate_handle(DRAGGED, base64.b64encode(photo.read_bytes()).decode())
    page.tab.locator(".targets").dispatch_event("drop", {"dataTransfer": dragged})
    dialog = page.tab.get_by_role("dialog")
    assert dialog.get_by_label("Name").input_value() == "Anna B"
    dialog.get_by_role("button", name="Make target").click()  # refused without consent
    assert not filmed.studio.jobs.described()
    assert dialog.get_by_label("Of several faces take").input_value() == "largest"
    dialog.get_by_label("Of several faces take").select_option("number 0 from the left, from 0")
    dialog.get_by_role("checkbox").check()
    assert page.serious() == []
    page.shoot("dialog")
    dialog.get_by_role("button", name="Make target").click()
    card = page.tab.locator('[data-name="Anna B"]')
    card.wait_for()
    assert card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    card.locator("summary").click()
    card.get_by_role("button", name="Rename").click()
    dialog.get_by_label("New name").fill("Anna C")
    dialog.get_by_role("button", name="Save").click()
    card = page.tab.locator('[data-name="Anna C"]')
    card.locator("summary").click()
    card.get_by_role("button", name="Remove").click()
    card.wait_for(state="detached")
    assert filmed.studio.gallery.store.list() == ()
    page.button("Undo").click()
    card.wait_for()
    assert filmed.studio.gallery.store.list() == ("Anna C",)


def test_the_points_of_a_drawn_face_are_placed_by_hand(page: Page, filmed: Panel) -> None:
    store = filmed.studio.gallery.store
    store.create(replace(portrait_target(), name="drawn"))
    page.tab.reload()  # a gallery that changes closes its open menu
    before = store.load("drawn").neutral
    card = page.tab.locator('[data-name="drawn"]')
    card.locator("summary").click()
    card.get_by_role("button", name="Place eyes and mouth").click()
    for _ in range(3):
        page.tab.get_by_role("button", name="left eye top").press("Shift+ArrowUp")
    chin = page.tab.get_by_role("button", name="chin")
    page.tab.locator(".points img").evaluate("image => image.decode()")
    chin.hover()
    page.tab.mouse.down()
    box = chin.bounding_box()
    page.tab.mouse.move(box["x"] + 7, box["y"] + 37)
    page.tab.mouse.up()
    assert page.serious() == []
    page.shoot("points")
    page.button("Save").click()
    until(lambda: not np.array_equal(store.load("drawn").neutral, before))
    moved = (store.load("drawn").neutral - before)[:, 1]
    assert moved[POINTS["left_eye_top"]] < -20
    assert moved[POINTS["chin"]] > 10
    assert np.abs(moved[[POINTS["right_eye_top"], POINTS["mouth_left"]]]).max() < 1


def test_a_video_becomes_a_target_that_is_trained_exported_and_imported(
    page: Page, filmed: Panel, tmp_path: Path
) -> None:
    tab, dialog = page.tab, page.tab.get_by_role("dialog")
    tab.set_default_timeout(240_000)
    files = tab.locator("input[type=file]")
    video = tmp_path / "anna.mp4"
    write_video(video, moving_portrait()[0])
    files.set_input_files(str(video))
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Make target").click()
    card = tab.locator('[data-name="anna"]')
    card.locator("summary").click()
    card.get_by_role("button", name="Train for ten minutes").click()
    job = tab.locator(".job")
    job.get_by_text("min left").wait_for()
    minutes = {"minutes": 30}
    assert "already" in filmed.call("POST", "/api/targets/anna/train", **minutes)
    assert "stop that first" in filmed.call("DELETE", "/api/targets/anna")
    picture = job.locator("img.training")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.shoot("training")
    job.get_by_role("button", name="Stop").click()
    tab.locator(".toast", has_text="anna").wait_for()
    job.wait_for(state="detached")
    assert [one["state"] for one in filmed.studio.jobs.described() if one["kind"] == "train"] == [
        "done"
    ]
    card.locator("summary").click()
    with tab.expect_download() as download:
        card.get_by_role("link", name="Export").click()
    exported = tmp_path / download.value.suggested_filename
    shutil.copy(download.value.path(), exported)
    card.locator("summary").click()
    card.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove").click()  # it holds a video
    card.wait_for(state="detached")
    files.set_input_files(str(exported))
    card.wait_for()
    assert filmed.studio.gallery.store.list() == ("anna",)


def test_another_target_fades_in_with_no_frame_missing_and_none_of_the_actor(
    page: Page, filmed: Panel
) -> None:
    page.begin()
    controls = filmed.studio.running()
    kept = FakeSink("kept")
    controls.session.output.add(kept)
    filmed.frames(10)
    page.tab.locator('[data-name="astronaut"]').click()
    until(lambda: controls.target == "astronaut", 60.0)
    filmed.frames(30)
    page.tab.locator('[data-name="astronaut"].chosen').wait_for()
    page.tab.get_by_role("switch", name="Show me").check()  # on the page only
    page.tab.locator(".inset").wait_for()
    filmed.frames(10)
    numbers = [frame.index for frame in kept.frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for frame in kept.frames:
        red, green, blue = np.moveaxis(frame.image.astype(int), -1, 0)
        assert not ((red > 230) & (blue > 230) & (green < 60)).any()
    assert controls.session.stats().failures == 0


def test_the_neutral_is_taken_after_a_count_and_bars_move(page: Page, filmed: Panel) -> None:
    page.begin()
    page.open("Calibrate")
    page.tab.locator('[data-feature="mouth open"]').wait_for()
    values = set()
    for _ in range(30):
        values.add(page.tab.locator('[data-feature="mouth open"] .value').inner_text())
        page.tab.wait_for_timeout(100)
    assert len(values) > 3
    page.button("Look neutral").click()
    page.tab.get_by_text("Look calmly at the camera … 3").wait_for()
    page.tab.get_by_text("is now the neutral face").wait_for()
    page.button("Undo").click()
    page.tab.get_by_text("neutral face is undone").wait_for()


def test_no_picture_is_made_for_a_page_that_nobody_sees(page: Page, filmed: Panel) -> None:
    page.begin()
    picture = filmed.studio.picture
    first = picture._jpeg
    until(lambda: picture._jpeg is not first)
    page.tab.evaluate(HIDE)
    filmed.frames(5)
    last = picture._jpeg
    filmed.frames(10)
    assert picture._jpeg is last


def test_the_target_rests_at_once_and_goes_on(page: Page, filmed: Panel) -> None:
    page.begin()
    page.tab.keyboard.press("Space")
    until(lambda: state(filmed)["show"] == "rest")
    page.button("Go on").wait_for()
    controls = filmed.studio.running()
    filmed.frames(20)
    assert not controls.session.reenactor.face_present
    assert state(filmed)["problems"] == []
    page.button("Go on").click()
    until(lambda: state(filmed)["face"] == "found")
    page.button("Hold").click()
    until(lambda: state(filmed)["held"])
    page.tab.keyboard.press("h")
    until(lambda: not state(filmed)["held"])
    page.button("Hold").wait_for()
    page.button("Freeze").click()
    until(lambda: state(filmed)["show"] == "frozen")


def test_a_picture_is_taken_by_a_button_and_by_a_key(
    page: Page, filmed: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path))
    page.begin()
    page.open("Outputs")
    page.button("Take a picture").click()
    (path,) = until(lambda: list(tmp_path.glob("reenact *.png")))
    page.tab.locator(".toast", has_text=f"Picture: {path}").wait_for()
    page.tab.keyboard.press("s")
    until(lambda: len(list(tmp_path.glob("reenact *.png"))) == 2)


def test_several_faces_are_told(page: Page, filmed: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reenactor, "faces_seen", property(lambda _: 2))
    page.begin()
    page.tab.locator(".problems li").filter(has_text="There are 2 faces").wait_for()


def test_outputs_and_recordings_come_and_go(
    page: Page, filmed: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path))
    without_display(monkeypatch)
    page.begin()
    page.open("Outputs")
    stream = page.tab.get_by_role("switch", name="Browser stream")
    stream.check()
    until(lambda: {"name": "http", "error": ""} in state(filmed)["outputs"])
    stream.uncheck()
    until(lambda: "http" not in [one["name"] for one in state(filmed)["outputs"]])
    page.button("Record").click()
    page.button("Stop recording").wait_for()
    filmed.frames(20)
    page.button("Stop recording").click()
    until(lambda: len(list(tmp_path.glob("reenact *.mp4"))) == 1)
    window = page.tab.get_by_role("switch", name="Window")
    window.check()
    page.tab.locator(".output .problem").filter(has_text="window").wait_for()


def test_the_background_and_the_size_are_chosen_live(page: Page, filmed: Panel) -> None:
    page.begin()
    page.open("Outputs")
    background = page.tab.get_by_label("Background")
    background.select_option("A colour")
    colour = page.tab.locator('[data-setting="output.background_colour"]')
    colour.wait_for()
    colour.fill("#0000ff")
    until(lambda: filmed.studio.settings().output.background_colour == "#0000ff")
    picture = filmed.studio.picture
    until(lambda: is_plain(picture._image[8, 8], (0, 0, 255)), 30.0)  # type: ignore[index]
    page.tab.get_by_label("Longest side of the picture").fill("320")
    until(lambda: max(state(filmed)["size"]) == 320, 30.0)
    assert filmed.studio.choice.settings["output.max_side"] == 320


def test_a_picture_is_added_as_background_and_the_shape_is_chosen(
    page: Page, filmed: Panel, tmp_path: Path
) -> None:
    page.begin()
    page.open("Outputs")
    photo = write_jpeg(tmp_path / "My room.jpg", np.full((90, 160, 3), (40, 90, 160), np.uint8))
    page.tab.get_by_label("Use a picture of mine").set_input_files(photo)
    until(lambda: filmed.studio.settings().output.background == "My room", 60.0)
    background = page.tab.get_by_label("Background", exact=True)
    until(lambda: background.input_value() == "My room")
    assert background.locator("option").all_inner_texts()[-2:] == ["None (transparent)", "My room"]
    shown = filmed.studio.picture
    until(lambda: is_plain(shown._image[8, 8], (40, 90, 160), within=2), 30.0)  # type: ignore[index]
    page.tab.get_by_label("Shape of the picture").select_option("16:9, as in calls")
    until(lambda: state(filmed)["size"] == [1280, 720], 60.0)
    assert page.serious() == []
    page.button("Delete this picture …").click()
    dialog = page.tab.get_by_role("dialog")
    assert page.serious() == []
    dialog.get_by_role("button", name="Delete").click()
    until(lambda: filmed.studio.settings().output.background == "keep", 60.0)
    until(lambda: background.input_value() == "keep")
    assert background_names() == []
    page.button("Delete this picture …").wait_for(state="hidden")


def test_a_clap_is_recorded_when_it_is_seen(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_VIDEOS_DIR", str(tmp_path))
    monkeypatch.setattr("reenact.sinks.live_sound.SoundCard", ClapMicrophone)
    camera = EntryPoint("clap", "support.clap_room:CAMERA", "reenact.sources")
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [*entry_points(group=group), *[camera][: "sou" in group]],
    )
    panel = Panel("clap", "output.show_raw_camera=true", f"output.fps={FPS}")
    page = Page(chromium, panel)
    page.begin()
    page.open("Outputs")
    page.tab.get_by_role("switch", name="With my microphone").check()
    page.button("Record").click()
    page.button("Stop recording").wait_for()
    panel.frames(round(15 * FPS))
    page.button("Stop recording").click()
    until(lambda: len(list(tmp_path.glob("reenact *.mp4"))) == 1)
    page.close()
    panel.close()
    seen, heard = seen_and_heard(next(tmp_path.glob("reenact *.mp4")))
    # A machine that is busy may drop all pictures of a clap, but not of each one.
    offsets = [min((at - seen_s for seen_s in seen), key=abs) for at in heard[1:]]
    offsets = [offset for offset in offsets if abs(offset) < 1]
    assert len(offsets) >= 2
    assert max(map(abs, offsets)) <= 0.02


def test_a_setting_that_waits_is_used_at_the_next_start(page: Page, filmed: Panel) -> None:
    page.begin()
    page.open("Settings")
    page.tab.get_by_label("Search").fill("output.picture")
    page.tab.locator('[data-setting="output.picture"]').select_option("crop")
    page.button("Start again").click()
    until(lambda: filmed.studio.controls is not None and state(filmed)["size"] == [128, 128], 60.0)


def test_everything_fits_into_a_dock_and_axe_finds_nothing_serious(
    chromium: Any, filmed: Panel
) -> None:
    page = Page(chromium, filmed, 320, 640)
    wide = "document.documentElement.scrollWidth"
    page.tab.locator(".target-card").first.wait_for()
    assert page.tab.evaluate(wide) <= 320
    assert page.serious() == []
    page.begin()
    for scheme in ("light", "dark"):
        page.tab.emulate_media(color_scheme=scheme)
        for tab in ("Targets", "Expression", "Calibrate", "Outputs", "Presets", "Settings"):
            page.open(tab)
            page.tab.wait_for_timeout(400)
            page.shoot(f"{tab} {scheme}")
            assert page.tab.evaluate(wide) <= 320, tab
            assert page.serious() == [], (tab, scheme)
            page.tab.set_viewport_size({"width": 300, "height": 600})
            assert page.tab.evaluate(wide) <= 300, tab
            page.tab.set_viewport_size({"width": 320, "height": 640})
        page.tab.set_viewport_size({"width": 1920, "height": 1080})
        page.shoot(f"large {scheme}")
        assert page.serious() == [], scheme
        page.tab.set_viewport_size({"width": 320, "height": 640})
    page.close()


def test_the_page_shows_pictures_that_were_put_out_in_their_order(
    chromium: Any, clip: Path
) -> None:
    """How soon is measured by the script's `main`."""
    measure = runpy.run_path(str(repository() / "benchmarks" / "panel_delay.py"))["run"]
    assignments = [*FAST, "output.fps=10"]
    seen, times_s = measure(chromium, 4.0, assignments, f"video:{clip}", "robin")
    numbers = [number for number, _ in seen]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 5
    assert all(at_s > times_s[number] for number, at_s in seen)


def test_the_page_is_used_by_the_keyboard_alone(page: Page, filmed: Panel) -> None:
    page.tab.locator(".target-card").first.wait_for()
    page.tab.locator(".choice input").first.focus()
    page.tab.keyboard.press("Space")
    page.tab.locator(".target input").first.focus()
    page.tab.keyboard.press("ArrowRight")
    page.button("Start").focus()
    page.tab.keyboard.press("Enter")
    page.live()
    page.tab.get_by_role("tab", name="Targets").focus()
    page.tab.keyboard.press("ArrowRight")
    page.tab.get_by_role("tabpanel", name="Expression").wait_for()


def test_a_session_outlives_its_panel_and_errors_are_told(page: Page, filmed: Panel) -> None:
    page.begin()
    controls = filmed.studio.running()
    controls.session._fail(RuntimeError("the card fell off"))
    controls.stop()
    page.tab.locator(".steps .problem, .go .problem").filter(
        has_text="the card fell off"
    ).wait_for()
    page.button("Start").click()
    page.live()
    filmed.server.close()
    page.tab.get_by_text("The panel has ended").wait_for()
    filmed.frames(20)
