"""A live source that is reopened after every failure."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.sources.camera_devices import CameraInfo
from reenact.sources.reconnecting import Backoff, ReconnectingSource, SourceUnavailable
from reenact.sources.webcam import WebcamSettings, WebcamSource, open_webcam
from reenact.types import Frame, Source
from support.cameras import (
    FaultState,
    FaultyCapture,
    read_frames,
    read_until_back,
    read_until_lost,
)
from support.clips import number_of
from support.fakes import until


def reopening(state: FaultState) -> ReconnectingSource:
    return ReconnectingSource(state.open, timeout_s=0.2, first_pause_s=0.05, max_pause_s=0.2)


@pytest.mark.parametrize("fault", ["frozen", "silent", "unopenable"])
def test_camera_comes_back_by_itself(
    state: FaultState, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sources.webcam._WARM_UP_S", 0.1)
    with reopening(state) as source:
        assert isinstance(source, Source)
        before = read_frames(source, 5)
        state.fault = fault
        told = read_until_lost(source)
        assert told.startswith("Test Camera")
        assert source.problem
        for _ in range(3):  # each read while it is away returns soon with the reason
            with pytest.raises(SourceUnavailable, match="Test Camera"):
                source.read()
        state.fault = ""
        back = read_until_back(source)
        after = [back, *read_frames(source, 10)]
        assert source.reopened >= 1
        assert source.problem == ""
    indices = [frame.index for frame in before + after]
    assert indices == sorted(set(indices))
    times_s = [frame.time_s for frame in before + after]
    assert times_s == sorted(times_s)
    numbers = [number_of(frame.image) for frame in after]
    assert len(set(numbers)) > 5
    assert state.released == state.opened


def test_unplugged_camera_comes_back_under_another_number(
    tmp_path: Path, state: FaultState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capture keeps giving pictures after unplugging, as OpenCV does on some systems."""
    opened: list[CameraInfo] = []

    def open_capture(camera: CameraInfo) -> FaultyCapture:
        opened.append(camera)
        return FaultyCapture(state.clip, state)

    def plugged() -> list[CameraInfo]:
        nodes = sorted(tmp_path.glob("video*"))
        return [CameraInfo(int(node.name[5:]), "Desk Camera", str(node)) for node in nodes]

    monkeypatch.setattr("reenact.sources.webcam._open_opencv", open_capture)
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", plugged)
    monkeypatch.setattr("reenact.sources.webcam.list_cameras", plugged)
    (tmp_path / "video7").touch()
    with open_webcam("desk", WebcamSettings()) as source:
        read_frames(source, 5)
        (tmp_path / "video7").unlink()
        assert read_until_lost(source) == "Desk Camera is not connected; plug it in again."
        with pytest.raises(SourceUnavailable, match="not connected"):
            source.read()
        assert len(opened) == 1
        (tmp_path / "video9").touch()
        read_until_back(source)
        assert (source.reopened, source.problem) == (1, "")
    assert [camera.index for camera in opened] == [7, 9]
    assert state.released == 2


def test_hanging_driver_does_not_block_read(state: FaultState) -> None:
    with reopening(state) as source:
        read_frames(source, 2)
        state.fault = "hangs"
        read_until_lost(source)
        with pytest.raises(SourceUnavailable, match="no picture for"):
            source.read()
        state.fault = ""
        read_until_back(source)


def test_first_opening_fails_at_once(state: FaultState) -> None:
    state.fault = "unopenable"
    with pytest.raises(SourceError, match="sends no picture"):
        reopening(state)


def test_black_is_passed_on_without_reopening(state: FaultState) -> None:
    with reopening(state) as source:
        state.fault = "black"
        while not source.problem:
            read_frames(source, 1)
        assert "shows black" in source.problem
        assert source.reopened == 0


def test_close_ends_read_and_the_thread(state: FaultState) -> None:
    source = reopening(state)
    read_frames(source, 1)
    state.fault = "unopenable"
    read_until_lost(source)
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join(timeout=5)
    source.close()
    assert source.read() is None
    assert not any(thread.name == "source" for thread in threading.enumerate())
    assert state.released == state.opened


def test_read_raises_a_bug_in_the_source() -> None:
    class Buggy(WebcamSource):
        def __init__(self) -> None:
            self.name, self.size, self.fps, self.problem = "buggy", (4, 4), 30.0, ""

        def read(self) -> Frame | None:
            raise ZeroDivisionError("a bug")

        def close(self) -> None:
            pass

    with ReconnectingSource(Buggy) as source, pytest.raises(ZeroDivisionError):
        source.read()


@given(
    lives_s=st.lists(st.none() | st.floats(0, 30), min_size=1, max_size=30),
    first_s=st.floats(0.01, 2),
    growth=st.floats(1, 20),
)
def test_pauses_grow_to_their_maximum_and_start_over_after_steady_work(
    lives_s: list[float | None], first_s: float, growth: float
) -> None:
    """Each life is how long the source worked before it failed; None: it did not open."""
    backoff = Backoff(first_s, max_s=first_s * growth)
    now_s, before_s = 1000.0, 0.0
    for life_s in lives_s:
        if life_s is not None:
            backoff.note_opened(now_s)
            now_s += life_s
        pause_s = backoff.next_s(now_s)
        now_s += pause_s
        if before_s == 0 or (life_s or 0) > 10.01:
            assert pause_s == first_s
        elif (life_s or 0) < 9.99:
            assert pause_s == pytest.approx(min(before_s * 1.6, first_s * growth))
        before_s = pause_s


class ScriptedSource(ClosesOnExit):
    """Gives some frames and then fails, or ends if it is the last one."""

    live = True
    name = "scripted"
    size = pictures = (2, 2)
    fps = 30.0

    def __init__(self, frames: int, is_last: bool, log: list[str]) -> None:
        self._left = frames
        self._is_last = is_last
        self._log = log
        log.append("opened")

    def read(self) -> Frame | None:
        if self._left:
            self._left -= 1
            self._log.append("frame")
            width, height = self.pictures
            return Frame(np.zeros((height, width, 3), np.uint8), time.monotonic(), 0)
        if self._is_last:
            return None
        raise SourceError("The script failed.")

    def close(self) -> None:
        self._log.append("closed")


@settings(max_examples=50, deadline=None)
@given(
    first=st.integers(0, 4),
    others=st.lists(st.none() | st.integers(0, 4), max_size=8),
    last=st.integers(0, 4),
)
def test_every_frame_is_read_or_counted_as_dropped_across_failures(
    first: int, others: list[int | None], last: int
) -> None:
    """Each number is how many frames a source gives until it fails; None: it does not open."""
    log: list[str] = []
    script = [first, *others, last]

    def open_source() -> ScriptedSource:
        frames = script.pop(0)
        if frames is None:
            raise SourceError("The script does not open.")
        return ScriptedSource(frames, is_last=not script, log=log)

    indices: list[int] = []
    with ReconnectingSource(open_source, first_pause_s=1e-4, max_pause_s=2e-4) as source:
        while True:
            try:
                frame = source.read()
            except SourceUnavailable:
                continue
            if frame is None:
                break
            indices.append(frame.index)
    total = log.count("frame")
    assert total == first + sum(count or 0 for count in others) + last
    assert len(indices) + source.dropped == total
    assert indices == sorted(set(indices))
    assert not total or indices[-1] == total - 1
    assert source.reopened == log.count("opened") - 1
    assert source.reopened == 1 + sum(count is not None for count in others)
    assert log[-1] == "closed"


def test_another_camera_that_comes_in_place_of_the_first_is_described_anew() -> None:
    one, other = (ScriptedSource(1, is_last=False, log=[]) for _ in range(2))
    other.name, other.fps = "other", 15.0
    other.pictures = (4, 6)  # not as it said when it was opened
    script = iter([one, other])
    with ReconnectingSource(lambda: next(script), first_pause_s=1e-4) as source:
        frame: Frame | None = None
        while frame is None or frame.size != (4, 6):
            with suppress(SourceUnavailable):
                frame = source.read()
        assert (source.name, source.size, source.fps) == ("other", (4, 6), 15.0)


def test_while_a_source_is_away_each_read_waits_and_tells_the_latest_reason() -> None:
    script = [ScriptedSource(1, is_last=False, log=[])]

    def open_source() -> ScriptedSource:
        if not script:
            raise SourceError("It is busy.")
        return script.pop()

    with ReconnectingSource(open_source, timeout_s=0.2, first_pause_s=1e-3) as source:
        until(lambda: source.problem == "It is busy.")
        assert source.read() is not None  # from before
        begin_s = time.monotonic()
        for _ in range(3):  # the first at once
            with pytest.raises(SourceUnavailable, match=r"It is busy\."):
                source.read()
        assert time.monotonic() - begin_s > 0.35
