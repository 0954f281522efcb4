"""Listing and choosing cameras, and saying why one does not open."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2_enumerate_cameras
import pytest

from reenact import v4l2
from reenact.errors import SourceError
from reenact.sources import camera_devices
from reenact.sources.camera_devices import (
    CameraInfo,
    explain_closed,
    explain_silent,
    find_again,
    find_camera,
    lasting_argument,
    list_cameras,
)

CAMERAS = [
    CameraInfo(0, "Integrated Camera", "/dev/video0"),
    CameraInfo(2, "HD Pro Webcam C920", "/dev/video2"),
    CameraInfo(4, "HD Pro Webcam C920", "/dev/video4"),
    CameraInfo(6, "Cam", "/dev/video6"),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("", 0), ("0", 0), ("2", 2), (" 4 ", 4), ("integrated", 0), ("CAM", 6), ("/dev/video4", 4)],
)
def test_camera_by_index_name_or_path(wanted: str, index: int) -> None:
    assert find_camera(wanted, CAMERAS).index == index


def test_unknown_and_ambiguous_names_list_what_exists() -> None:
    with pytest.raises(SourceError) as caught:
        find_camera("c920", CAMERAS)
    assert str(caught.value) == (
        "'c920' matches more than one camera; use a number: "
        "2 (HD Pro Webcam C920), 4 (HD Pro Webcam C920)."
    )
    for wanted in ("1", "Logitech", "/dev/video9"):
        with pytest.raises(SourceError, match=r"there is 0 \(Integrated Camera\), 2 "):
            find_camera(wanted, CAMERAS)
    with pytest.raises(SourceError, match="No camera was found"):
        find_camera("0", [])


def test_a_camera_goes_by_its_name_where_no_other_has_it() -> None:
    cameras = [*CAMERAS, CameraInfo(8, "6"), CameraInfo(9, " "), CameraInfo(10, "/dev/video0")]
    arguments = [lasting_argument(camera, cameras) for camera in cameras]
    assert arguments == ["Integrated Camera", "2", "4", "Cam", "8", "9", "10"]
    assert [find_camera(argument, cameras) for argument in arguments] == cameras


def named(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, str, str]) -> None:
    """Let the library list these cameras: index, name and path."""
    listed = [SimpleNamespace(index=i, name=name, path=path) for i, name, path in found]
    monkeypatch.setattr(cv2_enumerate_cameras, "enumerate_cameras", lambda _: listed)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_systems_identifier_tells_two_cameras_of_one_model_apart(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(camera_devices, "_SYSTEM", system)
    named(monkeypatch, (0, "C920", "usb#1"), (1, "C920", "usb#2"), (2, "", "usb#3"))
    first, second, unnamed = list_cameras()
    assert (first.name, first.port, second.port) == ("C920", "usb#1", "usb#2")
    assert unnamed.name == "camera 2"
    assert not first.is_gone()  # it has no node
    named(monkeypatch, (0, "C920", "usb#2"))
    with pytest.raises(SourceError, match="C920 is not connected"):
        find_again(first, [second, CameraInfo(0, "C920", port="usb#2")])


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_virtual_cameras_are_known_by_their_names_and_come_last(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(camera_devices, "_SYSTEM", system)
    named(
        monkeypatch, (0, "OBS Virtual Camera", ""), (1, "Unity Video Capture", ""), (2, "C920", "")
    )
    assert [(camera.index, camera.is_loopback) for camera in list_cameras()] == [
        (2, False),
        (0, True),
        (1, True),
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what the kernel says")
def test_first_node_of_a_webcam_is_listed_if_its_nodes_may_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webcam has a second node for metadata, whose index is 1."""
    for number, index in ((2, "0"), (3, "1"), (10, "0")):
        (tmp_path / f"video{number}").mkdir()
        (tmp_path / f"video{number}" / "index").write_text(f"{index}\n")
    monkeypatch.setattr(camera_devices, "_LINUX_CLASS", tmp_path)
    nodes = {number: str(tmp_path / "dev" / f"video{number}") for number in (10, 3, 2)}
    named(monkeypatch, *((number, "Webcam", node) for number, node in nodes.items()))
    assert list_cameras() == [
        CameraInfo(2, "Webcam", nodes[2]),
        CameraInfo(10, "Webcam", nodes[10]),
    ]


def test_capability_record_has_the_kernels_size() -> None:
    """The ioctl number holds the size of struct v4l2_capability in its bits 16 to 29."""
    assert (v4l2.QUERYCAP >> 16) & 0x3FFF == v4l2.CAPABILITY.size == 104
    record = struct.pack(
        "=16s32s32s6I", b"v4l2 loopback", b"Card", b"bus", 0, 0x85200003, 0x05200001, 0, 0, 0
    )
    driver, *_, of_all, of_device = v4l2.CAPABILITY.unpack(record)
    assert driver.rstrip(b"\0") == b"v4l2 loopback"
    assert (of_all, of_device) == (0x85200003, 0x05200001)


def test_camera_is_found_again_under_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    old = CAMERAS[0]
    moved = CameraInfo(1, old.name, "/dev/video1")
    monkeypatch.setattr(
        "reenact.sources.camera_devices.list_cameras", lambda: [*CAMERAS[1:], moved]
    )
    assert find_again(old) == moved
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", lambda: CAMERAS[1:])
    with pytest.raises(SourceError, match="Integrated Camera is not connected"):
        find_again(old)


def test_camera_is_not_confused_with_another_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = CameraInfo(2, "C920", "/dev/video2", port="usb-1")
    twin = CameraInfo(4, "C920", "/dev/video4", port="usb-2")
    there = [twin]
    monkeypatch.setattr("reenact.sources.camera_devices.list_cameras", lambda: there)
    with pytest.raises(SourceError, match="C920 is not connected"):
        find_again(mine, [twin])
    elsewhere = CameraInfo(6, "C920", "/dev/video6", port="usb-3")
    there.append(elsewhere)
    assert find_again(mine, [twin]) == elsewhere
    back = CameraInfo(8, "C920", "/dev/video8", port="usb-1")
    there.append(back)
    assert find_again(mine, [twin]) == back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permission bits and /proc")
def test_missing_forbidden_and_busy_are_told_apart() -> None:
    # Not in tmp_path, which root creates out of reach of the ordinary user below.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    node = folder / "video5"
    camera = CameraInfo(5, "Desk Camera", str(node))
    try:
        assert "not connected" in explain_closed(camera)
        node.touch()
        assert "probably in use" in explain_closed(camera)
        with subprocess.Popen(["tail", "-f", str(node)], stdout=subprocess.DEVNULL) as other:
            until_s = time.monotonic() + 10
            while "process" not in explain_silent(camera) and time.monotonic() < until_s:
                time.sleep(0.05)
            assert f"in use by tail (process {other.pid}); close that" in explain_closed(camera)
            other.terminate()
        node.chmod(0)
        assert "usermod -aG video" in _as_ordinary_user(lambda: explain_closed(camera))
    finally:
        shutil.rmtree(folder)


def _as_ordinary_user(call: Callable[[], str]) -> str:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(user)
