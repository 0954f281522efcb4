"""What the file sink refuses, and what it leaves behind on a full disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.errors import SinkError
from reenact.sinks.video_file import FileSink
from reenact.types import Frame
from support.clips import numbered_picture
from support.recordings import duration_s


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((name, r"\.mp4") for name in ("out", "out.txt", "out.avi", ".mp4")),
        ("folder.mp4", "is a folder"),
        ("absent/out.mp4", r"there is no folder .*absent"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_at_once(
    name: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SinkError, match=told):
        FileSink(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]
    with pytest.raises(SinkError, match=r"file:out\.mp4"):
        FileSink("")


def test_folder_without_the_right_to_write_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        tmp_path = Path("/proc/self")  # for root, which may write anywhere else
        if not tmp_path.is_dir():
            pytest.skip("this user may write everywhere")
    with pytest.raises(SinkError, match="cannot be written"):
        FileSink(tmp_path / "out.mp4")


def test_size_that_the_encoder_refuses_leaves_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    with pytest.raises(SinkError, match="cannot be written"):
        sink.open((40_000, 40_000), 25.0)
    assert list(tmp_path.iterdir()) == []


def test_two_sinks_of_one_name_both_keep_what_they_wrote(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    first, second = FileSink(path), FileSink(path)
    for sink in (first, second):
        sink.open((160, 120), 25.0)
        sink.write(Frame(numbered_picture(0), 0.0, 0))
    first.close()
    with pytest.raises(SinkError, match=r"out\.partial-2\.mp4"):
        second.close()
    for name in ("out.mp4", "out.partial-2.mp4"):
        assert duration_s(tmp_path / name) == pytest.approx(0.04)


def fill(sink: FileSink, fps: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    sink.open((160, 120), fps)
    for index in range(10_000):
        sink.write(Frame(np.roll(noise, 7 * index, axis=1), index / fps, index))


def fill_up(folder: Path) -> Path:
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


@pytest.mark.parametrize("full_from_the_start", [False, True])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_full_disk_is_one_sentence_and_leaves_nothing(
    ending: str, full_from_the_start: bool, small_disk: Path
) -> None:
    others = [fill_up(small_disk)] if full_from_the_start else []
    sink = FileSink(small_disk / f"out{ending}")
    with pytest.raises(SinkError, match="disk is full") as caught:
        fill(sink, fps=25.0)
    assert str(caught.value).count("\n") == 0
    assert list(small_disk.iterdir()) == others
    sink.close()
    assert list(small_disk.iterdir()) == others


def test_full_disk_keeps_a_long_recording_under_its_partial_name(small_disk: Path) -> None:
    sink = FileSink(small_disk / "out.mp4", crf=40)
    with pytest.raises(SinkError, match="disk is full") as caught:
        fill(sink, fps=1.0)
    (partial,) = small_disk.iterdir()
    assert partial.name == "out.partial.mp4"
    assert str(partial) in str(caught.value)
    frames = 0
    # The last picture is incomplete.
    with contextlib.suppress(av.InvalidDataError), av.open(str(partial)) as container:
        for _ in container.decode(video=0):
            frames += 1
    assert frames > 60


def test_disk_that_fills_up_at_the_end_is_reported_by_close(small_disk: Path) -> None:
    sink = FileSink(small_disk / "out.mp4")
    sink.open((160, 120), 25.0)
    sink.write(Frame(numbered_picture(0), 0.0, 0))
    ballast = fill_up(small_disk)
    with pytest.raises(SinkError, match="disk is full"):
        sink.close()
    assert list(small_disk.iterdir()) == [ballast]
