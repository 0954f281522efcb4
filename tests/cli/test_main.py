"""The command line: exit codes, one sentence for each mistake, and whole runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from reenact.cli import commands
from reenact.cli.main import main
from reenact.cli.parser import parse_arguments
from reenact.errors import PluginError, SourceError
from reenact.live.settings import describe
from reenact.sources.video_file import VideoSource
from reenact.targets.library import open_target
from reenact.types import Image
from support.clips import write_clip
from support.fakes import until
from support.portraits import astronaut
from support.program import reenact

COMMANDS = (
    ["demo"],
    ["live"],
    ["target"],
    ["target", "create"],
    ["target", "list"],
    ["target", "show"],
    ["target", "export"],
    ["target", "import"],
    ["target", "rename"],
    ["target", "remove"],
    ["train"],
    ["evaluate"],
    ["bench"],
    ["export"],
    ["plugins"],
    ["cameras"],
    ["doctor"],
)
REPORT_KEYS = {
    "frames_in", "frames_out", "drops", "fps", "latency_ms", "steps_ms", "faces_lost",
    "frames_limited", "device", "renderer", "size",
}  # fmt: skip


posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))


def read_video(path: Path) -> list[Image]:
    images = []
    with VideoSource(str(path), False) as source:
        while (frame := source.read()) is not None:
            images.append(frame.image)
    return images


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the user is told, after checking that it is all he is told."""
    text = capsys.readouterr().err.strip()
    assert text.startswith("reenact: ")
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    return text


# Help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: reenact" in capsys.readouterr().out


def test_help_of_live_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["live", "--help"])
    text = capsys.readouterr().out
    for name, _, default, _ in describe():
        assert re.search(rf"^  {re.escape(name)} \(.*{re.escape(repr(default))}\)$", text, re.M)
    assert "Session.update" in text


def test_nothing_typed_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert all(f"    {command[0]} " in told.out for command in COMMANDS)


def test_an_unknown_command_is_a_mistake() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2


def test_what_is_typed_arrives() -> None:
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
    ("error", "code"), [(SourceError("The camera is gone."), 2), (KeyboardInterrupt(), 130)]
)
def test_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(arguments: Namespace) -> int:
        raise error

    monkeypatch.setattr(commands, "plugins", fail)
    assert main(["plugins"]) == code
    if code == 2:
        assert one_sentence(capsys) == "reenact: The camera is gone."


def test_a_bug_is_1_and_shows_its_traceback(
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
        (["live", "--target", "astronaut", "--set", "fusion.mouht=1"], "fusion.mouth"),
        (["live", "--target", "nobody"], "'nobody'"),
        (["live", "--target", "astronaut", "--source", "webcm:0"], "Did you mean webcam?"),
        (["live", "--target", "astronaut", "--source", "video:none.mp4"], "none.mp4"),
        (["live", "--target", "astronaut", "--source", "pattern", "--sink", "fil:a"], "'fil'"),
        (
            ["live", "--target", "astronaut", "--source", "pattern", "--sink", "file:no/out.mp4"],
            "no/out.mp4",
        ),
        (["live", "--target", "astronaut", "--report", "no/report.json"], "no/report.json"),
        (["target", "show", "nobody"], "'nobody'"),
        (["target", "rename", "nobody", "ada"], "'nobody'"),
        (["target", "remove", "nobody"], "'nobody'"),
        (["target", "import", "none.reenact-target"], "none.reenact-target"),
        (["target", "create", "astronaut", "--from", "a.png"], "built in"),
        (["target", "create", "ada", "--yes", "--from", "none.png"], "none.png"),
        (["train", "none.toml"], "none.toml"),
        (["evaluate", "--renderer", "warp", "--data", "none", "--json", "r.json"], "none"),
        (["bench", "--json", "no/bench.json"], "no/bench.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_sentence_and_leaves_nothing(
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


@pytest.mark.parametrize("read", ["source", "target"])
def test_what_is_read_is_never_written_over(
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
    assert clip.read_bytes() == before


# Lists


def test_plugins_lists_all_and_tells_why_one_is_broken(
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


def test_doctor_ends_with_2_only_where_a_needed_part_is_missing(
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


def test_cameras_names_each_as_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reenact.sources import camera_devices as cameras

    found = [cameras.CameraInfo(2, "HD Webcam"), cameras.CameraInfo(7, "Loop", is_loopback=True)]
    monkeypatch.setattr(cameras, "list_cameras", lambda: found)
    assert main(["cameras"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "webcam:2  HD Webcam"
    assert lines[1].startswith("webcam:7  Loop  (")


def test_targets_are_made_listed_shown_handed_on_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, exported = str(save_astronaut(tmp_path)), str(tmp_path / "ada.reenact-target")
    assert main(["target", "create", "ada", "--from", photo, "--yes"]) == 0
    assert main(["target", "export", "ada", exported]) == 0
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


def save_astronaut(folder: Path) -> Path:
    from PIL import Image as PillowImage

    path = folder / "ada.png"
    PillowImage.fromarray(astronaut()).save(path)
    return path


# Whole runs


def swaying(index: int) -> Image:
    """The portrait, shifted to and fro."""
    return np.roll(astronaut(), round(8 * np.sin(index / 4)), axis=1)


def test_every_frame_of_a_video_comes_out_with_a_report(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=25, fps=25, picture=swaying)
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", f"file:{out}"]
    typed += ["--sink", "null", "--set", "renderer.name=warp", "--report", str(report)]
    assert main(typed) == 0
    figures = json.loads(report.read_text())
    assert set(figures) == REPORT_KEYS
    assert figures["frames_in"] == figures["frames_out"] == 25
    assert figures["drops"] == {}
    assert figures["renderer"] == "warp"
    assert {"read", "track", "fuse", "render", "blend", "paste", "write"} <= set(
        figures["steps_ms"]
    )
    images = read_video(out)
    assert len(images) == 25
    assert list(images[0].shape[1::-1]) == figures["size"]


def test_an_odd_set_of_outputs_goes_on_with_those_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    typed = ["live", "--source", "pattern", "--target", "astronaut", "--sink", f"file:{out}"]
    typed += ["--sink", "camera:no-such-device", "--set", "renderer.name=warp"]
    typed += ["--set", "source.pattern.frames=10"]
    assert main(typed) == 0
    assert "The other outputs go on." in capsys.readouterr().err
    assert len(read_video(out)) == 10


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from reenact.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("beside", [["--sink", "null"], []])
def test_a_file_that_failed_is_told_at_the_end_and_not_named_as_written(
    beside: list[str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=15, picture=swaying)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut"]
    typed += ["--sink", "file:full.mp4", *beside, "--set", "renderer.name=warp"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    last = done.stderr.strip().splitlines()
    assert done.returncode == (0 if beside else 2), done.stderr
    assert "cannot be written: File too large" in last[-1]
    assert "frames in" in last[-2]
    assert not (tmp_path / "full.mp4").exists()


def start_endless(folder: Path, *typed: str) -> subprocess.Popen[str]:
    """Start a run that writes out.mp4 and does not end by itself; its errors come by a pipe."""
    command = reenact("live", "--target", "astronaut", *typed)
    command += ["--set", "renderer.name=warp", "--sink", f"file:{folder / 'out.mp4'}"]
    # Under nohup a closed terminal is ignored, and whatever is started inherits that.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    finally:
        signal.signal(signal.SIGHUP, inherited)


def let_it_write(process: subprocess.Popen[str], partial: Path) -> None:
    """Wait until a run has begun its file, and a little longer."""
    until(lambda: partial.exists() or process.poll() is not None, timeout_s=120.0)
    time.sleep(1.5)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_leaves_a_playable_file_and_a_report(tmp_path: Path, name: str) -> None:
    report, partial = tmp_path / "report.json", tmp_path / "out.partial.mp4"
    size = ["--set", "source.pattern.width=320", "--set", "source.pattern.height=240"]
    with start_endless(tmp_path, "--source", "pattern", *size, "--report", str(report)) as process:
        try:
            let_it_write(process, partial)
            process.send_signal(signal.Signals[name])
            _, errors = process.communicate(timeout=20.0)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    figures = json.loads(report.read_text())
    assert set(figures) == REPORT_KEYS
    images = read_video(tmp_path / "out.mp4")
    assert len(images) == figures["frames_out"] > 10
    assert not partial.exists()
    # Without a face the target stays at rest; the source's colour bars are nowhere.
    rest = open_target("astronaut").plate.astype(int)
    assert max(np.abs(image - rest).mean() for image in images) < 4.0


@posix
def test_a_run_whose_messages_nobody_reads_any_more_can_be_ended(tmp_path: Path) -> None:
    clip, partial = write_clip(tmp_path / "actor.mp4", frames=25), tmp_path / "out.partial.mp4"
    looped = ["--source", f"video:{clip}", "--set", "source.video.loop=true"]
    with start_endless(tmp_path, *looped) as process:
        try:
            assert process.stderr is not None
            until(partial.exists, timeout_s=120.0)
            process.stderr.close()
            let_it_write(process, partial)  # its progress line fails meanwhile
            process.send_signal(signal.SIGINT)
            process.wait(20.0)
        finally:
            process.kill()
    assert not partial.exists()
    assert len(read_video(tmp_path / "out.mp4")) > 10
