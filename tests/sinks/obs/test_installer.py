"""`reenact obs`, with the files of OBS and with OBS itself."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reenact.errors import SinkError
from reenact.sinks.http_address import HttpAddress, keep_address
from reenact.sinks.obs import installer as obs_setup
from reenact.sinks.obs.config_files import ObsFiles, RemoteControl, find_obs_files
from reenact.sinks.obs.ring import RingWriter
from reenact.sinks.obs.scene_collection import (
    add_to_collection,
    remove_from_collection,
    scenes_with_source,
)
from reenact.sinks.obs.selftest import try_obs
from reenact.sinks.obs.websocket import ObsRemote
from support import program
from support.clips import corners, four_colours
from support.fakes import until
from support.obs import studio
from support.obs.studio import CANVAS, SCENE, Studio, needs_obs

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="OBS has its settings elsewhere")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has started OBS once and closed it."""
    folder = tmp_path / "home"
    folder.mkdir()
    studio.configure(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.delenv("REENACT_OBS_PASSWORD", raising=False)
    return folder


@pytest.fixture
def files(home: Path) -> ObsFiles:
    found = find_obs_files()
    assert found is not None
    assert found.folder == home / "obs-studio"
    return found


def reenact(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as this user."""
    return subprocess.run(
        program.reenact(*arguments),
        env={**studio.environment(home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def collection_of(files: ObsFiles) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files.collection().read_text())
    return found


# The files


@linux_only
def test_nothing_is_created_if_obs_was_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    done = reenact(tmp_path, "obs", "install")
    assert done.returncode == 2
    assert "start it once" in done.stderr
    assert list(tmp_path.iterdir()) == []


@linux_only
def test_install_adds_script_and_source_and_remove_removes_them(
    files: ObsFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    before = collection_of(files)
    obs_setup.install()
    capsys.readouterr()
    after = collection_of(files)
    assert after["modules"]["scripts-tool"] == [{"path": str(files.script), "settings": {}}]
    assert files.script.read_text() == studio.SCRIPT.read_text()
    (item,) = after["sources"][0]["settings"]["items"]
    assert item["name"] == "Reenact"
    assert item["bounds"] == {"x": CANVAS[0], "y": CANVAS[1]}
    assert after["sources"][1]["id"] == "reenact"
    obs_setup.install()
    assert collection_of(files) == after
    assert len(capsys.readouterr().out.splitlines()) == 1
    obs_setup.remove()
    assert not files.script.parent.exists()
    restored = collection_of(files)
    restored["sources"][0]["settings"]["id_counter"] = 0
    assert restored == before


def test_other_sources_scripts_and_scenes_are_left_as_they_are(tmp_path: Path) -> None:
    script = tmp_path / "reenact.lua"
    other_script = {"path": "/somewhere/clock.lua", "settings": {"a": 1.5}}
    text = {"id": "text_ft2_source_v2", "name": "Reenact", "settings": {"text": "ÄÖ"}}
    game = {"id": "scene", "name": "Game", "settings": {"items": [{"name": "Reenact", "id": 7}],
            "id_counter": 7}}  # fmt: skip
    start = {"id": "scene", "name": "Start", "settings": {"items": [], "id_counter": 0}}
    before: dict[str, Any] = {
        "current_scene": "Game",
        "sources": [text, start, game],
        "groups": [],
        "modules": {"scripts-tool": [other_script], "output-timer": {"x": 1}},
        "something_new": [1, 2.0, None],
    }
    collection = copy.deepcopy(before)
    assert len(add_to_collection(collection, script, (1920, 1080))) == 2
    assert scenes_with_source(collection) == ["Game"]
    assert collection["sources"][:2] == [text, start]
    assert collection["sources"][3]["name"] == "Reenact 2"
    assert collection["sources"][2]["settings"]["items"][0] == {"name": "Reenact", "id": 7}
    assert collection["sources"][2]["settings"]["items"][1]["id"] == 8
    assert collection["modules"]["scripts-tool"][0] == other_script
    assert add_to_collection(collection, script, (1920, 1080)) == []
    assert len(remove_from_collection(collection, script)) == 2
    collection["sources"][2]["settings"]["id_counter"] = 7
    assert collection == before
    assert remove_from_collection(collection, script) == []


@linux_only
def test_damaged_collection_is_reported_and_left_alone(files: ObsFiles) -> None:
    files.collection().write_text("{")
    with pytest.raises(SinkError, match=r"Untitled\.json cannot be read"):
        obs_setup.install()
    assert files.collection().read_text() == "{"


@linux_only
def test_remote_control_is_read_in_both_of_its_places(files: ObsFiles) -> None:
    new = files.remote_control()
    assert new.enabled
    assert len(new.password) > 10
    settings = files.folder / "plugin_config/obs-websocket/config.json"
    kept = json.loads(settings.read_text())
    settings.unlink()
    assert files.remote_control() == new
    (files.folder / "global.ini").write_text("[General]\nFirstRun=true\n")
    assert files.remote_control() == RemoteControl(False, 4455, "")
    settings.write_text(json.dumps({**kept, "auth_required": False, "server_port": "x"}))
    assert files.remote_control() == RemoteControl(True, 4455, "")
    assert files.canvas() == CANVAS


def test_options_of_the_media_source_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))  # without an address of an earlier run
    obs_setup.media_source()
    assert "--sink http:8088" in capsys.readouterr().out
    address = HttpAddress(8123, "t" * 22)
    keep_address(address)
    obs_setup.media_source()
    told = capsys.readouterr().out
    assert f"http://127.0.0.1:8123/stream.mjpg?token={'t' * 22}" in told
    assert "use_wallclock_as_timestamps=1 fflags=nobuffer" in told
    assert "--sink http:8123" in told


# With OBS


def shown_in_scene(obs: Studio, ring: RingWriter) -> bool:
    """Write four colours; return True if they fill the canvas's height in its middle."""
    ring.write(four_colours())
    scene = obs.screenshot(SCENE)[..., :3]
    left, width = (CANVAS[0] - CANVAS[1] * 4 // 3) // 2, CANVAS[1] * 4 // 3
    inside = corners(scene[:, left : left + width])
    return inside == ["red", "green", "blue", "white"] and not scene[:, : left - 2].any()


@needs_obs
@pytest.mark.obs
@linux_only
def test_fresh_obs_has_a_moving_face_after_install(home: Path, files: ObsFiles) -> None:
    before = collection_of(files)
    done = reenact(home, "obs", "install")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Ready: start OBS" in done.stdout
    with studio.start(home) as obs, RingWriter() as ring:
        ring.open()
        assert obs.inputs() == ["Reenact"]
        until(lambda: shown_in_scene(obs, ring), what="the picture fills the canvas")
        status = reenact(home, "obs", "status").stdout
        assert "OBS has the source: Reenact" in status
        assert "160 x 120 px" in status
        tried = reenact(home, "doctor", "--obs").stdout
        assert "shows every pixel as written" in tried, tried
        assert obs.inputs() == ["Reenact"]
        assert [entry["sceneName"] for entry in obs.ask("GetSceneList")["scenes"]] == [SCENE]
        again = reenact(home, "obs", "install")
        assert again.stdout.splitlines() == ["Ready: `reenact live --sink obs`."]
        assert obs.inputs() == ["Reenact"]
        assert reenact(home, "obs", "remove").returncode == 0
        until(lambda: obs.inputs() == [], what="the source is removed")
        assert obs.stop() == 0
    done = reenact(home, "obs", "remove")
    assert done.returncode == 0
    assert not files.script.exists()
    after = collection_of(files)
    assert after["modules"]["scripts-tool"] == []
    assert [source["name"] for source in after["sources"]] == [SCENE]
    assert after["sources"][0]["settings"]["items"] == []
    assert after["scene_order"] == before["scene_order"]


@needs_obs
@pytest.mark.obs
@linux_only
def test_install_into_a_running_obs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    files = ObsFiles(home / "obs-studio")
    files.put_script()
    # The user has loaded the script already, and there is no source.
    studio.configure(home, scripts=(files.script,))
    with studio.start(home) as obs, RingWriter() as ring:
        ring.open()
        refused = reenact(home, "obs", "install", REENACT_OBS_PASSWORD="wrong")
        assert refused.returncode == 2
        assert "REENACT_OBS_PASSWORD" in refused.stderr
        assert obs.inputs() == []
        done = reenact(home, "obs", "install", REENACT_OBS_PASSWORD=obs.password)
        assert (done.returncode, done.stderr) == (0, "")
        assert "The source Reenact is in the scene Scene." in done.stdout
        until(lambda: shown_in_scene(obs, ring), what="the picture fills the canvas")
        asked = []

        def ask() -> str:
            asked.append(1)
            return obs.password

        with ObsRemote(RemoteControl(True, obs.port, "wrong"), ask) as remote:
            assert remote.sources() == ["Reenact"]
        assert asked == [1]
    assert obs.password not in done.stdout
    written = [path for path in (home / "obs-studio/reenact").rglob("*") if path.is_file()]
    assert written == [files.script]


@needs_obs
@pytest.mark.obs
@linux_only
def test_running_obs_without_the_script_asks_for_one_step(home: Path, files: ObsFiles) -> None:
    with studio.start(home) as obs:
        done = reenact(home, "obs", "install", "--wait", "0.5")
        assert done.returncode == 2
        assert f"Tools > Scripts > +, and choose {files.script}" in done.stdout
        assert "try again" in done.stderr
        assert obs.inputs() == []
        memory, picture = try_obs()
        assert memory.works
        assert not picture.works
        assert "has not loaded the script" in picture.detail
