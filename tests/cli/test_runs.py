"""Whole runs of the program, to their end and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact.cli.main import main
from reenact.errors import counted
from reenact.live.presets import give_settings
from reenact.sources.video_file import VideoSource
from reenact.targets.library import TargetStore, open_target
from reenact.testing.portrait import portrait_target
from reenact.training.preparation import Summary
from reenact.types import Image
from support.clips import read_all, write_clip
from support.fakes import until
from support.portraits import astronaut, on_canvas, write_jpeg
from support.program import reenact

REPORT_KEYS = {
    "frames_in", "frames_out", "drops", "fps", "latency_ms", "steps_ms", "faces_lost",
    "frames_limited", "frames_still", "device", "renderer", "size",
}  # fmt: skip


posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")


def read_video(path: Path) -> list[Image]:
    return [frame.image for frame in read_all(VideoSource(str(path)))]


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


@pytest.mark.parametrize(
    ("sink", "told"),
    [("file:", "Name the file"), ("landmarks:", "Name the file"), ("file:a.txt", "extension")],
)
def test_a_file_that_cannot_be_written_is_told_before_a_target_is_made(
    sink: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "target.jpg").write_text("no picture, which would be told next")
    typed = ["live", "--source", "pattern", "--target", str(tmp_path / "target.jpg")]
    assert main([*typed, "--sink", sink]) == 2
    assert told in capfd.readouterr().err


def test_no_output_replaces_what_the_run_reads_or_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, track, report = (tmp_path / name for name in ("live.toml", "track.csv", "report.json"))
    config.write_text(f"[drive]\ntrack = {str(track)!r}\n")
    track.write_text("time_s,happy\n0,1\n")
    before = config.read_bytes(), track.read_bytes()
    typed = ["live", str(config), "--source", "pattern", "--target", "astronaut"]
    typed += ["--report", str(report), "--set", "output.overwrite=true"]
    for path, told in ((config, "is the CONFIG"), (track, "is the track"), (report, "Two outputs")):
        assert main([*typed, "--sink", f"landmarks:{path}"]) == 2
        assert told in capsys.readouterr().err
    for more in ([], ["--panel", "--no-browser"]):
        reports = ((config, "no .json file"), (tmp_path / "no" / "report.json", "no folder"))
        for path, told in reports:
            assert main([*typed, *more, "--sink", "null", "--report", str(path)]) == 2
            assert told in capsys.readouterr().err
    table = tmp_path / "track.json"
    table.write_text('{"time_s": 0, "happy": 1}\n{"time_s": 9, "happy": 1}\n')
    typed = [*typed, "--set", f"drive.track={table}", "--report", str(table), "--sink", "null"]
    assert main(typed) == 2
    assert "is the track" in capsys.readouterr().err
    assert (config.read_bytes(), track.read_bytes()) == before


def test_nothing_of_the_libraries_is_printed_when_a_face_is_found(tmp_path: Path) -> None:
    picture = write_jpeg(tmp_path / "wide.jpg", on_canvas(astronaut()[:300], (640, 300), (0, 0)))
    store = TargetStore(tmp_path / "targets")
    store.create(replace(portrait_target(256), name="stored"))
    typed = ["live", "--source", f"image:{picture}", "--target", "stored", "--sink", "null"]
    typed += ["--set", "renderer.name=warp", "--set", "source.image.frames=3"]
    done = subprocess.run(
        [sys.executable, "-m", "reenact.cli.main", *typed],
        env=os.environ | {"REENACT_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0
    assert done.stderr.startswith("3 frames in, 3 out"), done.stderr


def test_a_video_without_a_face_is_no_mistake_if_an_emotion_or_a_hand_drives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "wall.mp4", frames=3)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", "null"]
    typed += ["--set", "renderer.name=warp"]
    assert main(typed) == 2
    assert "There is no face in wall.mp4" in capsys.readouterr().err
    for assignment in ("drive.emotion=happy", "drive.units.mouth_open=0.5"):
        assert main([*typed, "--set", assignment]) == 0


def test_a_run_begins_with_the_targets_own_settings_unless_others_are_typed(
    tmp_path: Path,
) -> None:
    store = TargetStore()
    store.create(replace(portrait_target(), name="ada"))
    give_settings(store, "ada", ['output.shape="16:9"'])
    clip = write_clip(tmp_path / "actor.mp4", 2, size=(512, 512), picture=lambda _: astronaut())
    typed = ["live", "--source", f"video:{clip}", "--target", "ada", "--set", "renderer.name=warp"]
    sizes = []
    for name, more in (("own", []), ("typed", ["--set", "output.shape=picture"])):
        out = tmp_path / f"{name}.mp4"
        assert main([*typed, *more, "--sink", f"file:{out}"]) == 0
        sizes.append(read_video(out)[0].shape)
    assert sizes[0][1] > 1.7 * sizes[0][0]
    assert sizes[1][0] == sizes[1][1]


def test_one_frame_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=1, picture=swaying)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", "null"]
    assert main([*typed, "--set", "renderer.name=warp"]) == 0
    assert "1 frame in, 1 out" in capsys.readouterr().err
    summary = Summary(written=1, people=1, frames=1, seconds=1.0)
    assert "0 items done before; 1 person; 1 frame in 1.0 s" in summary.text()
    assert counted(2, "person", "people") == "2 people"


def test_the_outputs_that_work_go_on_without_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    typed = ["live", "--source", "pattern", "--target", "astronaut", "--sink", f"file:{out}"]
    typed += ["--sink", "camera:no-such-device", "--set", "renderer.name=warp"]
    typed += ["--set", "source.pattern.frames=10"]
    assert main(typed) == 2
    assert "The other outputs go on." in capsys.readouterr().err
    assert len(read_video(out)) == 10


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from reenact.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

has_file_limit = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no limit on the size of files"
)


def run_limited(limit: int, folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    """Run reenact in a folder where no file can have more bytes than the limit."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *typed],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@has_file_limit
@pytest.mark.parametrize("beside", [["--sink", "null"], []])
def test_a_file_that_failed_is_reported_at_the_end_and_not_listed_as_written(
    beside: list[str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=15, picture=swaying)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut"]
    typed += ["--sink", "file:full.mp4", *beside, "--set", "renderer.name=warp"]
    done = run_limited(4000, tmp_path, *typed)
    last = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert "cannot be written: it is too large for this disk" in last[-1]
    assert "frames in" in last[-2]
    assert not (tmp_path / "full.mp4").exists()


@has_file_limit
def test_a_report_that_cannot_be_written_does_not_hide_the_figures(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=3, picture=swaying)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", "null"]
    typed += ["--set", "renderer.name=warp", "--report", "report.json"]
    done = run_limited(100, tmp_path, *typed)
    assert done.returncode == 2
    assert [line[:20] for line in done.stderr.splitlines()] == [
        "3 frames in, 3 out a",
        "reenact: report.json",
    ]


def start_endless(folder: Path, *typed: str) -> subprocess.Popen[str]:
    """Start an endless run that writes out.mp4; its stderr is a pipe."""
    command = reenact("live", "--target", "astronaut", *typed)
    command += ["--set", "renderer.name=warp", "--sink", f"file:{folder / 'out.mp4'}"]
    # nohup ignores SIGHUP, and child processes inherit that.
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


def is_written(partial: Path) -> bool:
    """Return whether a run writes this file; while it starts, it only tries the name."""
    try:
        return partial.stat().st_size > 0
    except FileNotFoundError:
        return False


def let_it_write(process: subprocess.Popen[str], partial: Path) -> None:
    """Wait until a run has started to write its file, and a little longer."""
    until(lambda: is_written(partial) or process.poll() is not None, timeout_s=120.0)
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
    assert len(images) == figures["frames_out"] > 0
    assert not partial.exists()
    # Without a face the target keeps almost still, and the colour bars of the source, which differ
    # from it by 116 levels, are not shown.
    rest = open_target("astronaut").plate.astype(int)
    assert max(np.abs(image - rest).mean() for image in images) < 8.0


@posix
def test_a_run_can_be_ended_after_its_stderr_was_closed(tmp_path: Path) -> None:
    clip, partial = write_clip(tmp_path / "actor.mp4", frames=25), tmp_path / "out.partial.mp4"
    looped = ["--source", f"video:{clip}", "--set", "source.video.loop=true"]
    with start_endless(tmp_path, *looped) as process:
        try:
            assert process.stderr is not None
            until(lambda: is_written(partial), timeout_s=120.0)
            process.stderr.close()
            let_it_write(process, partial)  # its progress line fails meanwhile
            process.send_signal(signal.SIGINT)
            process.wait(20.0)
        finally:
            process.kill()
    assert not partial.exists()
    assert read_video(tmp_path / "out.mp4")


@posix
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("typed", ["plugins", "target list"])
def test_a_full_disk_under_stdout_is_one_sentence(typed: str, buffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            reenact(*typed.split()),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
        )
    assert done.returncode == 2
    assert done.stderr == "reenact: standard output: No space left on device.\n"


@posix
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("typed", ["plugins", "target list", "--help"])
def test_a_closed_pipe_ends_a_command_in_silence(typed: str, buffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        reenact(*typed.split()),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_a_home_that_cannot_be_written_is_no_matter_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    clip = write_clip(tmp_path / "actor.mp4", frames=2, picture=swaying)
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", "null"]
    hidden = ("MPLCONFIGDIR", "XDG_", "REENACT_DATA")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        reenact(*typed, "--set", "renderer.name=warp"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stderr
    assert [line[:11] for line in done.stderr.splitlines()] == ["2 frames in"]
