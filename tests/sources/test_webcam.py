"""The webcam source over OpenCV's real capture class, with faults injected around it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2
import pytest

from reenact.errors import SourceError
from reenact.sources.camera_devices import CameraInfo
from reenact.sources.picture_watch import FROZEN_AFTER_S
from reenact.types import Source
from support.cameras import (
    FaultState,
    read_frames,
    read_until_lost,
)
from support.clips import close_while_reading, four_colours, number_of, write_clip


def test_frames_from_the_real_capture(state: FaultState) -> None:
    before_s = time.monotonic()
    with state.open() as source:
        assert isinstance(source, Source)
        assert source.live
        assert (source.name, source.size) == ("Test Camera", (160, 120))
        frames = read_frames(source, 40)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    assert numbers[0] > 4  # a camera adjusts its exposure in the first ones
    assert [frame.index for frame in frames] == list(range(40))
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(times_s)
    assert before_s < times_s[0] <= times_s[-1] <= time.monotonic()
    assert frames[0].image.flags.c_contiguous
    assert state.released == 1


def test_colours_are_rgb(tmp_path: Path, state: FaultState) -> None:
    state.clip = tmp_path / "colours.avi"
    colours = four_colours()
    write_clip(state.clip, 9, codec="mjpeg", pix_fmt="yuvj444p", picture=lambda _: colours)
    with state.open() as source:
        (frame,) = read_frames(source, 1)
    assert frame.image[20, 20, 0] > 200  # red, top left
    assert frame.image[20, 20, 2] < 60


def test_format_size_and_rate_are_asked_for_format_first(state: FaultState) -> None:
    state.open().close()
    mjpg = int.from_bytes(b"MJPG", "little")
    assert state.asked == [
        (cv2.CAP_PROP_FOURCC, mjpg),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30.0),
    ]


def test_rate_is_measured(state: FaultState) -> None:
    """CAP_PROP_FPS is 30, while the pictures come at up to 100 a second."""
    with state.open() as source:
        assert source.fps != 30.0
        frames = read_frames(source, 70)
        rate = 60 / (frames[-1].time_s - frames[-61].time_s)
        assert source.fps == pytest.approx(rate, rel=0.01)


def test_frozen_camera_is_noticed(state: FaultState) -> None:
    with state.open() as source:
        read_frames(source, 5)
        rate = source.fps
        state.fault = "frozen"
        since_s = time.monotonic()
        assert "has not changed" in read_until_lost(source)
        assert time.monotonic() - since_s > 0.9
        assert source.fps == rate  # repeated pictures do not count


def test_a_still_picture_of_another_program_is_none_that_hangs(state: FaultState) -> None:
    state.fault = "frozen"
    with state.open(CameraInfo(0, "Virtual Camera", is_loopback=True)) as source:
        since_s = time.monotonic()
        while time.monotonic() < since_s + 2 * FROZEN_AFTER_S:
            read_frames(source, 1)


def test_black_camera_is_reported_and_goes_on(
    state: FaultState, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="reenact"), state.open() as source:
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


def test_single_damaged_pictures_are_stepped_over(state: FaultState) -> None:
    with state.open() as source:
        state.fault = "glitch"
        frames = read_frames(source, 20)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > 25


def test_flat_pictures_are_reshaped(state: FaultState) -> None:
    state.fault = "flat"
    with state.open() as source:
        assert source.size == (160, 120)
        numbers = [number_of(frame.image) for frame in read_frames(source, 10)]
        assert numbers == list(range(numbers[0], numbers[0] + 10))
        state.fault = "unknown"
        with pytest.raises(SourceError, match=r"source\.webcam\.fourcc=YUYV"):
            source.read()


def test_vanished_device_node_is_noticed_at_once(tmp_path: Path, state: FaultState) -> None:
    """OpenCV keeps giving pictures; only the missing node shows that the camera is gone."""
    node = tmp_path / "video7"
    node.touch()
    camera = CameraInfo(7, "Plugged Camera", str(node))
    with state.open(camera) as source:
        read_frames(source, 3)
        node.unlink()
        with pytest.raises(SourceError, match="Plugged Camera is not connected"):
            source.read()
    with pytest.raises(SourceError, match="not connected"):
        state.open(camera)
    assert state.opened == 1


@pytest.mark.parametrize("fault", ["unopenable", "silent"])
def test_failed_opening_gives_the_device_back(
    state: FaultState, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sources.webcam._WARM_UP_S", 0.2)
    state.fault = fault
    with pytest.raises(SourceError, match="Test Camera sends no picture, it is probably in use"):
        state.open()
    assert state.released == state.opened == 1


def test_the_size_is_that_of_the_last_picture(state: FaultState) -> None:
    with state.open() as source:
        read_frames(source, 1)
        state.fault = "smaller"
        (frame,) = read_frames(source, 1)
        assert source.size == frame.size == (80, 60)


def test_a_slow_camera_is_not_waited_for_until_it_has_sent_all_first_pictures(
    state: FaultState, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = []
    for warm_up_s in (20.0, 0.025):
        monkeypatch.setattr("reenact.sources.webcam._WARM_UP_S", warm_up_s)
        with state.open() as source:
            first += [number_of(frame.image) for frame in read_frames(source, 1)]
    assert first[1] < first[0] - 2


def test_a_camera_that_comes_back_frozen_is_not_opened(state: FaultState) -> None:
    state.fault = "frozen"
    with pytest.raises(SourceError, match="Test Camera hangs"):
        state.open()
    assert state.released == state.opened == 1


def test_a_covered_camera_is_opened_though_its_picture_never_changes(state: FaultState) -> None:
    state.fault = "covered"
    with state.open() as source:
        until_s = time.monotonic() + 2.2
        while time.monotonic() < until_s:
            read_frames(source, 1)
        assert "shows black" in source.problem


def test_pictures_of_an_infrared_camera_are_rgb_as_well(state: FaultState) -> None:
    state.fault = "grey"
    with state.open() as source:
        frames = read_frames(source, 5)
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert all((frame.image == frame.image[..., :1]).all() for frame in frames)
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_a_camera_that_does_not_open_is_told_at_once(state: FaultState) -> None:
    """One that opens and is silent is waited for, because some take seconds to start."""
    state.fault = "unopenable"
    since_s = time.monotonic()
    with pytest.raises(SourceError, match="Test Camera sends no picture"):
        state.open()
    assert time.monotonic() - since_s < 1.0


def test_close_while_another_thread_reads(state: FaultState) -> None:
    close_while_reading(state.open(), frames=5)
    assert state.released == 1
