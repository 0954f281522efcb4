"""What the panel keeps of the user's choices for the next start."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from reenact.errors import SourceError
from reenact.live.presets import import_preset
from reenact.panel.endpoints import ENDPOINTS, NoBody
from reenact.panel.studio import Studio
from reenact.sources.camera_devices import CameraInfo
from reenact.storage import data_folder
from reenact.testing.portrait import portrait_target
from support.fakes import until
from support.panels import Panel


def test_what_a_preset_cannot_change_live_is_told_and_used_at_the_next_start(panel: Panel) -> None:
    panel.start("pattern")
    panel.call("PATCH", "/api/settings", values={"fusion.mouth": 0.4})
    import_preset("square", '[output]\npicture = "crop"\noverwrite = false\n')
    assert panel.call("POST", "/api/presets/square") == ["output.picture"]
    assert panel.studio.choice.settings == {"fusion.mouth": 0.4, "output.picture": "crop"}
    panel.call("POST", "/api/stop")
    until(lambda: panel.studio.controls is None)
    controls = panel.start("pattern")
    assert controls.session.settings.output.picture == "crop"
    assert panel.call("POST", "/api/presets/square") == []


def test_what_waits_for_the_next_start_is_listed_with_its_new_value(panel: Panel) -> None:
    def waiting() -> dict[str, object]:
        settings = panel.call("GET", "/api/settings")
        return {one["name"]: one["value"] for one in settings if one["waiting"]}

    change = {"output.picture": "crop", "fusion.mirror": True}
    assert waiting() == {}
    panel.call("PATCH", "/api/settings", values=change)
    panel.start("pattern")
    assert waiting() == {}
    change = {"output.picture": "plate", "fusion.mirror": False}
    assert panel.call("PATCH", "/api/settings", values=change) == ["output.picture"]
    assert waiting() == {"output.picture": "plate"}
    panel.start("pattern")
    assert waiting() == {}


def test_a_preset_of_a_key_is_kept_as_that_of_a_click(panel: Panel) -> None:
    controls = panel.start("pattern")
    panel.call("PATCH", "/api/settings", values={"output.picture": "crop"})
    import_preset("whole", '[output]\npicture = "plate"\n')
    assert panel.call("POST", "/api/act", do="preset=whole") == "whole is in use."
    import_preset("calm", "[tracking]\nmin_confidence = 0.7\n")
    controls.load_preset("calm")  # as a remote control does
    with Studio() as later:
        settings = later.settings()
    assert (settings.output.picture, settings.tracking.min_confidence) == ("plate", 0.7)


def test_a_unit_set_by_hand_is_told_changed_kept_and_checked_like_other_settings(
    panel: Panel,
) -> None:
    controls, name = panel.start("pattern"), "drive.units.mouth_open"
    told = {one["name"]: one for one in panel.call("GET", "/api/settings")}
    one = told[name]
    assert (one["section"], one["min"], one["max"], one["live"]) == ("drive.units", 0, 1, True)
    assert "drive.units" not in told
    assert panel.call("PATCH", "/api/settings", values={name: 0.5}) == []
    assert controls.settings()[name] == 0.5
    assert panel.studio.choice.settings == {name: 0.5}
    for values, message in (
        ({"drive.units.mouth": 0.7}, "did you mean drive.units.mouth_"),
        ({"drive.units": 0.7}, "drive.units is a section"),
        ({name: 1.1}, f"{name}: Input should be less than or equal to 1"),
    ):
        assert message in panel.call("PATCH", "/api/settings", values={name: 0.6} | values)
    assert controls.settings()[name] == 0.5


def test_settings_kept_with_a_target_are_undone_with_another(panel: Panel) -> None:
    """They are none of the user's choices for other targets, now or at the next start."""
    store = panel.studio.gallery.store
    for name in ("anna", "ben"):
        store.create(replace(portrait_target(), name=name))
    panel.start("pattern", "anna")
    assert "no session" not in panel.call("POST", "/api/targets/anna/settings")
    panel.call("PATCH", "/api/settings", values={"fusion.mouth": 0.4, "renderer.size": 128})
    assert "is not shown" in panel.call("POST", "/api/targets/ben/settings")
    assert panel.call("POST", "/api/targets/anna/settings") == ["fusion.mouth"]
    panel.call("PATCH", "/api/settings", values={"fusion.mouth": 0.6})
    assert panel.call("POST", "/api/act", do="target=ben") == "ben is shown."
    assert panel.studio.settings().fusion.mouth == 1.0
    told = {one["name"]: one.get("own") for one in panel.call("GET", "/api/targets")}
    assert (told["anna"], told["ben"]) == (True, False)
    assert panel.call("POST", "/api/act", do="target=anna") == "anna is shown."
    assert panel.studio.settings().fusion.mouth == 0.4
    panel.call("POST", "/api/stop")
    until(lambda: panel.studio.controls is None)
    assert panel.studio.settings().fusion.mouth == 1.0
    controls = panel.start("pattern", "anna")
    assert controls.session.settings.fusion.mouth == 0.4
    assert panel.call("DELETE", "/api/targets/anna/settings") is None
    assert panel.call("POST", "/api/act", do="target=anna") == "anna is shown."
    assert panel.studio.settings().fusion.mouth == 1.0


def plugged_in(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let cameras of these names be plugged in, numbered from 0, and a virtual one after them."""
    cameras = [CameraInfo(number, name) for number, name in enumerate(names)]
    cameras.append(CameraInfo(len(names), "Virtual", is_loopback=True))
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", lambda: cameras)


@pytest.mark.parametrize("typed", ["webcam", "webcam:0", "webcam:logi", "webcam:Logi C920"])
def test_a_camera_is_kept_by_its_name_however_it_was_named(
    typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged_in(monkeypatch, "Logi C920", "Integrated Camera")
    with Studio() as studio:
        studio.offer(typed, "")
        names = ("Logi C920", "Integrated Camera")
        assert studio.sources() == [{"source": f"webcam:{name}", "name": name} for name in names]
        studio.start(typed, "robin", [])
    with Studio() as studio:
        plugged_in(monkeypatch, "Integrated Camera", "Logi C920")  # the numbers have moved
        assert studio.choice.source == "webcam:Logi C920"
        assert studio.choice.source in [one["source"] for one in studio.sources()]


def test_cameras_of_one_model_are_told_apart_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged_in(monkeypatch, "C920", "C920", "Integrated Camera")
    with Studio() as studio:
        sources = [one["source"] for one in studio.sources()]
        assert sources == ["webcam:0", "webcam:1", "webcam:Integrated Camera"]
        studio.start("webcam:1", "robin", [])
        assert studio.choice.source == "webcam:1"


@pytest.mark.parametrize("source", ["webcam:3", "webcam:Virtual", "webcam:2", "webcam:nobody"])
def test_a_camera_that_is_not_offered_starts_nothing(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged_in(monkeypatch, "Logi", "Integrated Camera")
    with Studio() as studio:
        with pytest.raises(SourceError, match="not among the cameras"):
            studio.start(source, "robin", [])
        studio.offer("webcam:2", "")
        assert studio.sources()[-1] == {"source": "webcam:Virtual", "name": "webcam:Virtual"}


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "RTSPS"])
def test_a_network_camera_is_named_without_its_password_and_kept_for_the_user_alone(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged_in(monkeypatch, "Logi")
    address = f"video:{scheme}://me:p@ss@10.0.0.2:8080/video?key=secret"
    with Studio() as studio:
        studio.start(address, "robin", [])
    with Studio() as studio:
        assert studio.choice.source == address
        assert studio.sources()[1] == {"source": address, "name": "10.0.0.2:8080/video"}
    (kept,) = data_folder().glob("panel/choice.json")
    assert kept.stat().st_mode & 0o077 == 0


def test_the_last_address_that_was_watched_is_offered_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugged_in(monkeypatch, "Logi")
    address = "video:http://me:p@ss@127.0.0.1:9/video?key=secret"
    with Studio() as studio:
        studio.watch_source(address)
        studio.watch_source("webcam:Logi")
        assert studio.sources()[1:] == [{"source": address, "name": "127.0.0.1:9/video"}]
        with pytest.raises(SourceError):
            studio.watch_source("video:/etc/passwd")
        assert len(studio.sources()) == 2


def test_a_page_can_have_no_file_written_but_those_that_the_user_named(
    panel: Panel, tmp_path: Path
) -> None:
    new, named = tmp_path / "new", f"file:{tmp_path / 'named.mp4'}"
    for output in (f"file:{new}.mp4", f"landmarks:{new}", named, "file", "nothing"):
        body = {"source": "pattern", "target": "robin", "outputs": ["null", output]}
        assert f"There is no output {output}; " in panel.call("POST", "/api/start", **body)
    assert (panel.studio.state()["phase"], panel.studio.choice.outputs) == ("idle", ())
    assert not list(tmp_path.glob("new*"))
    with Studio() as studio:
        studio.offer("pattern", "")
        studio.start("pattern", "robin", [named])  # as the command line does
        for outputs in ((), (named, "null")):
            studio.start_offered("pattern", "robin", outputs)
            assert studio.choice.outputs == outputs


def test_outputs_that_this_run_named_are_offered_while_they_are_off() -> None:
    (listed,) = (one for one in ENDPOINTS if (one.method, one.path) == ("GET", "/api/outputs"))
    with Studio() as studio:
        before = [one["output"] for one in listed.call(studio, {}, NoBody())]
        studio.offer("pattern", "")
        studio.start("pattern", "robin", ["http:8123", "file:x.mp4", "http"])
        after = [one["output"] for one in listed.call(studio, {}, NoBody())]
    assert sorted(after) == sorted([*before, "http:8123"])


def test_a_target_that_is_removed_is_no_longer_chosen() -> None:
    with Studio() as studio:
        studio.gallery.store.create(dataclasses.replace(portrait_target(), name="gone"))
        studio.offer("pattern", "")
        studio.start("pattern", "gone", [])
        assert studio.choice.target == "gone"
        studio.remove("gone")
        assert studio.choice.target == ""


@pytest.mark.parametrize(
    "source", ["video:/etc/passwd", "video:file:///etc/passwd", "video:concat:a|b", "image:a.png"]
)
def test_a_page_cannot_have_a_file_opened(source: str) -> None:
    with Studio() as studio, pytest.raises(SourceError, match="not among the cameras"):
        studio.start(source, "robin", [])
