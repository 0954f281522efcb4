"""The virtual camera: its messages, and the size that the device really has.

Where a v4l2loopback device is at hand, frames are sent through it and read back.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import corners, four_colours

from reenact.errors import SinkError
from reenact.types import Frame
from reenact.virtual_camera import (
    GET_DRIVER,
    CameraSink,
    describe,
    explain,
    find_device,
    frozen_size,
    loopbacks,
    missing,
)

NOT_OUTPUT = "'v4l2loopback' backend: Device /dev/video10 is not a video output device."
NONE_FOUND = (
    "'v4l2loopback' backend: No v4l2 loopback device found at /dev/video[0-99]. "
    "Did you run 'modprobe v4l2loopback'? See also pyvirtualcam's documentation."
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="about v4l2loopback")


def device(
    sysfs: Path, number: int, name: str, size: str = "", driver: str = "v4l2loopback"
) -> None:
    """Lay out a device as Linux shows it."""
    folder = sysfs / "class/video4linux" / f"video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    if driver == "v4l2loopback":
        (folder / "format").write_text(f"{size}\n" if size else "")
        (folder / "max_openers").write_text("10\n")


def module(sysfs: Path, version: str) -> None:
    folder = sysfs / "module/v4l2loopback"
    folder.mkdir(parents=True)
    (folder / "version").write_text(f"{version}\n")


def test_devices_are_those_of_v4l2loopback_in_their_order(tmp_path: Path) -> None:
    device(tmp_path, 0, "Webcam", driver="uvcvideo")
    device(tmp_path, 10, "second")
    device(tmp_path, 9, "first")
    assert list(loopbacks(tmp_path).items()) == [
        ("/dev/video9", "first"),
        ("/dev/video10", "second"),
    ]
    assert missing("linux", tmp_path) is None
    assert describe("linux", tmp_path) == "/dev/video9 (first), /dev/video10 (second)"


def test_missing_says_what_is_missing(tmp_path: Path) -> None:
    assert missing("linux", tmp_path) == "v4l2loopback is not loaded"
    module(tmp_path, "0.13.2")
    assert missing("linux", tmp_path) == "v4l2loopback is loaded, but has no device"
    device(tmp_path, 10, "reenact")
    assert missing("linux", tmp_path) is None
    assert describe("linux", tmp_path) == "v4l2loopback 0.13.2: /dev/video10 (reenact)"


def test_device_is_found_by_path_number_and_name(tmp_path: Path) -> None:
    device(tmp_path, 10, "reenact")
    assert find_device("", tmp_path) == ""
    assert find_device("/dev/video3", tmp_path) == "/dev/video3"
    assert find_device("3", tmp_path) == "/dev/video3"
    assert find_device("Reenact", tmp_path) == "/dev/video10"
    with pytest.raises(SinkError, match=r"/dev/video10 \(reenact\)"):
        find_device("other", tmp_path)


def test_size_that_a_reader_holds_is_seen(tmp_path: Path) -> None:
    device(tmp_path, 10, "held", "YU12:640x480@30/1")
    assert frozen_size("/dev/video10", tmp_path) == (640, 480)
    assert frozen_size("", tmp_path) == (640, 480)
    device(tmp_path, 11, "free")
    assert frozen_size("/dev/video11", tmp_path) is None
    assert frozen_size("/dev/video12", tmp_path) is None
    assert frozen_size("", tmp_path) is None  # two devices: nobody knows which it will be
    assert frozen_size("OBS Virtual Camera", tmp_path) is None


def test_missing_driver_names_the_commands(tmp_path: Path) -> None:
    message = explain(NONE_FOUND, "linux", tmp_path)
    assert "sudo apt install v4l2loopback-dkms" in message
    assert "sudo modprobe v4l2loopback" in message
    assert "exclusive_caps=1" in message


@pytest.mark.parametrize("words", [NOT_OUTPUT, NONE_FOUND])
def test_old_driver_that_was_opened_before_is_explained(words: str, tmp_path: Path) -> None:
    module(tmp_path, "0.12.7")
    device(tmp_path, 10, "reenact")
    message = explain(words, "linux", tmp_path)
    assert "0.12.7" in message
    assert "once" in message
    assert "sudo modprobe -r v4l2loopback" in message
    assert "0.13" in message


def test_new_driver_is_not_blamed(tmp_path: Path) -> None:
    module(tmp_path, "0.13.2")
    device(tmp_path, 10, "reenact")
    message = explain(NOT_OUTPUT, "linux", tmp_path)
    assert "modprobe -r" not in message
    assert "/dev/video10 (reenact)" in message


def test_permission_and_unknown_devices_are_explained(tmp_path: Path) -> None:
    module(tmp_path, "0.13.2")
    device(tmp_path, 10, "reenact")
    denied = "'v4l2loopback' backend: Device /dev/video10 could not be opened: Permission denied"
    assert "usermod -aG video" in explain(denied, "linux", tmp_path)
    absent = "'v4l2loopback' backend: Device /dev/video99 does not exist."
    assert "/dev/video10 (reenact)" in explain(absent, "linux", tmp_path)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_have_their_own_message(system: str) -> None:
    assert "OBS Studio" in explain("'obs' backend: not installed", system)
    assert "Stop Virtual Camera" in explain(
        "'obs' backend: virtual camera output could not be started", system
    )


def test_every_system_has_a_way_to_the_driver() -> None:
    assert set(GET_DRIVER) == {"linux", "win32", "darwin"}
    assert len(set(GET_DRIVER.values())) == 3


@linux
def test_real_backend_without_a_driver_is_explained() -> None:
    if missing() is None:
        pytest.skip("there is a virtual camera")
    with CameraSink() as sink:
        with pytest.raises(SinkError, match="modprobe v4l2loopback"):
            sink.open((160, 120), 25.0)
        with pytest.raises(SinkError, match="closed"):
            sink.write(Frame(four_colours(), 0.0, 0))


@linux
def test_real_backend_names_a_device_that_is_absent() -> None:
    with CameraSink("/dev/video987") as sink, pytest.raises(SinkError, match=r"virtual camera|987"):
        sink.open((160, 120), 25.0)


def test_unknown_backend_names_those_that_exist() -> None:
    with (
        CameraSink(backend="nonesuch") as sink,
        pytest.raises(SinkError, match=r"nonesuch.*known:"),
    ):
        sink.open((160, 120), 25.0)


@linux
def test_frames_come_out_of_a_real_device() -> None:
    problem = missing()
    if problem is not None:
        pytest.skip(problem)
    stop = threading.Event()
    with CameraSink() as sink:
        sink.open((640, 360), 20.0)
        frame = Frame(four_colours((640, 360)), 0.0, 0)

        def send() -> None:
            while not stop.wait(0.05):
                sink.write(frame)

        writer = threading.Thread(target=send)
        writer.start()
        try:
            time.sleep(0.5)
            reader = cv2.VideoCapture(sink.device, cv2.CAP_V4L2)
            picture = None
            for _ in range(5):
                read, picture = reader.read()
                assert read
            reader.release()
        finally:
            stop.set()
            writer.join()
    assert picture is not None
    assert picture.shape[:2] == (sink.size[1], sink.size[0])
    assert corners(np.ascontiguousarray(picture[..., ::-1])) == ["red", "green", "blue", "white"]
