"""The settings: precedence, messages a user can act on, and every file that is shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from reenact.config import Settings, SinkSettings, UnitSettings
from reenact.errors import ConfigError
from reenact.face.topology import ACTION_UNITS
from reenact.live.settings import describe, load_settings
from reenact.sinks.mjpeg_server import HttpSettings
from reenact.sources.webcam import WebcamSettings


def write(folder: Path, text: str) -> Path:
    path = folder / "live.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_assignment_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    units = "[drive.units]\nfrown = 0.2\npucker = 0.3\n"
    path = write(tmp_path, f"[drive]\nintensity = 0.5\n{units}[fusion]\nmouth = 0.7\n")
    settings = load_settings(path, ["drive.intensity=1.5", "drive.units.frown=1"])
    assert settings.drive.intensity == 1.5
    assert settings.drive.units == UnitSettings(frown=1, pucker=0.3)
    assert settings.fusion.mouth == 0.7
    assert settings.fusion.eyes == Settings().fusion.eyes


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    settings = load_settings(None, ["drive.track=~/a.csv", "renderer.weights=~b.safetensors"])
    assert settings.drive.track == f"{tmp_path}/a.csv"
    assert settings.renderer.weights == "~b.safetensors"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As editors on Windows write it."""
    path = write(tmp_path, "\ufeff[fusion]\nmouth = 0.7\n")
    assert load_settings(path).fusion.mouth == 0.7


@pytest.mark.parametrize(
    ("text", "section", "key", "value"),
    [
        ("fusion.mirror=true", "fusion", "mirror", True),
        ("drive.intensity = 1", "drive", "intensity", 1.0),
        ("renderer.size=512", "renderer", "size", 512),
        ("renderer.name=warp", "renderer", "name", "warp"),
        ("tracking.face=1", "tracking", "face", "1"),
        ('sink.camera.device="OBS Virtual Camera"', "sink.camera", "device", "OBS Virtual Camera"),
        ("sink.camera.device=/dev/video4", "sink.camera", "device", "/dev/video4"),
        ("sink.http.port=8090", "sink.http", "port", 8090),
        ("drive.units.mouth_open=0.4", "drive.units", "mouth_open", 0.4),
        ("renderer.weights=a=b.safetensors", "renderer", "weights", "a=b.safetensors"),
        ("actor.name=2026-11-30", "actor", "name", "2026-11-30"),
        ("actor.name=07:30", "actor", "name", "07:30"),
        ("output.label=[[", "output", "label", "[["),
    ],
)
def test_assignments_are_read_by_their_type(
    text: str, section: str, key: str, value: object
) -> None:
    settings = load_settings(assignments=[text])
    assert attrgetter(f"{section}.{key}")(settings) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drive.intensty=1", "did you mean drive.intensity"),
        ("remote.use=hotkey", "no remote called 'hotkey'. Did you mean hotkeys?"),
        ("fusin.mouth=1", "did you mean fusion"),
        ("fusion=1", "section.key=value"),
        ("drive.intensity", "=value, not"),
        ("drive.intensity=3", "drive.intensity: Input should be less than or equal to 2"),
        ("drive.intensity=lots", "drive.intensity: Input should be a valid number"),
        ("renderer.size=300", "renderer.size: Input should be 128, 256, 512, 720 or 1024"),
        ("tracking.face=smallest", "tracking.face cannot be 'smallest'; it is the face to follow"),
        ("output.label=生成", "it is text in the lower left corner"),
        ("output.background_colour=green", "it is the colour of the background, #rrggbb"),
        ("source.webcam.fourcc=MJ", "source.webcam.fourcc cannot be 'MJ'; it is the pixel format"),
        ("sink.http_port=80", "unknown setting sink.http_port; did you mean sink.http.port?"),
        ("sink.http.prt=80", "did you mean sink.http.port?"),
        ("sink.htpp.port=80", "did you mean sink.http.port?"),
        ("sink.http=80", "sink.http is a section"),
        ("sink.http.quality=101", "sink.http.quality: Input should be less than or equal to 100"),
        ("source.webcam.width=wide", "source.webcam.width: Input should be a valid integer"),
        ("fusion.mouth.x=1", "unknown setting fusion.mouth.x"),
        ("drive.units.smile=1", "unknown setting drive.units.smile; did you mean drive.units."),
        ("drive.unit.jaw_drop=1", "did you mean drive.units.jaw_drop?"),
        ("drive.units.jaw_drop=1.2", "drive.units.jaw_drop: Input should be less than or equal"),
        ("drive.units.jaw_drop=-0.1", "drive.units.jaw_drop: Input should be greater than or"),
        ("drive.units.jaw_drop=wide", "drive.units.jaw_drop: Input should be a valid number"),
        ("drive.units=1", "drive.units is a section"),
        ("output.label=true", "output.label cannot be True; it is text in the lower left corner"),
    ],
)
def test_a_wrong_assignment_is_told_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(assignments=[text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[drive]\nintensity = ", "not a readable TOML file"),
        ("intensity = 1", "unknown setting intensity"),
        ("fusion = 1", "fusion is a section"),
        ("[drive]\nintensty = 1", "did you mean drive.intensity"),
        ("drive = " + "[" * 3000, "not a readable TOML file"),
        ("[drive]\nintensity = " + "9" * 5000, "not a readable TOML file"),
        ("[output]\nlabel = 2026-11-30", "output.label cannot be datetime.date(2026, 11, 30)"),
    ],
)
def test_a_wrong_file_is_told_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert message in str(caught.value)
    assert "live.toml" in str(caught.value)


def test_a_missing_file_and_a_binary_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no settings file"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ConfigError, match=r"live\.toml(; check| cannot be read: Not a dir)"):
        load_settings(tmp_path / "picture.toml" / "live.toml")
    (tmp_path / "powershell.toml").write_text("[fusion]\nmouth = 1.2\n", encoding="utf-16")
    for name in ("picture.toml", "powershell.toml"):
        with pytest.raises(ConfigError, match=f"{name} is not text in UTF-8; save it"):
            load_settings(tmp_path / name)


def names_in(values: Mapping[str, Any], section: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from names_in(value, f"{section}{key}.")
        else:
            yield section + key


def test_every_setting_is_described_with_its_default() -> None:
    described = {name: (default, text) for name, _, default, text in describe()}
    settings = Settings()
    common = set(names_in(settings.model_dump()))
    parts = {"source.webcam.width", "remote.hotkeys.keys", "sink.http.port"}
    assert common < set(described)
    assert parts | {"sink.file.crf"} <= set(described) - common
    for name, (default, text) in described.items():
        assert len(text) > 10
        if name in common:
            assert attrgetter(name)(settings) == default


def test_the_sections_of_parts_come_from_a_file_too(tmp_path: Path) -> None:
    path = write(tmp_path, "[source.webcam]\nwidth = 640\n[renderer]\nsize = 128\n")
    settings = load_settings(path, ["source.webcam.height=480"])
    webcam = settings.source.part("webcam", WebcamSettings)
    assert (webcam.width, webcam.height, webcam.fps) == (640, 480, WebcamSettings().fps)
    assert settings.renderer.size == 128
    assert Settings().source.part("webcam", WebcamSettings) == WebcamSettings()


def test_another_parts_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="http takes HttpSettings, not WebcamSettings"):
        SinkSettings(http=WebcamSettings()).part("http", HttpSettings)


def test_a_setting_that_is_assigned_later_is_checked_too() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="less than or equal to 2"):
        settings.drive.intensity = 5.0
    assert settings.drive.intensity == 1.0


def test_every_action_unit_can_be_set_by_hand() -> None:
    assert tuple(UnitSettings.model_fields) == (*ACTION_UNITS, "tongue")
    assert not any(value for _, value in UnitSettings())
