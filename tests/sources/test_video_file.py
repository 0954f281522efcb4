"""The video source with generated media, and with real clips if there are any."""

from __future__ import annotations

import contextlib
import http.server
import logging
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.config import SourceSettings
from reenact.errors import SourceError
from reenact.registry import load
from reenact.sinks.mjpeg_server import HttpSink
from reenact.sources.reconnecting import ReconnectingSource
from reenact.sources.video_file import VideoSource
from reenact.targets.clip_files import decode_clip
from reenact.types import SOUND_HZ, Source
from support.cameras import read_frames, read_until_back, read_until_lost
from support.clips import (
    close_while_reading,
    corners,
    four_colours,
    number_of,
    numbered_picture,
    read_all,
    set_display_matrix,
    write_clip,
    write_sound,
    write_talk,
)
from support.portraits import write_jpeg
from support.traffic import Traffic, free_port


def test_video_gives_every_frame_once_in_order(
    numbered_clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = VideoSource(numbered_clip)
    assert isinstance(source, Source)
    assert (source.name, source.size, source.fps) == ("numbered.mp4", (160, 120), 30.0)
    assert source.live is False
    assert source.frames_total == 30
    assert source.duration_s == pytest.approx(1.0, abs=0.01)
    frames = read_all(source)
    assert [number_of(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 30 for i in range(30)])
    assert frames[0].image.dtype == np.uint8
    assert not caplog.records
    assert all(frame.image.flags.c_contiguous for frame in frames)


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [500, 533, 700, 1500, 1510, 3000]
    clip = write_clip(tmp_path / "vfr.mkv", 6, times_ms=times_ms)
    frames = read_all(VideoSource(clip))
    expected = [(time_ms - 500) / 1000 for time_ms in times_ms]
    assert [frame.time_s for frame in frames] == pytest.approx(expected, abs=0.0011)
    assert [number_of(frame.image) for frame in frames] == list(range(6))


def joined(
    path: Path, *, apart_s: float = 0.0, layouts: tuple[str, str] = ("mono", "mono")
) -> Path:
    """Write two talks of two seconds into one transport stream, one behind the other."""
    with path.open("wb") as file:
        for number, layout in enumerate(layouts):
            begin_s = number * apart_s
            piece = write_talk(
                path.with_name(f"piece{number}.ts"),
                beep_s=begin_s,
                pictures_from_s=begin_s,
                sound_from_s=begin_s,
                layout=layout,
            )
            file.write(piece.read_bytes())
    return path


@pytest.mark.parametrize("apart_s", [0.0, 20_000.0])
def test_where_the_clock_jumps_the_pictures_go_on(
    apart_s: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = VideoSource(joined(tmp_path / "joined.ts", apart_s=apart_s))
    voice = source.open_voice()
    assert voice is not None
    frames, heard = [], 0
    while (frame := source.read()) is not None:
        frames.append(frame)
        heard += len(voice.hear(frame.time_s))
    times_s = [frame.time_s for frame in frames]
    assert len(times_s) == 100
    assert np.diff(times_s) == pytest.approx(0.04, abs=0.002)
    assert heard == round(times_s[-1] * SOUND_HZ)
    assert [record.getMessage() for record in caplog.records] == [
        "The clock of joined.ts jumps; its pictures go on at once."
    ]
    source.close()
    voice.close()


def test_a_voice_goes_on_where_the_sound_changes_its_layout(tmp_path: Path) -> None:
    path = joined(tmp_path / "joined.ts", apart_s=2.0, layouts=("stereo", "mono"))
    with VideoSource(path) as source:
        voice = source.open_voice()
        assert voice is not None
        samples = voice.hear(3.8).astype(np.float32).reshape(-1, SOUND_HZ // 10)
        voice.close()
    loudness = np.sqrt(np.square(samples).mean(axis=1))
    assert loudness[2:18].min() > 5000
    assert loudness[22:].min() > 5000


def test_a_recording_without_a_rate_has_a_usual_one(tmp_path: Path) -> None:
    times_ms = np.cumsum(np.random.default_rng(1).integers(20, 47, 60)).tolist()
    clip = write_clip(tmp_path / "recording.webm", 60, times_ms=times_ms, codec="libvpx", fps=1000)
    with av.open(str(clip)) as container:
        assert container.streams.video[0].guessed_rate == 1000
    with VideoSource(clip) as source:
        assert source.fps == 30


@pytest.mark.parametrize("ending", ["mkv", "webm", "mp4"])
@pytest.mark.parametrize("start_ms", [0, 5000, 7_200_000])
def test_a_part_of_a_longer_recording_is_whole(
    tmp_path: Path, ending: str, start_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one of several files that keep the times of the whole."""
    times_ms = [start_ms + 40 * number for number in range(50)]
    codec = "libvpx" if ending == "webm" else "libx264"
    clip = write_clip(tmp_path / f"part.{ending}", 50, fps=25, times_ms=times_ms, codec=codec)
    source = VideoSource(clip)
    assert source.duration_s == pytest.approx(2, abs=0.05)
    assert source.frames_total == 50
    frames = read_all(source)
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(50)])
    assert not caplog.text


def test_loop_goes_on_with_increasing_times(numbered_clip: Path) -> None:
    with VideoSource(numbered_clip, loop=True) as source:
        frames = [source.read() for _ in range(75)]
    times_s = [frame.time_s for frame in frames if frame is not None]
    assert times_s == pytest.approx([i / 30 for i in range(75)])
    assert [number_of(frame.image) for frame in frames if frame is not None] == [
        i % 30 for i in range(75)
    ]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), ["red", "green", "blue", "white"]),
        ((0, 1, -1, 0), ["blue", "red", "white", "green"]),  # quarter turn clockwise
        ((0, -1, 1, 0), ["green", "white", "red", "blue"]),  # counter-clockwise
        ((-1, 0, 0, -1), ["white", "blue", "green", "red"]),  # half turn
        ((-1, 0, 0, 1), ["green", "red", "white", "blue"]),  # mirrored
        ((0, 1, 1, 0), ["red", "blue", "green", "white"]),  # transposed
    ],
)
def test_display_matrix_is_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: list[str]
) -> None:
    clip = write_clip(tmp_path / "turned.mp4", 2, picture=lambda _: four_colours())
    set_display_matrix(clip, *matrix)
    source = VideoSource(clip)
    assert source.size == ((120, 160) if matrix[0] == 0 else (160, 120))
    frames = read_all(source)
    assert [corners(frame.image) for frame in frames] == [expected, expected]
    assert frames[0].size == source.size
    assert frames[0].image.flags.c_contiguous


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ["red", "green", "blue", "white"]),
        (6, ["blue", "red", "white", "green"]),  # quarter turn clockwise
        (8, ["green", "white", "red", "blue"]),  # counter-clockwise
        (3, ["white", "blue", "green", "red"]),
    ],
)
def test_a_turned_picture_beside_unknown_data_is_upright(
    tmp_path: Path, orientation: int, expected: list[str]
) -> None:
    """FFmpeg hands on a photo's EXIF data, which PyAV does not know."""
    photo = write_jpeg(tmp_path / "photo.jpg", four_colours(), orientation)
    (frame,) = read_all(VideoSource(photo))
    assert corners(frame.image) == expected


@pytest.mark.parametrize(
    ("aspect", "width"), [((4, 3), 213), ((1, 2), 80), ((1, 50), 160), ((50, 1), 160)]
)
def test_pixels_that_are_not_square_are_made_square_unless_they_cannot_be(
    tmp_path: Path, aspect: tuple[int, int], width: int
) -> None:
    clip = write_clip(tmp_path / "wide.mp4", 1, pixel_aspect=Fraction(*aspect))
    (frame,) = read_all(VideoSource(clip))
    assert frame.size == (width, 120)


@pytest.mark.parametrize(
    ("ending", "codec", "pix_fmt"),
    [
        ("mp4", "libx265", "yuv420p10le"),
        ("mkv", "ffv1", "gray"),
        ("mkv", "ffv1", "gray16le"),
        ("mkv", "ffv1", "bgra"),
        ("mkv", "ffv1", "yuv444p12le"),
        ("avi", "mjpeg", "yuvj422p"),
        ("gif", "gif", "rgb8"),
    ],
)
def test_every_pixel_format_becomes_rgb8(
    tmp_path: Path, ending: str, codec: str, pix_fmt: str
) -> None:
    clip = write_clip(tmp_path / f"clip.{ending}", 3, codec=codec, pix_fmt=pix_fmt)
    frames = read_all(VideoSource(clip))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2]
    for frame in frames:
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.dtype == np.uint8
        error = np.abs(frame.image.astype(int) - numbered_picture(frame.index))
        assert np.median(error) <= 8  # gif's palette has 8 levels of grey at most


def test_transparent_video_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "alpha.mkv"
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[:, :16] = (200, 0, 0, 255)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "bgra"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        container.mux(stream.encode())
    (frame,) = read_all(VideoSource(path))
    assert frame.image[5, 5].tolist() == [200, 0, 0]
    assert frame.image[5, 25].tolist() == [255, 255, 255]


def test_a_colon_in_a_name_does_not_make_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2024-01-01T12:30.mp4", "udp:1.mp4"):
        shutil.move(write_clip(tmp_path / "plain.mp4", 3), tmp_path / name)
        with VideoSource(name) as source:
            assert (source.name, source.live) == (name, False)
            assert [number_of(frame.image) for frame in read_all(source)] == [0, 1, 2]
        assert len(decode_clip(Path(name))) == 3


def test_truncated_file_gives_what_there_is_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_clip(
        tmp_path / "whole.mp4", 90, size=(320, 240), options={"movflags": "faststart"}
    )
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING, logger="reenact"):
        frames = read_all(VideoSource(cut))
    assert 10 < len(frames) < 90
    assert [number_of(frame.image) for frame in frames[:10]] == list(range(10))
    assert "cut.mp4 is damaged or cut off" in caplog.text
    assert "of about 90 frames" in caplog.text


def test_a_damaged_file_in_a_loop_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_clip(tmp_path / "whole.mp4", 60, options={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with VideoSource(cut, loop=True) as source:
        for _ in range(120):
            assert source.read() is not None
    assert caplog.text.count("damaged or cut off") == 1


def test_damage_in_the_middle_is_stepped_over(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "hole.mkv", 60, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    clip.write_bytes(data)
    frames = read_all(VideoSource(clip))
    assert len(frames) >= 50
    assert number_of(frames[-1].image) == 59


def _broken_videos(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 20)
    write_sound(folder / "sound.mp4")
    write_sound(folder / "cover.mp4", cover=four_colours())
    whole = write_clip(folder / "whole.mp4", 30).read_bytes()
    (folder / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    front = write_clip(folder / "front.mp4", 30, options={"movflags": "faststart"}).read_bytes()
    (folder / "no_frame.mp4").write_bytes(front[: front.index(b"mdat") + 8])
    yield "missing.mp4", "no file"
    yield "empty.mp4", "is empty"
    yield "text.mp4", "not a video"
    yield "sound.mp4", "no video track"
    yield "cover.mp4", "no video track"
    yield "headless.mp4", "damaged"
    yield "no_frame.mp4", "no picture .* use another file"
    yield ".", "is a folder"


def test_bad_videos_are_explained_in_one_sentence(tmp_path: Path) -> None:
    for name, words in _broken_videos(tmp_path):
        with pytest.raises(SourceError, match=words) as caught:
            VideoSource(tmp_path / name)
        text = str(caught.value)
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text) < 200 + len(str(tmp_path))


@pytest.mark.parametrize("address", ["http://me:secret@[::1/x", "rtsp://me:secret@a\u2100b/x"])
def test_an_address_that_makes_no_sense_is_refused_in_a_sentence(address: str) -> None:
    with pytest.raises(SourceError, match="is not valid") as told:
        VideoSource(address)
    assert "secret" not in str(told.value)


def test_errors_of_addresses_do_not_show_the_password() -> None:
    for address in ("rtsp://me:secret@127.0.0.1:9/x", "http://me:secret@127.0.0.1:9/x.mp4"):
        with pytest.raises(SourceError, match=r"127\.0\.0\.1:9/x") as caught:
            VideoSource(address)
        assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="unknown kind of address"):
        VideoSource("nonsense://127.0.0.1/x")


def test_an_address_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reenact.sources.video_file._URL_TIMEOUTS_S", (0.5, 0.5))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port, begun_s = silent.getsockname()[1], time.monotonic()
        ends = threading.Timer(20, silent.shutdown, [socket.SHUT_RDWR])
        ends.start()
        with pytest.raises(SourceError, match=f"127.0.0.1:{port}/x cannot be opened"):
            VideoSource(f"http://127.0.0.1:{port}/x")
        ends.cancel()
    assert time.monotonic() - begun_s < 15


def test_video_by_http(numbered_clip: Path) -> None:
    files = partial(http.server.SimpleHTTPRequestHandler, directory=str(numbered_clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        source = VideoSource(f"{base}/{numbered_clip.name}")
        assert source.live is False
        assert [number_of(frame.image) for frame in read_all(source)] == list(range(30))
        with pytest.raises(SourceError, match="cannot be opened"):
            VideoSource(f"{base}/nothing.mp4")
        server.shutdown()


def test_stream_without_an_end_is_live_and_comes_back() -> None:
    """An MJPEG stream by HTTP whose sender goes away and returns."""
    port = free_port()

    @contextlib.contextmanager
    def sending() -> Iterator[str]:
        with HttpSink(port) as sink:
            sink.open((160, 120), 50.0)
            with Traffic(sink, numbered_picture, 50.0):
                yield sink.url_of("stream.mjpg")

    before_s = time.monotonic()
    with sending() as url:
        source = load("sources", "video").make(url, SourceSettings())
        assert isinstance(source, ReconnectingSource)
        frames = read_frames(source, 10)
    with source:
        assert "broke off" in read_until_lost(source)
        with sending():
            frames += [read_until_back(source), *read_frames(source, 10)]
        assert source.reopened >= 1
    assert {frame.size for frame in frames} == {(160, 120)}
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(times_s)
    assert before_s <= times_s[0] <= times_s[-1] <= time.monotonic()
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))


@pytest.mark.parametrize("ending", ["mkv", "flv"])
def test_a_sound_that_outlasts_the_pictures_is_no_damage(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    talk = write_talk(tmp_path / f"talk.{ending}", beep_s=0.2, sound_until_s=6.0)
    source = VideoSource(talk)
    if ending == "mkv":  # of others only the length of the whole is known
        assert source.duration_s == pytest.approx(2.0, abs=0.05)
    assert len(read_all(source)) == 50
    assert not caplog.text


def test_pictures_of_another_shape_keep_their_proportions(tmp_path: Path) -> None:
    """The stream of a phone that is turned."""
    sizes, stream = [(320, 180), (180, 320)], b""
    for width, height in sizes:
        part = tmp_path / "part.h264"
        with av.open(str(part), "w", format="h264") as container:
            pictures = container.add_stream("libx264", rate=25, options={"bf": "0"})
            pictures.width, pictures.height = width, height
            square = np.zeros((height, width, 3), np.uint8)
            square[height // 2 - 40 : height // 2 + 40, width // 2 - 40 : width // 2 + 40] = 255
            for _ in range(5):
                frame = av.VideoFrame.from_ndarray(square, format="rgb24")
                container.mux(pictures.encode(frame))
            container.mux(pictures.encode())
        stream += part.read_bytes()
    clip = tmp_path / "turned.h264"
    clip.write_bytes(stream)
    frames = read_all(VideoSource(clip))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(10)])
    assert {frame.size for frame in frames} == {sizes[0]}
    bright = frames[-1].image[..., 1] > 128
    rows, columns = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert rows == pytest.approx(80 * 180 / 320, abs=2)
    assert columns == pytest.approx(rows, abs=2)


def test_close_while_another_thread_reads(numbered_clip: Path) -> None:
    close_while_reading(VideoSource(numbered_clip, loop=True), frames=40)


@pytest.mark.faces
@pytest.mark.parametrize("name", ["webcam_d9.mp4", "webcam_face_noface.mov", "talk_face4.mp4"])
def test_real_clips_are_read_whole(faces_dir: Path, name: str) -> None:
    path = faces_dir / "raw" / name
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = stream.frames
        assert stream.duration is not None
        assert stream.time_base is not None
        duration_s = float(stream.duration * stream.time_base)
    source = VideoSource(path)
    frames = read_all(source)
    assert len(frames) == count == source.frames_total
    steps_s = np.diff([frame.time_s for frame in frames])
    assert steps_s.min() > 0
    assert frames[-1].time_s + np.median(steps_s) == pytest.approx(duration_s, abs=1.5 / source.fps)
    assert {frame.size for frame in frames} == {source.size}
