"""The command line: its help, its exit codes, and one sentence for each mistake."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from reenact.cli import commands
from reenact.cli.main import main
from reenact.cli.parser import build_parser, parse_arguments
from reenact.cli.training_parser import TRAIN_PREPARE
from reenact.errors import SourceError
from reenact.live.settings import describe
from reenact.targets.store import TargetStore
from support.clips import write_clip
from support.portraits import box_target, smooth_picture


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error message, after checking that it is all that was printed to stderr."""
    text = capsys.readouterr().err.strip()
    assert text.startswith("reenact: ")
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    return text


def parsers(
    parser: argparse.ArgumentParser, *before: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command below a parser, as it is typed, with its own parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                words = (*before, name.replace(TRAIN_PREPARE, "train prepare"))
                yield " ".join(words), child
                yield from parsers(child, *words)


COMMANDS = dict(parsers(build_parser()))


# Help


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reenact", "target", "list", "--frob"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("reenact: error: unrecognized arguments: --frob\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert f"usage: reenact {command}" in capsys.readouterr().out
    options = [action for action in COMMANDS[command]._actions if action.option_strings]
    assert options
    assert all(action.help for action in options)


def test_help_of_live_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["live", "--help"])
    text = capsys.readouterr().out
    for name, _, default, _ in describe():
        assert re.search(rf"^  {re.escape(name)} \(.*{re.escape(repr(default))}\)$", text, re.M)
    assert "(live)" in text


def test_the_help_of_train_tells_that_no_training_is_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "(default: a folder with an earlier training is refused)" in told


def test_without_arguments_the_panel_opens() -> None:
    typed = parse_arguments([])
    assert typed.run is parse_arguments(["panel"]).run
    assert parse_arguments(["--no-browser"]).no_browser
    assert (typed.listen, typed.port, typed.target) == ("", 0, "")


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert all(f"    {name} " in told.out for name in COMMANDS if " " not in name)


def test_arguments_are_parsed() -> None:
    typed = parse_arguments(
        ["live", "my.toml", "--source", "video:a.mp4", "--target", "ada", "--sink", "window",
         "--sink", "file:b.mp4", "--set", "fusion.mouth=1.1", "--set", "fusion.eyes=0",
         "--report", "r.json"]
    )  # fmt: skip
    assert typed.config == Path("my.toml")
    assert typed.sink == ["window", "file:b.mp4"]
    assert typed.assignments == ["fusion.mouth=1.1", "fusion.eyes=0"]
    assert typed.report == Path("r.json")


# Exit codes


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SourceError("The camera is gone."), 2, "reenact: The camera is gone."),
        # A folder that may not be entered: even whether the file exists cannot be asked.
        (
            PermissionError(errno.EACCES, "Permission denied", "/root/a.mp4"),
            2,
            "reenact: /root/a.mp4: Permission denied.",
        ),
        # Not every call of the system names its file.
        (OSError(errno.ENOSPC, "No space left on device"), 2, "reenact: No space left on device."),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(arguments: Namespace) -> int:
        raise error

    monkeypatch.setattr(commands, "plugins", fail)
    assert main(["plugins"]) == code
    assert capsys.readouterr().err.strip() == message


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_lets_a_command_clean_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned_up = []

    def wait(arguments: Namespace) -> int:
        try:
            signal.raise_signal(signal.Signals[name])
        finally:
            cleaned_up.append(name)
        return 0

    monkeypatch.setattr(commands, "plugins", wait)
    before = signal.signal(signal.Signals[name], lambda *_: None)
    try:
        assert main(["plugins"]) == 130
    finally:
        signal.signal(signal.Signals[name], before)
    assert cleaned_up == [name]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to root"
)
@pytest.mark.parametrize(
    "option", ["--target={}", "--source=video:{}", "--source=image:{}", "--sink=file:{}"]
)
def test_a_folder_that_may_not_be_entered_is_one_sentence(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    usual = ["--source", "pattern", "--target", "robin", "--sink", "null"]
    assert main(["live", *usual, option.format(folder / "a.mp4")]) == 2
    assert "Permission denied" in one_sentence(capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="finds no file of such a name")
@pytest.mark.parametrize("option", ["--target={}", "--sink=file:{}.mp4", "--source=video:{}"])
def test_a_name_that_is_too_long_is_a_mistake(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--source", "pattern", "--target", "robin", "--sink", "null"]
    assert main(["live", *usual, option.format("x" * 300)]) == 2
    assert "too long" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise ImportError('libGL.so.1: cannot open shared object file')",
            "A library cannot be loaded: libGL.so.1: cannot open shared object file",
        ),
        ("import absent_library", "A library cannot be loaded: No module named 'absent_library'"),
        ("import emptied; emptied.resize", "The library emptied has lost its files"),
    ],
)
def test_a_library_that_is_missing_or_broken_is_one_sentence(
    code: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fresh Debian without libgl1 is where the first command meets it."""
    (tmp_path / "emptied").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(commands, "cameras", lambda arguments: exec(code))
    try:
        assert main(["cameras"]) == 2
    finally:
        sys.modules.pop("emptied", None)
    assert one_sentence(capsys) == (
        f"reenact: {message}; run `reenact doctor`, which says what to do."
    )


@pytest.mark.parametrize(
    "code", ["from reenact import types as t; t.absent", "from reenact.types import absent"]
)
def test_a_name_that_the_program_lacks_is_a_bug(
    code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "cameras", lambda arguments: exec(code))
    assert main(["cameras"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_exits_with_1_and_prints_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: Namespace) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "plugins", fail)
    assert main(["plugins"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["live"], "--target"),
        (["live", "none.toml", "--target", "astronaut"], "none.toml"),
        (["live", ".", "--target", "astronaut"], ". is a folder; name a settings file"),
        (["live", "--target", "astronaut", "--set", "fusion.mouht=1"], "fusion.mouth"),
        (["live", "--target", "nobody"], "'nobody'"),
        (["live", "--target", "astronaut", "--source", "webcm:0"], "Did you mean webcam?"),
        (["live", "--target", "astronaut", "--source", "video:none.mp4"], "none.mp4"),
        (["live", "--target", "astronaut", "--source", "pattern", "--sink", "fil:a"], "'fil'"),
        (
            ["live", "--target", "astronaut", "--source", "pattern", "--sink", "file:no/out.mp4"],
            "no/out.mp4",
        ),
        (
            [
                "live",
                "--target",
                "astronaut",
                "--source",
                "pattern",
                "--sink",
                "file:a.mp4",
                "--sink",
                "file:./a.mp4",
            ],
            "Two outputs write to",
        ),
        (["live", "--target", "astronaut", "--report", "no/report.json"], "no/report.json"),
        (["live", "--target", "astronaut", "--source", "talk.mp4"], "For a file write video:PATH"),
        (
            ["live", "--target", "astronaut", "--source", "pattern", "--sink", "out.mp4"],
            "For a file write file:PATH.",
        ),
        (["live", "--target", "astronaut", "--port", "8000"], "--port is for the panel; add"),
        (["live", "--target", "astronaut", "--no-browser"], "--no-browser is for the panel; add"),
        (["target", "show", "nobody"], "'nobody'"),
        (["target", "train", "astronaut"], "Make one of your own"),
        (["target", "create", "con", "--from", "a.png"], "'con' is the name of a device"),
        (["target", "rename", "nobody", "ada"], "'nobody'"),
        (["target", "remove", "nobody"], "'nobody'"),
        (["target", "import", "none.reenact-target"], "none.reenact-target"),
        (["target", "create", "astronaut", "--from", "a.png"], "built in"),
        (["target", "create", "ada", "--yes", "--from", "none.png"], "none.png"),
        (["train", "none.toml"], "none.toml"),
        (["evaluate", "--renderer", "warp", "--data", "none", "--json", "r.json"], "none"),
        (["bench", "--json", "no/bench.json"], "no/bench.json"),
        (["bench", "--glass-to-glass", "window"], "camera and obs, not from window"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_reported_in_one_sentence_and_leaves_no_file(
    typed: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main(typed) == 2
    assert message in one_sentence(capsys)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_no_machine_has_is_refused(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["panel", "--port", port])
    assert ended.value.code == 2
    assert "argument --port" in capsys.readouterr().err


def test_a_folder_that_is_a_file_is_refused_by_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "network").touch()
    assert main(["export", str(tmp_path / "network"), "--format", "openvino"]) == 2
    assert "network is a file; name a folder" in one_sentence(capsys)


def test_the_generator_of_a_target_is_not_mistaken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))
    TargetStore().create(box_target(smooth_picture((320, 240)), 60, 20, 160, name="anna"))
    words = ["export", str(tmp_path / "out"), "--format", "openvino", "--target", "anna"]
    assert main([*words, "--renderer", "fan2023"]) == 2
    assert "anna is drawn by warp_unet; leave out --renderer" in one_sentence(capsys)
    assert main([*words, "--renderer", "warp_unet"]) == 2
    assert "anna has no weights of its own" in one_sentence(capsys)


SLOW_DATA = """
import signal

def build_recipe(settings):
    signal.raise_signal(signal.SIGINT)
    raise AssertionError("the program went on after Ctrl-C")
"""


def test_ctrl_c_while_a_training_loads_its_data_ends_it_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow_data.py").write_text(SLOW_DATA)
    monkeypatch.syspath_prepend(tmp_path)
    folder = (tmp_path / "run").as_posix()
    file = tmp_path / "slow.toml"
    file.write_text(f'recipe = "slow_data:build_recipe"\nfolder = "{folder}"\nsteps = 1\n')
    assert main(["train", str(file)]) == 130
    assert "saving" not in capsys.readouterr().err
    assert not Path(folder).exists()


def test_preparing_nothing_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert main(["train", "prepare", str(tmp_path), str(tmp_path / "clips")]) == 2
    told = capsys.readouterr()
    assert "left out: text" in told.out
    assert "No clip could be made" in told.err


@pytest.mark.parametrize("read", ["source", "target"])
def test_a_source_or_target_is_never_overwritten(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "mine.mp4", frames=3)
    before = clip.read_bytes()
    words = {"source": "pattern", "target": "astronaut"}
    words[read] = {"source": f"video:{clip}", "target": str(clip)}[read]
    typed = ["live", "--source", words["source"], "--target", words["target"]]
    assert main([*typed, "--sink", "null", "--sink", "file:mine.mp4"]) == 2
    assert f"mine.mp4 is the {read} itself" in one_sentence(capsys)
    assert main([*typed, "--sink", "null", "--report", "mine.mp4"]) == 2
    assert "mine.mp4 already exists and is no .json file" in one_sentence(capsys)
    assert clip.read_bytes() == before
