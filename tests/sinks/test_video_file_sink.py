"""The file sink: written files are read back with PyAV."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.errors import SinkError
from reenact.sinks.video_file import TAGS, FileSink, is_partial
from reenact.sources.video_file import VideoSource
from reenact.types import Frame, Image
from support.clips import four_colours, number_of, numbered_picture, write_talk

KINDS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TICK_S = {".mkv": 1e-3, ".webm": 1e-3}


def record(path: Path, times_s: list[float], fps: float = 25.0, crf: int = 18) -> None:
    with FileSink(path, crf) as sink:
        sink.open((160, 120), fps)
        for index, time_s in enumerate(times_s):
            sink.write(Frame(numbered_picture(index), time_s, index))


def read(path: Path) -> tuple[list[float], list[Image]]:
    """Return times in s and pictures, converted as the file's own tags say."""
    times, pictures = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            # PyAV 14 uses no colour space at all where the two are one.
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU601")
            pictures.append(rgb.to_ndarray().astype(np.uint8))
    return times, pictures


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / 1e6


@pytest.mark.parametrize("ending", KINDS)
def test_frames_come_back_in_order_with_their_own_times(ending: str, tmp_path: Path) -> None:
    # 29.97 frames a second, a pause, 60 a second: what a phone writes.
    steps = [1001 / 30000] * 20 + [0.5] + [1 / 60] * 20
    times = [0.0, *np.cumsum(steps).tolist()]
    path = tmp_path / f"out{ending}"
    record(path, times, fps=30.0)
    read_times, pictures = read(path)
    assert [number_of(picture) for picture in pictures] == list(range(len(times)))
    assert read_times == pytest.approx(times, abs=TICK_S.get(ending, 1e-5))
    assert duration_s(path) == pytest.approx(times[-1] + 1 / 60, abs=2e-3)


def test_times_of_a_monotonic_clock_start_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record(path, [1_234_567.25 + index / 30 for index in range(10)], fps=30.0)
    times, _ = read(path)
    assert times == pytest.approx([index / 30 for index in range(10)], abs=2e-5)


def test_times_always_rise(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    loop = [index / 25 for index in range(50)]
    record(path, [0.0, 0.04, 0.04, 0.03, 0.08, *[0.12 + t for t in loop], *loop])
    times, pictures = read(path)
    assert [number_of(picture) for picture in pictures] == list(range(105))
    assert (np.diff(times) > 0).all()
    assert times[4:55] == pytest.approx([0.08, *[0.12 + t for t in loop]], abs=1e-4)
    # The second round of a loop goes on from the first at the same rate.
    assert np.diff(times)[54:] == pytest.approx(0.04, abs=1e-4)


def test_one_frame_lasts_as_long_as_the_rate_says(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record(path, [7.0], fps=5.0)
    times, pictures = read(path)
    assert (times, len(pictures)) == ([0.0], 1)
    assert duration_s(path) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("ending", KINDS)
def test_colours_come_back_and_are_tagged(ending: str, tmp_path: Path) -> None:
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
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        assert (frame.colorspace, frame.color_range) == (1, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)
        assert context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("ending", KINDS)
def test_file_says_that_it_is_synthetic(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    record(path, [0.0, 0.04])
    with av.open(str(path)) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    assert {key: found.get(key) for key in TAGS} == dict(TAGS)
    assert found["synthetic"] == "true"


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


def test_frames_of_another_size_are_fitted_in(tmp_path: Path) -> None:
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


def test_a_recording_that_cannot_get_its_name_is_kept(tmp_path: Path) -> None:
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


def test_leaving_by_an_exception_keeps_the_older_file_alone(tmp_path: Path) -> None:
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
    record(path, [0.0, 0.04])  # the next recording spares it
    assert partial.exists()
    assert len(read(path)[0]) == 2


@pytest.mark.parametrize("name", ["out", "out.txt", "out.avi", ".mp4"])
def test_unknown_ending_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"\.mp4"):
        FileSink(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_name_is_refused() -> None:
    with pytest.raises(SinkError, match=r"file:out\.mp4"):
        FileSink("")


def test_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        FileSink(tmp_path / "folder.mp4")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"there is no folder .*absent"):
        FileSink(tmp_path / "absent" / "out.mp4")


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root on Linux can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


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


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_full_disk_is_one_sentence_and_leaves_nothing(ending: str, small_disk: Path) -> None:
    sink = FileSink(small_disk / f"out{ending}")
    with pytest.raises(SinkError, match="disk is full") as caught:
        fill(sink, fps=25.0)
    assert str(caught.value).count("\n") == 0
    assert list(small_disk.iterdir()) == []
    sink.close()
    assert list(small_disk.iterdir()) == []


def test_full_disk_keeps_a_long_recording_under_its_partial_name(small_disk: Path) -> None:
    sink = FileSink(small_disk / "out.mp4", crf=40)
    with pytest.raises(SinkError, match="disk is full") as caught:
        fill(sink, fps=1.0)
    (partial,) = small_disk.iterdir()
    assert partial.name == "out.partial.mp4"
    assert str(partial) in str(caught.value)
    frames = 0
    # The picture that the disk cut off ends it.
    with contextlib.suppress(av.InvalidDataError), av.open(str(partial)) as container:
        for _ in container.decode(video=0):
            frames += 1
    assert frames > 60


def test_disk_that_fills_up_at_the_end_is_told_by_close(small_disk: Path) -> None:
    sink = FileSink(small_disk / "out.mp4")
    sink.open((160, 120), 25.0)
    sink.write(Frame(numbered_picture(0), 0.0, 0))
    ballast = fill_up(small_disk)
    with pytest.raises(SinkError, match="disk is full"):
        sink.close()
    assert list(small_disk.iterdir()) == [ballast]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_disk_that_is_full_from_the_start(ending: str, small_disk: Path) -> None:
    ballast = fill_up(small_disk)
    sink = FileSink(small_disk / f"out{ending}")
    with pytest.raises(SinkError, match="disk is full"):
        fill(sink, fps=25.0)
    sink.close()
    assert list(small_disk.iterdir()) == [ballast]


# --- sound ------------------------------------------------------------------------------------


def record_video(source: VideoSource, path: Path, frames: int = 1000) -> None:
    with source, FileSink(path) as sink:
        sink.take_sound(source.open_sound)
        sink.open(source.size, source.fps)
        while frames and (frame := source.read()) is not None:
            sink.write(frame)
            frames -= 1


def tone(path: Path) -> tuple[float, float]:
    """Return when a file's tone begins and when its sound ends, s; its first picture is at 0."""
    times_s, waves = [], []
    with av.open(str(path)) as container:
        for heard in container.decode(audio=0):
            wave = heard.to_ndarray().mean(axis=0)
            assert heard.time is not None
            times_s.append(heard.time + np.arange(len(wave)) / heard.sample_rate)
            waves.append(np.abs(wave) / (1.0 if wave.dtype.kind == "f" else 32768.0))
    when_s = np.concatenate(times_s)
    return float(when_s[np.concatenate(waves) > 0.1][0]), float(when_s[-1])


@pytest.mark.parametrize(
    ("spoken", "codec", "ending"),
    [
        (".mp4", "aac", ".mp4"),
        (".mkv", "aac", ".mov"),
        (".mp4", "aac", ".mkv"),
        (".mov", "pcm_s16le", ".mkv"),
        (".mkv", "libopus", ".webm"),
        (".mkv", "libopus", ".mp4"),
        (".ts", "aac", ".mp4"),
    ],
)
@pytest.mark.parametrize("pictures_from_s", [0.0, 0.4])
def test_a_videos_sound_is_copied_and_stays_with_its_pictures(
    spoken: str, codec: str, ending: str, pictures_from_s: float, tmp_path: Path
) -> None:
    talk = tmp_path / f"talk{spoken}"
    write_talk(talk, beep_s=1.2, pictures_from_s=pictures_from_s, codec=codec)
    out = tmp_path / f"out{ending}"
    record_video(VideoSource(talk), out)
    _, pictures = read(out)
    assert [number_of(picture) for picture in pictures] == list(range(50))
    begins_s, ends_s = tone(out)
    assert begins_s == pytest.approx(1.2 - pictures_from_s, abs=0.03)
    assert ends_s == pytest.approx(2.0, abs=0.05)


def test_a_killed_program_loses_no_more_after_the_end_of_its_sound(tmp_path: Path) -> None:
    source = VideoSource(write_talk(tmp_path / "talk.mp4", beep_s=0.2))
    sink = FileSink(tmp_path / "out.mkv")
    sink.take_sound(source.open_sound)
    with source, sink:
        sink.open((160, 120), 25.0)
        for index in range(500):
            sink.write(Frame(numbered_picture(index), index / 25, index))
        times_s, _ = read(tmp_path / "out.partial.mkv")
    assert times_s[-1] > 16.0


def test_sound_ends_with_the_last_picture_that_was_written(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    record_video(VideoSource(write_talk(tmp_path / "talk.mp4", beep_s=0.2)), out, frames=20)
    assert tone(out)[1] == pytest.approx(0.8, abs=0.05)
    assert duration_s(out) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "ending", "loop"),
    [("aac", ".webm", False), ("libopus", ".mov", False), ("aac", ".mp4", True)],
)
def test_sound_that_cannot_be_copied_is_told(
    codec: str, ending: str, loop: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    talk, out = tmp_path / "talk.mkv", tmp_path / f"out{ending}"
    write_talk(talk, beep_s=0.2, codec=codec)
    record_video(VideoSource(talk, loop), out, frames=60)
    assert "The sound of talk.mkv" in caplog.text
    with av.open(str(out)) as container:
        assert not container.streams.audio
        assert len(list(container.decode(video=0))) == (60 if loop else 50)
