"""The null sink, several sinks at once, and the registered ones."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.config import SinkSettings
from reenact.errors import SinkError
from reenact.sinks.fanout import (
    SinkSet,
    check_outputs,
    existing_files,
)
from reenact.sinks.mjpeg_server import HttpSink
from reenact.sinks.null import NullSink
from reenact.sinks.video_file import FileSettings, FileSink
from reenact.sinks.virtual_camera import CameraSink
from reenact.sinks.window import WindowSink
from reenact.sources.video_file import VideoSource
from reenact.stats import StepTimer
from reenact.types import Frame
from support.clips import numbered_picture
from support.fakes import FakeSink, until

SIZE = (160, 120)


def frame(number: int) -> Frame:
    return Frame(numbered_picture(number), number / 25, number)


def build(text: str, settings: SinkSettings | None = None) -> object:
    kind, argument = registry.split(text)
    return registry.load("sinks", kind).make(argument, settings or SinkSettings())


# Registered sinks


def test_sinks_are_built_from_the_command_line(tmp_path: Path) -> None:
    file = build(f"file:{tmp_path / 'out.mp4'}")
    assert isinstance(file, FileSink)
    assert file.path == tmp_path / "out.mp4"
    assert isinstance(build("camera:/dev/video9"), CameraSink)
    assert isinstance(build("window"), WindowSink)
    assert isinstance(build("http:0"), HttpSink)
    assert isinstance(build("null"), NullSink)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("file", r"file:out\.mp4"),
        ("http:eighty", "port"),
        ("http:65536", "port"),
        ("null:x", "--sink null"),
        ("window:2", "--sink window"),
    ],
)
def test_wrong_arguments_are_explained(text: str, hint: str) -> None:
    with pytest.raises(SinkError, match=hint):
        build(text)


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
@pytest.mark.parametrize("kind", ["file", "landmarks"])
def test_a_pipe_or_device_is_not_replaced(kind: str, tmp_path: Path) -> None:
    pipe = tmp_path / "out.mp4"
    os.mkfifo(pipe)
    with pytest.raises(SinkError, match="not a regular file"):
        build(f"{kind}:{pipe}")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_name_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name, place in (("~out.mp4", "~out.mp4"), ("~/out.mp4", "home/out.mp4")):
        check_outputs([f"file:{name}", f"landmarks:{name}.npy"], {})
        assert existing_files([f"file:{name}"]) == []
        with FileSink(name) as sink:
            sink.open(SIZE, 25.0)
            sink.write(frame(0))
        assert (tmp_path / place).is_file()
        assert existing_files([f"file:{name}"]) == [name]
        check_outputs([f"file:{name}.mp4"], {"source": name})
        with VideoSource(name) as video:
            assert video.size == SIZE


def test_a_file_that_is_read_is_not_overwritten_by_any_path(tmp_path: Path) -> None:
    read = tmp_path / "mine.mp4"
    for sink in (f"file:{read}", "file:", "file:.", "null"):
        check_outputs([sink], {"source": read})  # there is no such file
    read.write_bytes(b"a video")
    (tmp_path / "link.mp4").hardlink_to(read)
    for path in (read, tmp_path / "link.mp4", tmp_path / ".." / tmp_path.name / "mine.mp4"):
        with pytest.raises(SinkError, match="is the source itself"):
            check_outputs(["null", f"file:{path}"], {"source": read})
    for other in (None, "", "0", "http://localhost/mine.mp4", str(tmp_path / "other.mp4")):
        check_outputs([f"file:{read}", "file:", "window"], {"source": other})


def test_two_outputs_never_write_to_one_file(tmp_path: Path) -> None:
    written = tmp_path / "out.mp4"
    check_outputs([f"file:{written}", f"file:{tmp_path / 'other.mp4'}", "null", "null"], {})
    (tmp_path / "link.mp4").symlink_to(written)
    for path in (written, tmp_path / "link.mp4", tmp_path / ".." / tmp_path.name / "out.mp4"):
        with pytest.raises(SinkError, match="give each its own file"):
            check_outputs([f"file:{written}", "http", f"file:{path}"], {})


def test_settings_reach_the_file(tmp_path: Path) -> None:
    sizes = []
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for crf in (10, 40):
        sink = build(f"file:{tmp_path / f'{crf}.mp4'}", SinkSettings(file=FileSettings(crf=crf)))
        assert isinstance(sink, FileSink)
        with sink:
            sink.open(SIZE, 25.0)
            for index in range(5):
                sink.write(Frame(noise, index / 25, index))
        sizes.append(sink.path.stat().st_size)
    assert sizes[0] > 3 * sizes[1]


# Several at once


def test_all_sinks_get_every_frame() -> None:
    sinks = [FakeSink("one"), FakeSink("two")]
    with SinkSet(sinks) as together:
        together.open(SIZE, 25.0)
        for number in range(5):
            together.write(frame(number))
    for sink in sinks:
        assert sink.opened == (SIZE, 25.0)
        assert [written.index for written in sink.frames] == list(range(5))
        assert sink.closed == 1


def test_a_sink_that_fails_is_closed_and_reported_once_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = FakeSink("good"), FakeSink("bad", fails_at=2)
    together = SinkSet([bad, good])
    with caplog.at_level(logging.WARNING, "reenact"):
        together.open(SIZE, 25.0)
        for number in range(6):
            together.write(frame(number))
    assert len(good.frames) == 6
    assert len(bad.frames) == 2
    assert bad.closed == 1
    assert together.errors == {"bad": "bad is broken; this is a test."}
    assert [record.getMessage() for record in caplog.records] == [
        "bad is broken; this is a test. The other outputs go on."
    ]
    together.close()
    assert (bad.closed, good.closed) == (1, 1)


def test_the_error_of_the_last_sink_has_the_messages_of_all() -> None:
    together = SinkSet([FakeSink("one", fails_at=1), FakeSink("two", fails_at=2)])
    together.open(SIZE, 25.0)
    together.write(frame(0))
    together.write(frame(1))
    with pytest.raises(SinkError, match=r"one is broken.* two is broken"):
        together.write(frame(2))
    with pytest.raises(SinkError):
        together.write(frame(3))
    together.close()


def test_a_sink_that_cannot_be_opened_does_not_stop_the_others() -> None:
    good, bad = FakeSink("good"), FakeSink("bad", open_fails=True)
    with SinkSet([bad, good]) as together:
        together.open(SIZE, 25.0)
        together.write(frame(0))
        assert list(together.errors) == ["bad"]
    assert len(good.frames) == 1


def test_an_error_is_raised_if_no_sink_can_be_opened() -> None:
    together = SinkSet([FakeSink("one", open_fails=True), FakeSink("two", open_fails=True)])
    with pytest.raises(SinkError, match=r"one cannot be opened.* two cannot be opened"):
        together.open(SIZE, 25.0)


def test_a_bug_in_a_sink_stops_that_sink_only(caplog: pytest.LogCaptureFixture) -> None:
    def trip(number: int) -> None:
        raise ZeroDivisionError("division by zero")

    good, bad = FakeSink("good"), FakeSink("bad", on_write=trip)
    with SinkSet([bad, good]) as together, caplog.at_level(logging.ERROR, "reenact"):
        together.open(SIZE, 25.0)
        together.write(frame(0))
        assert "ZeroDivisionError" in together.errors["bad"]
    assert len(good.frames) == 1
    assert any(record.exc_info for record in caplog.records)


def test_live_follows_the_sinks_that_work() -> None:
    together = SinkSet([FakeSink("window", live=True, fails_at=1), FakeSink("file")])
    together.open(SIZE, 25.0)
    together.write(frame(0))
    assert together.live
    together.write(frame(1))
    assert not together.live


def test_a_window_that_the_user_closes_ends_the_session() -> None:
    window = FakeSink("window", live=True)
    together = SinkSet([window, NullSink()])
    assert not together.closed_by_user
    window.closed_by_user = True
    assert together.closed_by_user


def test_a_window_that_the_user_closes_goes_if_the_picture_is_also_seen_elsewhere() -> None:
    window = FakeSink("window", live=True)
    together = SinkSet([window, NullSink()], ends_with_window=False)
    together.open(SIZE, 25.0)
    together.write(frame(0))
    window.closed_by_user = True
    assert not together.closed_by_user
    together.write(frame(1))
    assert together.names == ("null",)
    assert together.errors == {}
    assert (len(window.frames), window.closed) == (1, 1)


class Device(FakeSink):
    """Notes which thread closes it. Unlike a window, it cannot be closed by the user."""

    closed_by: threading.Thread | None = None
    on_open: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, name: str, may_close: threading.Event | None = None) -> None:
        super().__init__(name)
        self._may_close = may_close
        del self.closed_by_user

    def open(self, size: tuple[int, int], fps: float) -> None:
        self.on_open()
        super().open(size, fps)

    def close(self) -> None:
        assert self._may_close is None or self._may_close.wait(60.0)
        self.closed_by = threading.current_thread()
        super().close()


def test_finishing_a_file_delays_no_picture() -> None:
    file, window = Device("file"), FakeSink("window")
    with SinkSet([file, window]) as together:
        together.open(SIZE, 25.0)
        together.remove("file")
        together.write(frame(0))
        until(lambda: file.closed)
    assert file.closed_by is not threading.current_thread()
    assert (len(file.frames), len(window.frames)) == (0, 1)


def test_an_output_that_failed_may_be_added_again() -> None:
    with SinkSet([FakeSink("file", fails_at=0), FakeSink("window")]) as together:
        together.open(SIZE, 25.0)
        together.write(frame(0))
        assert set(together.errors) == {"file"}
        again = FakeSink("file")
        assert together.add(again) == "file"
        assert together.errors == {}
        together.write(frame(1))
    assert len(again.frames) == 1


def test_equal_names_are_numbered_and_timed() -> None:
    timer = StepTimer()
    with SinkSet([NullSink(), NullSink(), NullSink()], timer) as together:
        together.open(SIZE, 25.0)
        together.write(frame(0))
    steps = timer.percentiles()
    assert set(steps) == {"write null", "write null 2", "write null 3"}
    assert all(spread.p50 > 0 for spread in steps.values())


def test_a_sink_that_waits_is_closed_when_it_is_removed_or_the_session_ends() -> None:
    sinks = SinkSet([FakeSink("first")])
    waiting = [FakeSink("second"), FakeSink("third")]
    for sink in waiting:
        sinks.add(sink)
    sinks.remove("second")
    sinks.close()
    assert [sink.closed for sink in waiting] == [1, 1]


def test_a_number_that_is_taken_is_not_given_again() -> None:
    sinks = SinkSet([FakeSink("http"), FakeSink("http 2")])
    assert sinks.add(FakeSink("http")) == "http 3"
    assert sinks.names == ("http", "http 2", "http 3")


@pytest.mark.parametrize("frames_between", [0, 3])
def test_a_sink_that_is_removed_and_added_again_keeps_its_name_and_closes_first(
    frames_between: int,
) -> None:
    may_close, closed_before = threading.Event(), list[int]()
    old, new = Device("camera", may_close), Device("camera")
    new.on_open = lambda: closed_before.append(old.closed)
    with SinkSet([FakeSink("window"), old]) as together:
        together.open(SIZE, 25.0)
        together.write(frame(0))
        together.remove("camera")
        for number in range(frames_between):
            together.write(frame(1 + number))
        assert together.add(new) == "camera"
        together.write(frame(4))
        assert closed_before == []
        assert list(together.names) == ["window", "camera"]
        may_close.set()
        until(lambda: together.write(frame(5)) or new.frames)  # type: ignore[func-returns-value]
        together.remove("camera")
        together.write(frame(6))
        assert list(together.names) == ["window"]
    assert closed_before == [1]
    assert len(old.frames) == 1


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(SinkError, match="--sink"):
        SinkSet([])


def test_a_file_that_cannot_be_finished_is_reported_once() -> None:
    class Unfinished(FakeSink):
        def close(self) -> None:
            super().close()
            raise SinkError("the disk is full")

    alone = SinkSet([Unfinished("file")])
    alone.open(SIZE, 25.0)
    with pytest.raises(SinkError, match="the disk is full"):
        alone.close()
    alone.close()
    beside = SinkSet([Unfinished("file"), FakeSink("window")])
    beside.open(SIZE, 25.0)
    beside.close()
    assert beside.errors == {"file": "the disk is full"}


def test_a_sink_of_a_set_that_closes_is_not_handed_over() -> None:
    """Finishing a long recording takes a while, during which the next session may be asked for."""
    camera, may_close = Device("camera"), threading.Event()
    camera.live = True
    together = SinkSet([camera, Device("file", may_close)])
    together.open(SIZE, 25.0)
    together.write(frame(0))
    closing = threading.Thread(target=together.close)
    closing.start()
    until(lambda: camera.closed)
    given = together.hand_over(["camera"])
    may_close.set()
    closing.join(60.0)
    assert given == {}


def test_a_sink_that_is_added_after_the_end_is_refused() -> None:
    ended = SinkSet([FakeSink("window")])
    ended.open(SIZE, 25.0)
    ended.close()
    with pytest.raises(SinkError, match="has ended"):
        ended.add(FakeSink("camera"))
    assert ended.names == ()
