"""The file sink: the contents of its files, and when they get their names."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.errors import SinkError
from reenact.sinks.video_file import TAGS, FileSink, is_partial
from reenact.types import Frame
from support.clips import four_colours, number_of, numbered_picture
from support.recordings import duration_s, read, record

KINDS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TICK_S = {".mkv": 1e-3, ".webm": 1e-3}


@pytest.mark.parametrize("ending", KINDS)
def test_frames_come_back_in_order_with_their_own_times(ending: str, tmp_path: Path) -> None:
    # A phone writes such times: 29.97 frames a second, a pause, then 60 a second.
    steps = [1001 / 30000] * 20 + [0.5] + [1 / 60] * 20
    times = [0.0, *np.cumsum(steps).tolist()]
    path = tmp_path / f"out{ending}"
    record(path, [1_234_567.25 + time for time in times], fps=30.0)
    read_times, pictures = read(path)
    assert [number_of(picture) for picture in pictures] == list(range(len(times)))
    assert read_times == pytest.approx(times, abs=TICK_S.get(ending, 1e-5))
    assert duration_s(path) == pytest.approx(times[-1] + 1 / 60, abs=2e-3)


def test_times_always_rise(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    loop = [index / 25 for index in range(50)]
    record(path, [0.0, 0.04, 0.04, 0.03, 0.08, *[0.12 + t for t in loop], *loop])
    times, pictures = read(path)
    assert [number_of(picture) for picture in pictures] == list(range(105))
    assert (np.diff(times) > 0).all()
    assert times[4:55] == pytest.approx([0.08, *[0.12 + t for t in loop]], abs=1e-4)
    # The second pass of a loop continues the first at the same rate.
    assert np.diff(times)[54:] == pytest.approx(0.04, abs=1e-4)


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_a_picture_may_be_overwritten_once_it_is_written(
    size: tuple[int, int], tmp_path: Path
) -> None:
    path, image = tmp_path / "out.mp4", np.zeros((size[1], size[0], 3), np.uint8)
    levels = (40, 200, 90)
    with FileSink(path) as sink:
        sink.open(size, 25.0)
        for index, level in enumerate(levels):
            image[:] = level
            sink.write(Frame(image, index / 25, index))
    assert [picture.mean() for picture in read(path)[1]] == pytest.approx(levels, abs=3)


def test_one_frame_lasts_as_long_as_the_rate_says(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record(path, [7.0], fps=5.0)
    times, pictures = read(path)
    assert (times, len(pictures)) == ([0.0], 1)
    assert duration_s(path) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("ending", KINDS)
def test_colours_come_back_and_are_tagged_as_is_the_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    image = four_colours()
    with FileSink(path) as sink:
        sink.open((160, 120), 25.0)
        for index in range(5):
            sink.write(Frame(image, index / 25, index))
    _, pictures = read(path)
    for y, x in ((30, 40), (30, 120), (90, 40), (90, 120)):
        assert pictures[-1][y, x].astype(int) == pytest.approx(image[y, x].astype(int), abs=4)
    with av.open(str(path)) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
        assert {key: found.get(key) for key in TAGS} == dict(TAGS)
        assert found["synthetic"] == "true"
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        assert (frame.colorspace, frame.color_range) == (1, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)
        assert context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("size", [(161, 121), (160, 121), (1, 1), (161, 120)])
def test_odd_sides_repeat_their_last_line(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    image = np.full((size[1], size[0], 3), (200, 60, 30), np.uint8)
    with FileSink(path) as sink:
        sink.open(size, 25.0)
        sink.write(Frame(image, 0.0, 0))
    _, (picture,) = read(path)
    assert picture.shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert np.abs(picture.astype(int) - (200, 60, 30)).max() <= 4


def test_frames_of_another_size_are_letterboxed(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with FileSink(path) as sink:
        sink.open((160, 120), 25.0)
        sink.write(Frame(np.full((120, 160, 3), 200, np.uint8), 0.0, 0))
        sink.write(Frame(np.full((240, 160, 3), 200, np.uint8), 0.04, 1))
    _, (_, tall) = read(path)
    assert tall.shape == (120, 160, 3)
    assert tall[:, 60:100].min() > 190
    assert tall[:, :40].max() < 10
    assert tall[:, 120:].max() < 10


def test_nothing_has_the_final_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an older file")
    sink = FileSink(path)
    assert sorted(tmp_path.iterdir()) == [path]
    sink.open((160, 120), 25.0)
    sink.write(Frame(numbered_picture(0), 0.0, 0))
    assert path.read_bytes() == b"an older file"
    sink.close()
    sink.close()
    assert sorted(tmp_path.iterdir()) == [path]
    assert len(read(path)[0]) == 1
    with pytest.raises(SinkError, match="closed"):
        sink.write(Frame(numbered_picture(1), 0.04, 1))


def test_a_recording_that_cannot_be_renamed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = FileSink(path)
    sink.open((160, 120), 25.0)
    sink.write(Frame(numbered_picture(0), 0.0, 0))
    path.mkdir()
    partial = tmp_path / "out.partial.mp4"
    with pytest.raises(SinkError, match=re.escape(str(partial))):
        sink.close()
    sink.close()
    assert len(read(partial)[0]) == 1


def test_without_a_frame_nothing_is_left(tmp_path: Path) -> None:
    for opened in (False, True):
        with FileSink(tmp_path / "out.mp4") as sink:
            if opened:
                sink.open((160, 120), 25.0)
        assert list(tmp_path.iterdir()) == []


def test_leaving_by_an_exception_keeps_only_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an older file")

    def fail() -> None:
        with FileSink(path) as sink:
            sink.open((160, 120), 25.0)
            sink.write(Frame(numbered_picture(0), 0.0, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_closing_from_another_thread_leaves_a_playable_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = FileSink(path)
    sink.open((160, 120), 25.0)
    written = threading.Event()
    refused: list[SinkError] = []

    def write() -> None:
        for index in range(100_000):
            try:
                sink.write(Frame(numbered_picture(index % 4096), index / 25, index))
            except SinkError as error:
                refused.append(error)
                return
            if index == 30:
                written.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert written.wait(60)
    sink.close()
    thread.join(60)
    assert len(refused) == 1
    _, pictures = read(path)
    assert [number_of(picture) for picture in pictures] == [
        index % 4096 for index in range(len(pictures))
    ]
    assert len(pictures) > 30


KILLED = """
import os, signal, sys
import numpy as np
from reenact.sinks.video_file import FileSink
from reenact.types import Frame
sink = FileSink(sys.argv[1])
sink.open((160, 120), 25.0)
for index in range(250):
    sink.write(Frame(np.full((120, 160, 3), index, np.uint8), index / 25, index))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_killed_program_leaves_a_playable_partial_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (partial,) = tmp_path.iterdir()
    assert partial.name == f"out.partial{ending}"
    assert is_partial(partial)
    assert not is_partial(path)
    _, pictures = read(partial)
    # Of ten seconds, the last keyframe interval and the encoder's look-ahead may be missing.
    assert len(pictures) >= 250 - 50 - 25
    levels = [int(picture[60, 80, 0]) for picture in pictures]
    assert levels == pytest.approx(list(range(len(levels))), abs=3)
    record(path, [0.0, 0.04])  # the next recording leaves it alone
    assert partial.exists()
    assert len(read(path)[0]) == 2
