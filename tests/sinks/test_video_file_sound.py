"""Sound that is copied beside the pictures."""

from __future__ import annotations

import http.server
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest

from reenact.sinks.video_file import FileSink
from reenact.sound import FileVoice
from reenact.sources.video_file import VideoSource
from reenact.types import Frame
from support.clips import number_of, numbered_picture, read_all, write_talk
from support.recordings import duration_s, read


def record_video(source: VideoSource, path: Path, frames: int = 1000) -> None:
    with source, FileSink(path) as sink:
        sound = source.open_sound()
        if sound is not None:
            sink.take_sound(sound)
        sink.open(source.size, source.fps)
        while frames and (frame := source.read()) is not None:
            sink.write(frame)
            frames -= 1


def test_silence_until_a_late_voice_takes_no_memory(tmp_path: Path) -> None:
    path = write_talk(tmp_path / "late.mkv", beep_s=0.0, sound_from_s=5000.0, sound_until_s=5001.0)
    with VideoSource(path) as source:
        voice = source.open_voice()
        assert voice is not None
        tracemalloc.start()
        assert not voice.hear(2.0).any()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        voice.close()
    assert peak_bytes < 5_000_000


def test_a_voice_is_heard_to_its_end_where_tracks_appear_later() -> None:
    file = Mock(decode=Mock(side_effect=IndexError("list index out of range")))  # as PyAV's
    with FileVoice(file, "broadcast.ts", 0.0) as voice:
        assert not voice.hear(1.0).any()


def test_sound_of_an_unknown_codec_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_talk(tmp_path / "talk.mkv", beep_s=0.0, sound_from_s=0.5)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    record_video(VideoSource(path), tmp_path / "copy.mp4")
    assert "talk.mkv (of an unknown kind) is left out" in caplog.text
    assert len(read_all(VideoSource(tmp_path / "copy.mp4"))) == 50


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
        (".ts", "aac", ".mkv"),
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


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder's files; yield the address with a password."""
    files = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", ["talk.mp4", "talk.mkv"])
def test_the_sound_of_a_video_by_http_is_copied(name: str, tmp_path: Path) -> None:
    write_talk(tmp_path / name, beep_s=1.2, pictures_from_s=0.4)
    out = tmp_path / "out.mp4"
    with served(tmp_path) as address:
        record_video(VideoSource(f"{address}/{name}"), out)
    assert [number_of(picture) for picture in read(out)[1]] == list(range(50))
    begins_s, ends_s = tone(out)
    assert begins_s == pytest.approx(0.8, abs=0.03)
    assert ends_s == pytest.approx(2.0, abs=0.05)


def test_sound_that_a_server_refuses_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    talk = write_talk(tmp_path / "talk.mp4", beep_s=1.2)
    with served(tmp_path) as address, VideoSource(f"{address}/talk.mp4") as source:
        talk.unlink()
        assert source.open_sound() is None
    assert "/talk.mp4 is left out: http://127.0.0.1:" in caplog.text
    assert "cannot be opened: Server returned 404 Not Found." in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_sound_that_begins_after_the_pictures_keeps_its_place(ending: str, tmp_path: Path) -> None:
    talk = write_talk(tmp_path / "talk.mkv", beep_s=0.5, sound_from_s=0.5)
    out = tmp_path / f"out{ending}"
    record_video(VideoSource(talk), out)
    with av.open(str(out)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.pts is not None]
    times_s = [float((packet.pts or 0) * packet.time_base) for packet in packets]
    lengths_s = [float((packet.duration or 0) * packet.time_base) for packet in packets]
    assert times_s[0] == pytest.approx(0.5, abs=0.03)
    assert max(lengths_s) == pytest.approx(1024 / 48000, abs=0.002)


def test_a_killed_program_loses_no_more_after_the_end_of_its_sound(tmp_path: Path) -> None:
    source = VideoSource(write_talk(tmp_path / "talk.mp4", beep_s=0.2))
    sink = FileSink(tmp_path / "out.mkv")
    sound = source.open_sound()
    assert sound is not None
    sink.take_sound(sound)
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
def test_sound_that_cannot_be_copied_is_reported(
    codec: str, ending: str, loop: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    talk, out = tmp_path / "talk.mkv", tmp_path / f"out{ending}"
    write_talk(talk, beep_s=0.2, codec=codec)
    record_video(VideoSource(talk, loop), out, frames=60)
    assert "The sound of talk.mkv" in caplog.text
    with av.open(str(out)) as container:
        assert not container.streams.audio
        assert len(list(container.decode(video=0))) == (60 if loop else 50)


def test_sound_that_a_file_would_refuse_at_its_end_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    talk = write_talk(tmp_path / "talk.mkv", beep_s=0.2, codec="pcm_s16le", layout="stereo")
    record_video(VideoSource(talk), tmp_path / "out.mp4")
    assert "The sound of talk.mkv (pcm_s16le) is left out" in caplog.text
    assert len(read(tmp_path / "out.mp4")[1]) == 50
