"""The commands that list parts, cameras and targets."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reenact.cli.main import main
from reenact.cli.parser import build_parser
from reenact.errors import PluginError
from reenact.targets.store import TargetStore
from reenact.testing.portrait import portrait_target
from support.portraits import astronaut


def test_plugins_lists_all_parts_and_says_why_one_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reenact import registry

    load = registry.load

    def load_all_but_window(group: registry.Group, name: str) -> registry.AnySpec:
        if name == "window":
            raise PluginError("The sink 'window' could not be loaded: no libGL.")
        return load(group, name)

    monkeypatch.setattr(registry, "load", load_all_but_window)
    assert main(["plugins"]) == 0
    text = capsys.readouterr().out
    for group in registry.GROUPS:
        for name in registry.available(group):
            assert re.search(rf"^  {name}\b", text, re.M)
    assert "no libGL" in text


def test_doctor_exits_with_2_only_if_a_required_part_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reenact.cli import doctor
    from reenact.cli.doctor_report import Check

    checks = [Check("OBS", "missing", "not installed", "install it")]
    monkeypatch.setattr(doctor, "run", lambda try_obs=False: checks)
    assert main(["doctor"]) == 0
    assert "install it" in capsys.readouterr().out
    checks.append(Check("cv2", "missing", "no libGL", "get it"))
    assert main(["doctor"]) == 2
    assert "get it" in capsys.readouterr().out


def test_cameras_prints_each_as_it_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reenact.sources import camera_devices as cameras

    found = [cameras.CameraInfo(2, "HD Webcam"), cameras.CameraInfo(7, "Loop", is_loopback=True)]
    monkeypatch.setattr(cameras, "list_cameras", lambda: found)
    assert main(["cameras"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "webcam:2  HD Webcam"
    assert lines[1].startswith("webcam:7  Loop  (")


def test_a_name_that_the_encoding_of_stdout_lacks_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, printed = str(save_astronaut(tmp_path)), io.BytesIO()
    assert main(["target", "create", "Анна", "--from", photo, "--yes"]) == 0
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "cp1252"))
    assert main(["target", "list"]) == 0
    assert printed.getvalue().startswith(b"????")


@pytest.mark.parametrize("command", ["create", "add"])
def test_pictures_may_be_named_by_one_option_each(command: str) -> None:
    words = ["target", command, "ada", "--from", "a.png", "b.png", "--from", "c.png"]
    for _ in range(2):
        arguments = build_parser().parse_args(words)
        assert arguments.sources == [Path("a.png"), Path("b.png"), Path("c.png")]


def test_a_face_is_chosen_by_a_number_or_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["target", "create", "ada", "--from", "a.png"]
    assert build_parser().parse_args(words).face == "largest"
    for face in ("0", "12", "largest", "centre"):
        assert build_parser().parse_args([*words, "--face", face]).face == face
    for face in ("left", "-1", "1.5", "2nd"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([*words, f"--face={face}"])
        assert f"{face} is neither largest nor centre nor a number" in capsys.readouterr().err


def test_a_face_of_a_group_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one that is told to be the largest, or another."""
    photo = str(save_astronaut(tmp_path, beside=True))
    assert main(["target", "create", "ada", "--from", photo, "--yes"]) == 0
    assert "There are 2 faces" in capsys.readouterr().err
    assert main(["target", "create", "eve", "--from", photo, "--yes", "--face", "0"]) == 0
    assert "There are 2 faces" not in capsys.readouterr().err
    ada, eve = TargetStore().load("ada"), TargetStore().load("eve")
    assert eve.crop_to_plate[0, 2] < ada.crop_to_plate[0, 2] - 100
    placed = ["--landmarks", "points.toml", "--face", "0"]
    assert main(["target", "create", "bob", "--from", photo, "--yes", *placed]) == 2
    assert "leave --face out" in capsys.readouterr().err


def test_settings_are_kept_with_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    TargetStore().create(replace(portrait_target(), name="ada"))
    words = ["target", "settings", "ada"]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    assert main([*words, "--set", "fusion.mouth=1.3", "--set", "output.background=blur"]) == 0
    assert main([*words, "--set", "fusion.mouth=1.2"]) == 0
    capsys.readouterr()
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert sorted(shown) == ["fusion.mouth=1.2", 'output.background="blur"']
    assert main([*words, "--reset", "--set", shown[0]]) == 0
    assert capsys.readouterr().out.splitlines() == shown[:1]
    assert main([*words, "--reset"]) == 0
    assert capsys.readouterr().out == ""
    assert main([*words, "--set", "renderer.name=warp"]) == 2
    assert "cannot belong to a target" in capsys.readouterr().err
    assert main(["target", "settings", "robin"]) == 2
    assert "built in" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["create", "add"])
def test_the_usage_writes_the_name_where_it_is_understood(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After --from it would be one more file."""
    with pytest.raises(SystemExit):
        build_parser().parse_args(["target", command, "--from", "a.png", "ada"])
    usage = capsys.readouterr().err
    assert 0 < usage.index("NAME") < usage.index("--from")
    with pytest.raises(SystemExit):
        build_parser().parse_args(["target", command, "--help"])
    usage, _, listed = capsys.readouterr().out.partition("options:")
    options = re.findall(r"^  (?:-h, )?(--[a-z]+)", listed, re.MULTILINE)
    assert set(options) - {"--help"} == set(re.findall(r"--[a-z]+", usage.partition("\n\n")[0]))


def test_targets_are_created_listed_shown_exported_renamed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, exported = str(save_astronaut(tmp_path)), str(tmp_path / "ada.reenact-target")
    assert main(["target", "create", "ada", "--from", photo, "--yes"]) == 0
    assert main(["target", "export", "ada", exported]) == 0
    before = Path(exported).read_bytes()
    assert main(["target", "export", "robin", exported]) == 2
    assert "already exists" in capsys.readouterr().err
    assert Path(exported).read_bytes() == before
    assert main(["target", "export", "ada", exported, "--yes"]) == 0
    assert main(["target", "import", exported, "--name", "eve"]) == 0
    capsys.readouterr()
    assert main(["target", "list"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["ada", "eve"]
    assert main(["target", "show", "eve"]) == 0
    assert "consent: confirmed on the command line" in capsys.readouterr().out
    assert main(["target", "rename", "eve", "mia"]) == 0
    assert main(["target", "remove", "ada"]) == 0
    capsys.readouterr()
    assert main(["target", "list"]) == 0
    assert capsys.readouterr().out.split()[0] == "mia"


def save_astronaut(folder: Path, *, beside: bool = False) -> Path:
    """Save the astronaut's picture; `beside`: her head twice, the larger one at the right."""
    from PIL import Image as PillowImage

    path, picture = folder / "ada.png", PillowImage.fromarray(astronaut())
    if beside:
        head = picture.crop((74, 0, 374, 300))
        picture = PillowImage.new("RGB", (550, 300), (110, 110, 110))
        picture.paste(head.resize((240, 240)), (0, 0))
        picture.paste(head, (250, 0))
    picture.save(path)
    return path
