"""The virtual camera without a device; `guest/check_virtual_camera.py` has real ones."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from reenact.errors import SinkError
from reenact.sinks import v4l2loopback as loopback
from reenact.sinks.virtual_camera import CameraSink, absence, describe, explain
from reenact.types import Frame
from support.clips import four_colours

linux = pytest.mark.skipif(sys.platform != "linux", reason="about v4l2loopback")


def device(
    sysfs: Path, number: int, name: str, size: str = "", driver: str = "v4l2loopback"
) -> None:
    """Write what Linux shows of a device."""
    folder = sysfs / "class/video4linux" / f"video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    if driver == "v4l2loopback":
        (folder / "format").write_text(f"{size}\n" if size else "")
        (folder / "max_openers").write_text("10\n")


def module(sysfs: Path, version: str) -> None:
    folder = sysfs / "module/v4l2loopback"
    folder.mkdir(parents=True, exist_ok=True)
    if version:
        (folder / "version").write_text(f"{version}\n")


def test_devices_are_those_of_v4l2loopback_in_their_order(tmp_path: Path) -> None:
    device(tmp_path, 0, "Webcam", driver="uvcvideo")
    device(tmp_path, 10, "second")
    device(tmp_path, 9, "first")
    assert list(loopback.devices(tmp_path).items()) == [
        ("/dev/video9", "first"),
        ("/dev/video10", "second"),
    ]
    assert absence("linux", tmp_path) is None


def test_driver_and_its_age_are_named(tmp_path: Path) -> None:
    module(tmp_path, "")
    device(tmp_path, 10, "reenact")
    assert describe("linux", tmp_path) == "v4l2loopback older than 0.13: /dev/video10 (reenact)"
    module(tmp_path, "0.13.2")
    assert describe("linux", tmp_path) == "v4l2loopback 0.13.2: /dev/video10 (reenact)"


def test_missing_device_is_reported_with_the_command_that_helps(tmp_path: Path) -> None:
    def told() -> str:
        return str(loopback.absence(tmp_path, tmp_path / "modules"))

    dep = tmp_path / "modules" / platform.release() / "modules.dep"
    dep.parent.mkdir(parents=True)
    dep.write_text("kernel/drivers/media/v4l2-core/videodev.ko:\n")
    assert told().startswith("There is no virtual camera: install v4l2loopback (")
    assert "sudo apt install v4l2loopback-dkms" in told()
    assert "sudo modprobe v4l2loopback devices=1 exclusive_caps=1" in told()
    dep.write_text("updates/dkms/v4l2loopback.ko:\n")
    assert told().startswith("V4l2loopback is installed, but not loaded")
    assert "apt install" not in told()
    module(tmp_path, "0.13.2")
    assert told().startswith("V4l2loopback is loaded, but has no device: close the programs")
    device(tmp_path, 10, "reenact")
    assert told() == "None"


def test_device_is_found_by_path_number_and_name(tmp_path: Path) -> None:
    device(tmp_path, 10, "reenact")
    device(tmp_path, 11, "OBS Virtual Camera")
    assert loopback.find("", tmp_path) == ["/dev/video10", "/dev/video11"]
    assert loopback.find("/dev/video11", tmp_path) == ["/dev/video11"]
    assert loopback.find("11", tmp_path) == ["/dev/video11"]
    assert loopback.find("Reenact", tmp_path) == ["/dev/video10"]
    for wanted in ("other", "3", "/dev/video3"):
        with pytest.raises(SinkError, match=r"there is /dev/video10 \(reenact\), /dev/video11"):
            loopback.find(wanted, tmp_path)


def test_format_that_a_reader_holds_is_known(tmp_path: Path) -> None:
    device(tmp_path, 10, "held", "YUYV:640x480@30/1")
    assert loopback.held_format("/dev/video10", tmp_path) == loopback.Format("YUYV", (640, 480))
    device(tmp_path, 13, "without a size", "YUYV:640x0@30/1")
    assert loopback.held_format("/dev/video13", tmp_path) is None
    device(tmp_path, 11, "free")
    assert loopback.held_format("/dev/video11", tmp_path) is None
    assert loopback.held_format("/dev/video12", tmp_path) is None


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_have_their_own_message(system: str) -> None:
    assert "OBS Studio" in explain("'obs' backend: not installed", system)
    assert "Stop Virtual Camera" in explain(
        "'obs' backend: virtual camera output could not be started", system
    )


@linux
def test_real_backend_without_a_driver_is_explained() -> None:
    if absence() is None:
        pytest.skip("there is a virtual camera")
    with CameraSink() as sink:
        with pytest.raises(SinkError, match="modprobe v4l2loopback"):
            sink.open((160, 120), 25.0)
        with pytest.raises(SinkError, match="closed"):
            sink.write(Frame(four_colours(), 0.0, 0))


def test_unknown_backend_names_those_that_exist() -> None:
    with (
        CameraSink(backend="nonesuch") as sink,
        pytest.raises(SinkError, match=r"nonesuch.*known:"),
    ):
        sink.open((160, 120), 25.0)
