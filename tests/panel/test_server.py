"""How the panel starts and ends, and where it can be reached."""

from __future__ import annotations

import json
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reenact.cli.main import main
from reenact.config import Settings, SourceSettings
from reenact.errors import ConfigError, ReenactError, TargetError
from reenact.live.controls import Controls
from reenact.live.presets import import_preset
from reenact.panel.jobs import Job
from reenact.panel.live_socket import SLOW_GAP_S
from reenact.panel.preview import NewestPicture, SourceWatch
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.panel.widgets import widgets
from reenact.sources.camera_devices import CameraInfo
from reenact.storage import write_png
from reenact.targets.store import TargetStore
from reenact.testing.portrait import portrait, portrait_target
from support.clips import corners, four_colours
from support.fakes import until
from support.panels import FAST, Panel, without_display
from support.plugins import install
from support.program import repository


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_program_alone_opens_the_panel_until_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "reenact.cli.main", "panel", "--no-browser", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            base, _, token = found[0].partition("/?token=")
            request = urllib.request.Request(
                f"{base}/api/state", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=20.0) as answer:
                state = json.load(answer)["value"]
            assert (state["phase"], state["session"]) == ("idle", None)
            process.send_signal(signal.SIGINT)
            _, left = process.communicate(timeout=20.0)
        finally:
            process.kill()
    assert (process.returncode, left) == (0, "")


def test_the_address_stays_the_same_and_a_taken_port_is_told() -> None:
    with Studio() as studio, PanelServer(studio) as first:
        with PanelServer(studio) as second:  # the usual port is taken
            assert first.url.partition("=")[2] == second.url.partition("=")[2]
            assert first.url != second.url
        port = int(first.url.split(":")[2].partition("/")[0])
        with pytest.raises(ReenactError, match="Choose another --port"):
            PanelServer(studio, Address(port=port))


def test_a_session_outlives_the_server(panel: Panel) -> None:
    panel.start("pattern")
    panel.server.close()
    panel.frames(20)
    assert panel.studio.running().snapshot()["state"] == "running"


def test_pictures_are_further_apart_while_the_session_falls_short(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.live.controls._WARM_UP_S", 0.0)
    monkeypatch.setattr("reenact.live.controls._SLOW", 10.0)
    panel.start("pattern")
    with panel.live() as viewer:
        viewer.send('{"watch": ["output"]}')
        while not json.loads(viewer.recv(timeout=30.0)).get("state", {})["session"]["slow"]:
            pass
        shown_s: list[float] = []
        while len(shown_s) < 12:
            if isinstance(viewer.recv(timeout=30.0), bytes):
                shown_s.append(time.monotonic())
                viewer.send('{"drawn": true}')
    assert shown_s[-1] - shown_s[1] > 9 * SLOW_GAP_S


def test_the_page_gets_names_of_files_that_are_not_text(panel: Panel) -> None:
    panel.start("pattern").target = name = "b\udce4d.jpg"  # the byte e4 in a file's name
    assert panel.call("GET", "/api/state")["session"]["target"] == name
    with panel.live() as viewer:
        assert json.loads(viewer.recv(timeout=30.0))["state"]["session"]["target"] == name


def test_a_start_that_fails_says_why_and_the_next_one_works(panel: Panel) -> None:
    panel.call("PATCH", "/api/settings", values={"tracking.name": "nobody"})
    panel.call("POST", "/api/watch", source="pattern")
    until(panel.studio.actor.jpeg)
    panel.call("POST", "/api/start", source="pattern", target="robin", outputs=[])
    until(lambda: "no tracker called 'nobody'" in panel.studio.state()["error"], 60.0)
    assert panel.studio.state()["phase"] == "idle"
    until(panel.studio.actor.jpeg, 10.0, "the camera is seen again")
    panel.call("PATCH", "/api/settings", values={"tracking.name": "mediapipe"})
    panel.start("pattern")
    assert panel.studio.state()["error"] == ""


def test_a_camera_that_is_busy_at_first_is_seen_once_it_is_free(tmp_path: Path) -> None:
    camera, newest = tmp_path / "camera.png", NewestPicture()
    with SourceWatch(f"image:{camera}", SourceSettings(), newest) as watch:
        until(lambda: "There is no file" in watch.problem)
        write_png(camera, np.zeros((48, 64, 3), np.uint8))
        until(newest.jpeg, 10.0)
        assert watch.problem == ""


def test_a_camera_that_no_page_watches_is_released_until_one_does(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.panel.preview._UNWATCHED_S", 1.0)
    panel.call("POST", "/api/watch", source="pattern")
    with panel.live() as page:
        page.send('{"watch": ["actor"]}')
        time.sleep(2.0)
        assert panel.studio.actor.jpeg()
    until(lambda: not panel.studio.actor.jpeg(), 10.0)
    with panel.live() as page:
        time.sleep(2.0)  # it shows no picture of the camera, as while it is hidden
        assert not panel.studio.actor.jpeg()
        page.send('{"watch": ["actor"]}')
        until(lambda: bool(panel.studio.actor.jpeg()), 10.0)


def test_a_camera_that_is_not_plugged_in_is_not_offered(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = CameraInfo(1, "Logi")
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", lambda: [camera])
    panel.studio.offer("", "")
    panel.studio._choose(source="webcam:2")
    assert panel.call("GET", "/api/sources") == [{"source": "webcam:Logi", "name": "Logi"}]
    panel.studio.offer("webcam:2", "")
    assert panel.call("GET", "/api/sources")[1] == {"source": "webcam:2", "name": "webcam:2"}


def test_a_page_can_tell_one_run_of_the_program_from_the_next(panel: Panel) -> None:
    run = panel.call("GET", "/api/state")["run"]
    assert run == panel.call("GET", "/api/state")["run"]
    with Studio() as other:
        assert other.state()["run"] != run


def test_of_quick_choices_of_a_target_the_last_one_counts(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = panel.start("pattern")
    prepared: list[str] = []
    shown: list[str] = []
    first, prepare = threading.Event(), Controls._prepare

    def prepare_slowly(self: Controls, name: str, settings: Settings) -> Any:
        prepared.append(name)
        assert first.wait(60.0)
        return prepare(self, name, settings)

    monkeypatch.setattr(Controls, "_prepare", prepare_slowly)
    monkeypatch.setattr(controls, "on_switch", shown.append)
    for name in ("astronaut", "robin", "astronaut", "robin"):
        panel.call("POST", "/api/target", name=name)
        until(lambda: bool(prepared))
    first.set()
    until(lambda: panel.studio.jobs.running("switch") is None, 60.0)
    assert (prepared, shown) == (["astronaut", "robin"], ["robin"])
    assert {job["state"] for job in panel.studio.jobs.described()} == {"done"}


def test_a_target_that_a_key_has_brought_is_kept(panel: Panel, tmp_path: Path) -> None:
    controls = panel.start("pattern")
    assert panel.call("POST", "/api/act", do="target=astronaut") == "astronaut is shown."
    assert panel.studio.choice.target == "astronaut"
    write_png(tmp_path / "still.png", portrait())
    controls.switch_target(str(tmp_path / "still.png"))  # as a remote control may
    assert panel.studio.choice.target == "astronaut"


def test_of_several_settings_none_is_changed_if_one_fails(panel: Panel) -> None:
    controls = panel.start("pattern")
    controls.target = "gone"
    values = {"fusion.mouth": 0.4, "renderer.size": 256}
    assert "gone" in panel.call("PATCH", "/api/settings", values=values)
    assert (controls.settings()["fusion.mouth"], panel.studio.choice.settings) == (1.0, {})


def test_the_state_tells_that_settings_were_changed_elsewhere(panel: Panel) -> None:
    controls = panel.start("pattern")
    before = controls.snapshot()["updates"]
    panel.call("POST", "/api/act", do="emotion=happy")
    assert controls.snapshot()["updates"] > before


def test_the_camera_is_seen_the_way_up_that_is_set(tmp_path: Path) -> None:
    camera, newest = tmp_path / "camera.png", NewestPicture()
    write_png(camera, four_colours())
    with SourceWatch(f"image:{camera}", SourceSettings(rotate=180), newest):
        until(newest.jpeg, 10.0)
        picture = cv2.imdecode(np.frombuffer(newest.jpeg(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert corners(np.asarray(picture, np.uint8)) == ["white", "blue", "green", "red"]


def test_a_start_while_another_one_is_opened_takes_its_place() -> None:
    with Studio(assignments=FAST) as studio:
        studio.offer("pattern", "")
        studio.start("pattern", "astronaut", ["nothing"])
        studio.start("pattern", "robin", [])
        first = studio.next_start(0.0)
        assert first is not None
        studio.start("pattern", "astronaut", [])
        controls = studio.open(first)
        assert controls is not None
        with controls.session as session:
            session.start()
            assert session.wait(20.0)
        studio.ended(None)
        second = studio.next_start(0.0)
        assert second is not None
        assert (first.target, second.target) == ("robin", "astronaut")
        assert studio.next_start(0.0) is None


def test_outputs_that_fail_are_told_and_end_nothing(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_display(monkeypatch)
    panel.studio.start("pattern", "robin", ["window", "nothing"])  # as the command line does
    controls = until(lambda: panel.studio.controls, 120.0)
    until(lambda: sum(bool(one["error"]) for one in controls.outputs()) == 2)
    assert {"name": "panel", "error": ""} in controls.outputs()


def test_an_output_that_is_switched_on_twice_is_one_and_goes_off_at_once(panel: Panel) -> None:
    controls = panel.start("pattern")
    for on, names in ((True, ["panel", "null"]), (True, ["panel", "null"]), (False, ["panel"])):
        assert panel.call("POST", "/api/outputs", output="null", on=on) is None
        panel.frames(3)
        assert [one["name"] for one in controls.outputs()] == names


def test_a_target_that_is_shown_can_be_renamed(panel: Panel) -> None:
    panel.studio.gallery.store.create(replace(portrait_target(), name="anna"))
    panel.start("pattern", "anna")
    assert panel.call("PATCH", "/api/targets/anna", name="berta") is None
    state = panel.call("GET", "/api/state")
    assert (state["session"]["target"], state["choice"]["target"]) == ("berta", "berta")
    panel.start("pattern", "berta")


def test_a_target_that_is_being_trained_keeps_its_name_and_place(panel: Panel) -> None:
    panel.studio.gallery.store.create(replace(portrait_target(), name="anna"))
    job = panel.studio.jobs.start("train", "anna", lambda job: str(job.stop_wanted.wait(60.0)))
    assert "being trained" in panel.call("PATCH", "/api/targets/anna", name="berta")
    assert "being trained" in panel.call("DELETE", "/api/targets/anna")
    assert panel.studio.gallery.store.list() == ("anna",)
    job.stop_wanted.set()
    until(lambda: job.state == "done")
    assert panel.call("PATCH", "/api/targets/anna", name="berta") is None


def test_the_end_of_the_panel_waits_for_a_training_to_store_its_best_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored = threading.Event()

    def train(job: Job) -> str:
        assert job.stop_wanted.wait(60.0)
        time.sleep(0.5)
        stored.set()
        return "stored"

    with Studio() as studio:
        studio.jobs.start("train", "anna", train)
    assert stored.is_set()
    assert "training of anna" in caplog.text


def test_what_is_chosen_while_a_size_is_got_ready_is_kept(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.start("pattern")
    studio = panel.studio

    prepare = Controls._prepare

    def slow_prepare(*arguments: Any) -> Any:
        assert studio.update({"tracking.min_confidence": 0.7}) == ["tracking.min_confidence"]
        return prepare(*arguments)

    monkeypatch.setattr(Controls, "_prepare", slow_prepare)
    assert studio.update({"renderer.size": 256}) == []
    assert studio.choice.settings == {"tracking.min_confidence": 0.7, "renderer.size": 256}


def test_the_page_keeps_what_was_changed_and_not_what_was_typed() -> None:
    panel = Panel("pattern", "fusion.mouth=1.5", "output.fps=15.0")
    try:
        controls = panel.start("pattern")
        controls.update("fusion", "eyes", 0.5)  # as a key or a knob does
        panel.call("PATCH", "/api/settings", values={"fusion.brows": 0.7})
        panel.call("POST", "/api/stop")
        until(lambda: panel.studio.state()["phase"] == "idle")
        assert panel.studio.choice.settings == {"fusion.eyes": 0.5, "fusion.brows": 0.7}
    finally:
        panel.close()


def test_the_command_line_takes_precedence_over_earlier_choices(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[fusion]\nmouth = 0.5\n", encoding="utf-8")
    with Studio() as studio:
        studio.update({"fusion.mouth": 1.2, "fusion.eyes": 0.6, "drive.intensity": 0.9})
        studio._keep({"remote.gone.port": "x"})  # of a plugin that was uninstalled since
    with Studio(config, ["drive.intensity=1.3"]) as studio:
        fusion, drive = studio.settings().fusion, studio.settings().drive
        assert (fusion.mouth, fusion.eyes, drive.intensity) == (0.5, 0.6, 1.3)
        studio.update({"fusion.mouth": 0.7})
        assert studio.settings().fusion.mouth == 0.7
        config.write_text("[fusion]\nmoth = 0.5\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="moth"):
            studio.settings()
    with Studio() as studio:
        assert studio.settings().fusion.mouth == 0.7
        assert studio.settings().drive.intensity == 0.9


def test_a_file_is_recorded_in_the_run_that_names_it_alone(panel: Panel, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    panel.studio.start("pattern", "robin", [f"file:{video}", "null"])  # as the command line does
    until(lambda: panel.studio.controls is not None)
    panel.frames(3)
    panel.call("POST", "/api/stop")
    until(video.exists)
    with Studio() as studio:
        assert studio.choice.outputs == ("null",)


def test_a_preset_keeps_only_what_it_changed_and_changes_nothing_if_it_fails(panel: Panel) -> None:
    controls = panel.start("pattern")
    controls.save_preset("calm")
    controls.update("fusion", "mouth", 0.2)
    panel.studio.load_preset("calm")
    assert panel.studio.choice.settings == {"fusion.mouth": 1.0}
    import_preset("large", "[fusion]\nmouth = 0.4\n[renderer]\nsize = 256\n")
    controls.target = "gone"
    with pytest.raises(ReenactError, match="gone"):
        panel.studio.load_preset("large")
    assert controls.settings()["fusion.mouth"] == 1.0


def test_actions_reach_only_offered_targets_and_outputs(panel: Panel, tmp_path: Path) -> None:
    panel.start("pattern")
    photo, take = tmp_path / "photo.png", tmp_path / "take.npy"
    assert panel.call("POST", "/api/act", do=f"target={photo}") == f"There is no target {photo}."
    for output in (f"landmarks:{take}", f"file:{take}", "file"):
        said = panel.call("POST", "/api/act", do=f"output={output}")
        assert said.startswith("There is no output")
    assert panel.call("POST", "/api/act", do="target=previous") == "astronaut is shown."
    assert panel.call("POST", "/api/act", do="output=null") == "null is being switched on."
    assert not take.exists()


def test_two_panels_keep_each_others_removed_targets(tmp_path: Path) -> None:
    store = TargetStore(tmp_path)
    for name in ("anna", "ben"):
        store.create(replace(portrait_target(), name=name))
    with Studio(store=store) as first:
        first.gallery.remove("anna")
        with Studio(store=store) as second:
            second.gallery.remove("ben")
        first.gallery.restore("anna")
        with pytest.raises(TargetError):
            first.gallery.restore("ben")
    assert store.list() == ("anna",)


def test_a_text_with_an_emoji_is_kept_as_it_is(panel: Panel) -> None:
    values = {"drive.track": "tracks/🦆.csv"}
    assert panel.call("PATCH", "/api/settings", values=values) == []
    assert panel.studio.settings().drive.track == "tracks/🦆.csv"
    assert "Cyrillic" in panel.call("PATCH", "/api/settings", values={"output.label": "🦆"})


def test_settings_of_parts_appear_with_their_declaration(panel: Panel) -> None:
    panel.start("pattern")
    told = {one["name"]: one for one in panel.call("GET", "/api/settings")}
    assert told["fusion.mouth"] | {"value": 1.0} == told["fusion.mouth"]
    assert (told["fusion.mouth"]["min"], told["fusion.mouth"]["max"]) == (0.0, 2.0)
    assert told["fusion.max_yaw"]["unit"] == "degrees"
    assert told["renderer.size"]["choices"] == [128, 256, 512, 720, 1024]
    assert not told["renderer.engine"]["live"]
    assert told["sink.http.quality"]["value"] == 85  # of a part that is not in use
    values = {"fusion.mouth": 1.5, "output.picture": "crop"}
    assert panel.call("PATCH", "/api/settings", values=values) == ["output.picture"]
    assert "less than or equal to 2" in panel.call(
        "PATCH", "/api/settings", values={"fusion.mirror": True, "fusion.mouth": 9}
    )
    settings = panel.studio.settings()
    assert (settings.fusion.mouth, settings.fusion.mirror) == (1.5, False)


def test_settings_of_a_plugin_appear_by_themselves_and_are_live_while_it_draws(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "renderer.tint.strength"
    install(repository() / "examples" / "tint", tmp_path / "site", monkeypatch)

    def told() -> Any:
        return {one["name"]: one for one in panel.call("GET", "/api/settings")}[name]

    expected = {"kind": "number", "value": 1.0, "min": 0, "max": 1, "live": False}
    assert told() == told() | expected
    panel.studio._assignments.remove("renderer.name=warp")
    assert panel.call("PATCH", "/api/settings", values={"renderer.name": "tint"}) == []
    panel.start("pattern")
    assert told()["live"]
    assert panel.call("PATCH", "/api/settings", values={name: 0.25}) == []
    assert told()["value"] == 0.25
    assert panel.studio.running().settings()[name] == 0.25


def test_an_output_of_a_broken_plugin_does_not_hide_the_others(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = panel.call("GET", "/api/outputs")
    (tmp_path / "reenact_broken.py").write_text("import no_such_library", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "reenact-broken"\nversion = "1"\n'
        '[project.entry-points."reenact.sinks"]\nbroken = "reenact_broken:SINK"\n',
        encoding="utf-8",
    )
    install(tmp_path, tmp_path / "site", monkeypatch)
    assert panel.call("GET", "/api/outputs") == before
    assert "no_such_library" in caplog.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_is_served_and_cookies_are_secure(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
    address = Address("127.0.0.1", 0, certificate, key)
    with Studio(assignments=FAST) as studio, PanelServer(studio, address) as server:
        assert server.url.startswith("https://")
        with pytest.raises(urllib.error.HTTPError) as refused:
            opener.open(server.url)
        assert refused.value.code == 303
        assert "Secure" in refused.value.headers["Set-Cookie"]


def test_half_of_what_tls_needs_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["panel", "--no-browser", "--certificate", "x.pem"]) == 2
    assert "both --certificate and --key" in capsys.readouterr().err


def test_the_voice_is_off_or_a_microphone_that_may_have_been_named_elsewhere() -> None:
    settings = Settings()
    for name in ("off", "Yeti"):
        settings.fusion.voice = name
        (told,) = (one for one in widgets(settings, {}) if one["name"] == "fusion.voice")
        assert (told["kind"], told["value"], told["live"]) == ("choice", name, True)
        assert told["choices"] == ["off", "microphone", *["Yeti"][: name == "Yeti"]]
