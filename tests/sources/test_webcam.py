"""The webcam source over OpenCV's real capture class, with faults injected around it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reenact.errors import SourceError
from reenact.sources.camera_devices import CameraInfo, list_cameras
from reenact.sources.reconnecting import ReconnectingSource, SourceUnavailable
from reenact.sources.webcam import WebcamSettings, WebcamSource, open_webcam
from reenact.types import Frame, Source
from support.clips import four_colours, number_of, write_clip

CAMERA = CameraInfo(0, "Test Camera")
PACE_S = 0.01


class FaultyCapture:
    """A real `cv2.VideoCapture` on a clip, played round and round at 100 frames/s, with faults.

    `fault` is shared by all captures of one test, as a broken cable would be:
    "" none; "frozen" the last picture again and again; "black"; "silent" no picture while
    `isOpened` says True; "flat" pictures without a shape, as OpenCV 4.11 gives them where a driver
    sends BGR; "unknown" likewise in another format; "unopenable"; "glitch" every third picture is
    damaged; "hangs" the driver does not return until the fault is over.
    """

    def __init__(self, clip: Path, state: FaultState) -> None:
        self._clip = clip
        self._state = state
        self._real = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
        self._last: Any = None
        self._grabs = 0
        state.opened += 1

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._state.fault != "unopenable" and self._real.isOpened()

    def set(self, propId: int, value: float, /) -> bool:  # noqa: N803 - OpenCV's name
        self._state.asked.append((propId, value))
        return False

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        return self._real.get(propId)

    def grab(self) -> bool:
        while self._state.fault == "hangs":
            time.sleep(PACE_S)
        time.sleep(PACE_S)
        self._grabs += 1
        if self._state.fault in ("silent", "unopenable"):
            return False
        if self._state.fault == "frozen" and self._last is not None:
            return True
        if not self._real.grab():
            self._real.release()
            self._real = cv2.VideoCapture(str(self._clip), cv2.CAP_FFMPEG)
            return self._real.grab()
        return True

    def retrieve(self) -> tuple[bool, Any]:
        if self._state.fault == "glitch" and self._grabs % 3 == 0:
            return False, None
        if self._state.fault != "frozen" or self._last is None:
            self._last = self._real.retrieve()[1]
        if self._state.fault == "flat":
            return True, self._last.reshape(1, -1)
        if self._state.fault == "unknown":
            return True, self._last[..., :2].reshape(1, -1)
        if self._state.fault == "black":
            return True, np.random.default_rng(self._grabs).integers(
                0, 4, self._last.shape, dtype=np.uint8
            )
        return True, self._last.copy()

    def release(self) -> None:
        self._state.released += 1
        self._real.release()


class FaultState:
    def __init__(self) -> None:
        self.fault = ""
        self.opened = 0
        self.released = 0
        self.asked: list[tuple[int, float]] = []


@pytest.fixture
def state() -> FaultState:
    return FaultState()


@pytest.fixture
def open_camera(tmp_path: Path, state: FaultState) -> Callable[[], WebcamSource]:
    clip = write_clip(tmp_path / "camera.avi", 60, codec="mjpeg", pix_fmt="yuvj422p")
    return lambda: WebcamSource(CAMERA, WebcamSettings(), lambda _: FaultyCapture(clip, state))


def read_frames(source: Source, count: int) -> list[Frame]:
    frames = []
    for _ in range(count):
        frame = source.read()
        assert frame is not None
        frames.append(frame)
    return frames


def read_until_lost(source: Source) -> str:
    """Read on until the source is lost; return what it said."""
    try:
        while source.read() is not None:
            pass
    except SourceError as lost:
        return str(lost)
    pytest.fail("the source ended instead of being lost")


def read_until_back(source: ReconnectingSource) -> Frame:
    while True:
        try:
            frame = source.read()
        except SourceUnavailable:
            continue
        assert frame is not None
        return frame


# --- one camera -------------------------------------------------------------------------------


def test_frames_from_the_real_capture(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    before_s = time.monotonic()
    with open_camera() as source:
        assert isinstance(source, Source)
        assert source.live
        assert (source.name, source.size) == ("Test Camera", (160, 120))
        frames = read_frames(source, 40)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    assert [frame.index for frame in frames] == list(range(40))
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(times_s)
    assert before_s < times_s[0] <= times_s[-1] <= time.monotonic()
    assert frames[0].image.flags.c_contiguous
    assert state.released == 1


def test_colours_are_rgb(tmp_path: Path, state: FaultState) -> None:
    clip = write_clip(
        tmp_path / "colours.avi",
        9,
        codec="mjpeg",
        pix_fmt="yuvj444p",
        picture=lambda _: four_colours(),
    )
    with WebcamSource(CAMERA, WebcamSettings(), lambda _: FaultyCapture(clip, state)) as source:
        (frame,) = read_frames(source, 1)
    assert frame.image[20, 20, 0] > 200  # red, top left
    assert frame.image[20, 20, 2] < 60


def test_format_size_and_rate_are_asked_for_format_first(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    open_camera().close()
    mjpg = int.from_bytes(b"MJPG", "little")
    assert state.asked == [
        (cv2.CAP_PROP_FOURCC, mjpg),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30.0),
    ]


def test_rate_is_measured_not_believed(open_camera: Callable[[], WebcamSource]) -> None:
    """The clip says 30, as CAP_PROP_FPS would; the pictures come at up to 100 a second."""
    with open_camera() as source:
        assert source.fps != 30.0
        frames = read_frames(source, 70)
        rate = 60 / (frames[-1].time_s - frames[-61].time_s)
        assert source.fps == pytest.approx(rate, rel=0.01)


def test_frozen_camera_is_noticed(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    with open_camera() as source:
        read_frames(source, 5)
        rate = source.fps
        state.fault = "frozen"
        since_s = time.monotonic()
        assert "has not changed" in read_until_lost(source)
        assert time.monotonic() - since_s > 0.9
        assert source.fps == rate  # repeated pictures are no pictures


def test_black_camera_is_reported_and_goes_on(
    open_camera: Callable[[], WebcamSource], state: FaultState, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="reenact"), open_camera() as source:
        read_frames(source, 3)
        assert source.problem == ""
        state.fault = "black"
        until_s = time.monotonic() + 2.5
        while time.monotonic() < until_s:
            read_frames(source, 1)
        assert "shows black" in source.problem
        state.fault = ""
        read_frames(source, 2)
        assert source.problem == ""
    assert [("black" in r.message, "again" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]


def test_silent_camera_is_lost_though_it_says_open(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    with open_camera() as source:
        read_frames(source, 2)
        state.fault = "silent"
        assert "sends no picture" in read_until_lost(source)


def test_single_damaged_pictures_are_stepped_over(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    with open_camera() as source:
        state.fault = "glitch"
        frames = read_frames(source, 20)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > 25


def test_flat_pictures_get_their_shape(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    state.fault = "flat"
    with open_camera() as source:
        assert source.size == (160, 120)
        numbers = [number_of(frame.image) for frame in read_frames(source, 10)]
        assert numbers == list(range(numbers[0], numbers[0] + 10))
        state.fault = "unknown"
        with pytest.raises(SourceError, match=r"source\.webcam\.fourcc=YUYV"):
            source.read()


def test_vanished_device_node_is_noticed_at_once(tmp_path: Path, state: FaultState) -> None:
    """OpenCV goes on giving pictures here; the node alone tells."""
    node = tmp_path / "video7"
    node.touch()
    clip = write_clip(tmp_path / "camera.avi", 60, codec="mjpeg", pix_fmt="yuvj422p")
    camera = CameraInfo(7, "Plugged Camera", str(node))
    with WebcamSource(camera, WebcamSettings(), lambda _: FaultyCapture(clip, state)) as source:
        read_frames(source, 3)
        node.unlink()
        with pytest.raises(SourceError, match="Plugged Camera is not connected"):
            source.read()
    with pytest.raises(SourceError, match="not connected"):
        WebcamSource(camera, WebcamSettings(), lambda _: FaultyCapture(clip, state))
    assert state.opened == 1


@pytest.mark.parametrize("fault", ["unopenable", "silent"])
def test_failed_opening_gives_the_device_back(
    open_camera: Callable[[], WebcamSource],
    state: FaultState,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.sources.webcam._WARM_UP_S", 0.2)
    state.fault = fault
    with pytest.raises(SourceError, match="Test Camera sends no picture, it is probably in use"):
        open_camera()
    assert state.released == state.opened == 1


def test_close_while_another_thread_reads(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    source = open_camera()
    results: list[Frame | None] = []

    def reader() -> None:
        while True:
            results.append(source.read())
            if results[-1] is None:
                return

    thread = threading.Thread(target=reader)
    thread.start()
    while len(results) < 5:
        time.sleep(0.01)
    source.close()
    source.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert source.read() is None
    assert state.released == 1


# --- one that comes back ----------------------------------------------------------------------


def reopening(open_camera: Callable[[], WebcamSource]) -> ReconnectingSource:
    return ReconnectingSource(open_camera, timeout_s=0.2, first_pause_s=0.05, max_pause_s=0.2)


@pytest.mark.parametrize("fault", ["frozen", "silent", "unopenable"])
def test_camera_comes_back_by_itself(
    open_camera: Callable[[], WebcamSource],
    state: FaultState,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.sources.webcam._WARM_UP_S", 0.1)
    with reopening(open_camera) as source:
        assert isinstance(source, Source)
        before = read_frames(source, 5)
        state.fault = fault
        told = read_until_lost(source)
        assert told.startswith("Test Camera")
        assert source.problem
        for _ in range(3):  # while it is away, each read comes back soon, with the reason
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
    """Unplugged, the capture goes on giving pictures here, as OpenCV does on some systems."""
    clip = write_clip(tmp_path / "camera.avi", 60, codec="mjpeg", pix_fmt="yuvj422p")
    opened: list[CameraInfo] = []

    def open_capture(camera: CameraInfo) -> FaultyCapture:
        opened.append(camera)
        return FaultyCapture(clip, state)

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


def test_hanging_driver_does_not_hold_read_up(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    with reopening(open_camera) as source:
        read_frames(source, 2)
        state.fault = "hangs"
        read_until_lost(source)
        with pytest.raises(SourceUnavailable, match="no picture for"):
            source.read()
        state.fault = ""
        read_until_back(source)


def test_first_opening_fails_at_once(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    state.fault = "unopenable"
    with pytest.raises(SourceError, match="sends no picture"):
        reopening(open_camera)


def test_newest_frame_wins_and_drops_are_counted(open_camera: Callable[[], WebcamSource]) -> None:
    with reopening(open_camera) as source:
        (before,) = read_frames(source, 1)
        time.sleep(0.3)
        (after,) = read_frames(source, 1)
        dropped = source.dropped
    assert after.index - before.index > 5
    assert dropped >= after.index - before.index - 1


def test_black_is_passed_on_without_reopening(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    with reopening(open_camera) as source:
        state.fault = "black"
        while not source.problem:
            read_frames(source, 1)
        assert "shows black" in source.problem
        assert source.reopened == 0


def test_close_ends_read_and_the_thread(
    open_camera: Callable[[], WebcamSource], state: FaultState
) -> None:
    source = reopening(open_camera)
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


def test_a_bug_in_the_source_comes_out_of_read() -> None:
    class Buggy(WebcamSource):
        def __init__(self) -> None:
            self.name, self.size, self.fps, self.problem = "buggy", (4, 4), 30.0, ""

        def read(self) -> Frame | None:
            raise ZeroDivisionError("a bug")

        def close(self) -> None:
            pass

    with ReconnectingSource(Buggy) as source, pytest.raises(ZeroDivisionError):
        source.read()


def test_real_camera() -> None:
    cameras = [camera for camera in list_cameras() if not camera.is_loopback]
    if not cameras:
        pytest.skip("no camera on this machine")
    with open_webcam(str(cameras[0].index), WebcamSettings(width=640, height=480)) as source:
        frames = read_frames(source, 30)
        assert source.name == cameras[0].name
        assert source.fps > 1
    assert frames[-1].time_s > frames[0].time_s
    assert len({frame.image.tobytes() for frame in frames}) > 1
