"""Listing and choosing cameras, and saying why one does not open."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reenact import v4l2
from reenact.errors import SourceError
from reenact.sources.camera_devices import (
    CameraInfo,
    find_again,
    find_camera,
    list_linux_cameras,
    why_closed,
    why_silent,
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
        "'c920' fits more than one camera, choose by number: "
        "2 (HD Pro Webcam C920), 4 (HD Pro Webcam C920)."
    )
    for wanted in ("1", "Logitech", "/dev/video9"):
        with pytest.raises(SourceError, match=r"there is 0 \(Integrated Camera\), 2 "):
            find_camera(wanted, CAMERAS)
    with pytest.raises(SourceError, match="No camera was found"):
        find_camera("0", [])


def test_where_the_system_names_no_cameras_a_number_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.sources.camera_devices._named_cameras", lambda: None)
    monkeypatch.setattr(
        "reenact.sources.camera_devices._probed_cameras", lambda: [CameraInfo(0, "camera 0")]
    )
    assert find_camera("3") == CameraInfo(3, "camera 3")
    assert find_camera("") == CameraInfo(0, "camera 0")
    assert find_again(CameraInfo(3, "camera 3")) == CameraInfo(3, "camera 3")
    with pytest.raises(SourceError, match=r"there is 0 \(camera 0\)"):
        find_camera("C920")


@pytest.mark.skipif(sys.platform == "win32", reason="stands a shell script in")
def test_mac_names_are_sorted_as_opencv_sorts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reenact.sources import camera_devices as cameras

    report = {
        "SPCameraDataType": [
            {"_name": "Desk", "spcamera_unique-id": "0x2"},
            {"_name": "FaceTime HD", "spcamera_unique-id": "0x1"},
        ]
    }
    program = tmp_path / "system_profiler"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(report)}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert cameras._mac_names() == ["FaceTime HD", "Desk"]
    program.write_text("#!/bin/sh\necho nonsense\n")
    assert cameras._mac_names() is None


def test_linux_listing_takes_nodes_with_pictures(tmp_path: Path) -> None:
    """A webcam has a second node for metadata, of index 1; video8 is described but has no node."""
    for number, name, index in ((10, "Webcam", 0), (3, "Webcam", 1), (2, "Grabber", 0), (8, "", 0)):
        entry = tmp_path / "class" / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
        (tmp_path / "dev").mkdir(exist_ok=True)
        if number != 8:
            (tmp_path / "dev" / f"video{number}").touch()
    (tmp_path / "class" / "vbi0").mkdir()
    cameras = list_linux_cameras(tmp_path / "class", tmp_path / "dev")
    assert [(camera.index, camera.name) for camera in cameras] == [(2, "Grabber"), (10, "Webcam")]
    assert cameras[0].path == str(tmp_path / "dev" / "video2")


def test_linux_listing_without_any_device(tmp_path: Path) -> None:
    assert list_linux_cameras(tmp_path / "nothing", tmp_path) == []


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
        "reenact.sources.camera_devices._named_cameras", lambda: [*CAMERAS[1:], moved]
    )
    assert find_again(old) == moved
    monkeypatch.setattr("reenact.sources.camera_devices._named_cameras", lambda: CAMERAS[1:])
    with pytest.raises(SourceError, match="Integrated Camera is not connected"):
        find_again(old)


def test_camera_is_not_mixed_up_with_another_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = CameraInfo(2, "C920", "/dev/video2", bus="usb-1")
    twin = CameraInfo(4, "C920", "/dev/video4", bus="usb-2")
    there = [twin]
    monkeypatch.setattr("reenact.sources.camera_devices._named_cameras", lambda: there)
    with pytest.raises(SourceError, match="C920 is not connected"):
        find_again(mine, [twin])
    elsewhere = CameraInfo(6, "C920", "/dev/video6", bus="usb-3")
    there.append(elsewhere)
    assert find_again(mine, [twin]) == elsewhere
    back = CameraInfo(8, "C920", "/dev/video8", bus="usb-1")
    there.append(back)
    assert find_again(mine, [twin]) == back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permission bits and /proc")
def test_missing_forbidden_and_busy_are_told_apart() -> None:
    # Not in tmp_path: a test run by root gives its rights up below, and must still get here.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    node = folder / "video5"
    camera = CameraInfo(5, "Desk Camera", str(node))
    try:
        assert "not connected" in why_closed(camera)
        node.touch()
        assert "probably in use" in why_closed(camera)
        with subprocess.Popen(["tail", "-f", str(node)], stdout=subprocess.DEVNULL) as other:
            until_s = time.monotonic() + 10
            while "process" not in why_silent(camera) and time.monotonic() < until_s:
                time.sleep(0.05)
            assert f"in use by tail (process {other.pid}); close that" in why_closed(camera)
            other.terminate()
        node.chmod(0)
        assert "usermod -aG video" in _as_ordinary_user(lambda: why_closed(camera))
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
