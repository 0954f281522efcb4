"""The webcam source with a real driver: it reads, loses its camera, and finds it again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from guest import devices
from guest.traffic import drawn, opencv_reader
from reenact import registry
from reenact.cli import doctor
from reenact.config import Settings
from reenact.errors import SourceError
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet
from reenact.sinks.virtual_camera import CameraSink
from reenact.sources.camera_devices import list_cameras
from reenact.sources.reconnecting import ReconnectingSource, SourceUnavailable
from reenact.sources.video_file import VideoSource
from reenact.sources.webcam import WebcamSettings
from reenact.types import Frame, Image
from support.clips import read_all
from support.fakes import BLUE, GREEN, FakeReenactor, shows_actor, until

NAME = "vivid-000-vid-cap"

BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
"""The test camera's colour bars from left to right: whether red, green and blue are bright."""


@pytest.fixture
def webcam() -> Iterator[None]:
    with devices.webcam():
        yield


def open_source(argument: str = "vivid", **settings: object) -> ReconnectingSource:
    asked = WebcamSettings.model_validate({"width": 320, "height": 180, "fps": 15.0, **settings})
    source = registry.load("sources", "webcam").build(argument, asked)
    assert isinstance(source, ReconnectingSource)
    source.timeout_s = 5.0
    return source


def read(source: ReconnectingSource) -> Frame:
    """Read the next frame, waiting for as long as the camera is only slow, as under emulation."""
    until_s = time.monotonic() + 60.0
    while True:
        try:
            frame = source.read()
        except SourceUnavailable as stall:
            if "has sent no picture for" in str(stall) and time.monotonic() < until_s:
                continue
            raise
        assert frame is not None
        return frame


def read_until_lost(source: ReconnectingSource) -> str:
    try:
        while True:
            read(source)
    except SourceUnavailable as lost:
        return str(lost)


def bars_of(image: Image) -> list[tuple[int, ...]]:
    """Tell which channels of each bar are bright, below the text across them."""
    height, width = image.shape[:2]
    bars = []
    for bar in range(8):
        left, right = width * (4 * bar + 1) // 32, width * (4 * bar + 3) // 32
        patch = image[height * 3 // 4 :, left:right].reshape(-1, 3)
        bars.append(tuple(int(level > 96) for level in np.median(patch, axis=0)))
    return bars


@pytest.mark.usefixtures("webcam")
def test_camera_is_listed_and_read_in_its_colours() -> None:
    with devices.loopback():
        assert [(camera.name, camera.index) for camera in list_cameras()] == [(NAME, 20)]
    (check,) = doctor._cameras()
    assert (check.status, check.detail) == ("ok", f"webcam:20 {NAME}")
    with open_source() as source:
        assert (source.live, source.name, source.size) == (True, NAME, (320, 180))
        frames = [read(source) for _ in range(20)]
    assert bars_of(frames[-1].image) == BARS
    assert len({frame.image.tobytes() for frame in frames}) > 10
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(set(times_s))


@pytest.mark.usefixtures("webcam")
@pytest.mark.parametrize("fourcc", ["MJPG", "YUYV", ""])
def test_size_and_rate_are_those_that_the_camera_really_has(fourcc: str) -> None:
    """The test camera has neither MJPG, nor this size, nor this rate."""
    with open_source(fourcc=fourcc, width=300, height=170, fps=240.0) as source:
        frames = [read(source) for _ in range(25)]
        rate = source.fps
    assert frames[-1].size == source.size != (300, 170)
    assert bars_of(frames[-1].image) == BARS
    first, last = frames[0], frames[-1]
    delivered = (last.index - first.index) / (last.time_s - first.time_s)
    assert rate == pytest.approx(delivered, rel=0.5)
    assert rate < 120


@pytest.mark.usefixtures("webcam")
def test_unplugged_camera_comes_back() -> None:
    with open_source() as source:
        before = [read(source) for _ in range(5)]
        devices.unplug()
        assert read_until_lost(source) == f"{NAME} is not connected; plug it in again."
        assert source.problem
        devices.plug()
        until(lambda: source.problem == "")
        after = [read(source) for _ in range(5)]
        assert source.reopened == 1
    indices = [frame.index for frame in before + after]
    assert indices == sorted(set(indices))
    assert bars_of(after[-1].image) == BARS


@pytest.mark.usefixtures("webcam")
def test_busy_camera_is_reported_with_the_program_that_has_it() -> None:
    def hold() -> object:
        capture = cv2.VideoCapture(devices.WEBCAM, cv2.CAP_V4L2)
        assert capture.read()[0]
        return capture

    with (
        devices.another_program(hold) as process,
        pytest.raises(SourceError, match=rf"{NAME} is in use by .* \(process {process}\)"),
    ):
        open_source()
    with open_source() as source:
        assert bars_of(read(source).image) == BARS


@pytest.mark.usefixtures("webcam")
def test_forbidden_camera_is_reported_with_the_command() -> None:
    with devices.ordinary_user(), pytest.raises(SourceError, match="usermod -aG video"):
        open_source()


def test_missing_camera_is_reported() -> None:
    with pytest.raises(SourceError, match="No camera was found: plug one in"):
        open_source("")
    (check,) = doctor._cameras()
    assert check.status == "missing"


def test_still_picture_of_another_program_is_not_a_frozen_camera() -> None:
    size = (160, 120)
    stop = threading.Event()
    with devices.loopback(), CameraSink() as sink:
        sink.open(size, 20.0)
        picture = Frame(drawn(5, size), 0.0, 0)

        def send() -> None:
            while not stop.wait(0.05):
                sink.write(picture)

        # The device counts as a camera from its first picture on.
        sink.write(picture)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            with open_source("reenact", width=160, height=120) as source:
                since_s = time.monotonic()
                while time.monotonic() - since_s < 2.5:
                    frame = read(source)
                assert source.reopened == 0
        finally:
            stop.set()
            sender.join()
    assert frame.size == size


def test_output_goes_on_while_the_camera_is_unplugged(tmp_path: Path) -> None:
    """The target acts, rests while the camera is away, and acts again."""
    settings = Settings()
    settings.output.fps = 15.0
    film = tmp_path / "out.mp4"
    size = (160, 120)
    with devices.webcam(), devices.loopback():
        source = open_source()
        source.timeout_s = 0.5
        sinks = [
            registry.load("sinks", kind).make(argument, settings.sink)
            for kind, argument in (("camera", "reenact"), ("file", str(film)))
        ]
        session = Session(settings, source, FakeReenactor(size=size), SinkSet(sinks))
        with session:
            session.start()
            with opencv_reader(devices.CAMERA) as shown:
                colours = iter(_colour(picture) for picture in shown)
                wait_for_colour(colours, GREEN)
                devices.unplug()
                wait_for_colour(colours, BLUE)
                written = session.frames_out
                assert [next(colours) for _ in range(10)] == [BLUE] * 10
                until(lambda: session.frames_out >= written + 10)
                devices.plug()
                wait_for_colour(colours, GREEN)
            assert source.reopened == 1
            session.stop()
            assert session.wait(20.0)
    frames = read_all(VideoSource(str(film)))
    assert not any(shows_actor(frame.image) for frame in frames)
    changes = [_colour(frame.image) for frame in frames]
    runs = [colour for at, colour in enumerate(changes) if at == 0 or changes[at - 1] != colour]
    # The camera's first picture may come before the first one is written.
    assert runs in ([BLUE, GREEN, BLUE, GREEN], [GREEN, BLUE, GREEN])
    times_s = np.diff([frame.time_s for frame in frames])
    assert times_s.min() > 0


def wait_for_colour(colours: Iterator[tuple[int, int, int]], wanted: tuple[int, int, int]) -> None:
    until_s = time.monotonic() + 60.0
    while next(colours) != wanted:
        assert time.monotonic() < until_s, f"{wanted} does not come"


def _colour(image: Image) -> tuple[int, int, int]:
    """Name a plain picture's colour, whatever a codec made of it."""
    middle = image[image.shape[0] // 2, image.shape[1] // 2].astype(int)
    return min((GREEN, BLUE), key=lambda colour: int(np.abs(middle - colour).sum()))
