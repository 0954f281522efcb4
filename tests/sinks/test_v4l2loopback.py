"""Which virtual camera is taken, and what is told of one that cannot be.

The answers of Linux are simulated; `guest/check_virtual_camera.py` has the real driver.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

import pytest

from reenact import v4l2
from reenact.errors import SinkError
from reenact.sinks import v4l2loopback as loopback
from reenact.v4l2 import Capability, Holder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="about v4l2loopback")

READER = Holder("firefox", 11, writes=False, reads=True)
SENDER = Holder("obs", 12, writes=True, reads=False)
UNKNOWN = Holder("ffmpeg", 13, writes=False, reads=False)


class Machine:
    """What Linux says about devices; those that it does not know are missing."""

    def __init__(self) -> None:
        self.states: dict[str, Capability | OSError] = {}
        self.open_in: dict[str, list[Holder]] = {}

    def add(
        self, device: str, *holders: Holder, captures: bool = False, outputs: bool = True
    ) -> None:
        self.states[device] = Capability("v4l2 loopback", "", captures, outputs)
        self.open_in[device] = list(holders)

    def capability(self, device: str) -> Capability:
        state = self.states.get(device, FileNotFoundError(errno.ENOENT, "No such file"))
        if isinstance(state, OSError):
            raise state
        return state

    def holders(self, device: str) -> list[Holder]:
        return self.open_in.get(device, [])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(v4l2, "capability", machine.capability)
    monkeypatch.setattr(v4l2, "holders", machine.holders)
    return machine


def write_sysfs(sysfs: Path, number: int, name: str) -> str:
    folder = sysfs / f"class/video4linux/video{number}"
    folder.mkdir(parents=True)
    for attribute, value in (("name", name), ("format", ""), ("max_openers", "10")):
        (folder / attribute).write_text(f"{value}\n")
    return f"/dev/video{number}"


def test_the_first_free_device_is_taken(machine: Machine, tmp_path: Path) -> None:
    devices = [write_sysfs(tmp_path, number, f"camera {number}") for number in (7, 8, 9)]
    machine.add(devices[0], SENDER)
    machine.add(devices[1])
    machine.add(devices[2])
    assert loopback.take("", tmp_path) == devices[1]
    assert loopback.take("camera 9", tmp_path) == devices[2]
    with pytest.raises(SinkError, match=r"uses the virtual camera /dev/video7: close obs"):
        loopback.take("7", tmp_path)
    machine.add(devices[1], UNKNOWN, outputs=False)
    del machine.states[devices[2]]
    with pytest.raises(SinkError, match=r"uses the virtual camera /dev/video7: close obs"):
        loopback.take("", tmp_path)


@pytest.mark.parametrize(
    ("holders", "outputs", "culprits"),
    [
        ([READER], True, ""),
        # A driver with exclusive_caps=1 offers no more output once somebody writes.
        ([READER], False, ""),
        ([UNKNOWN], True, ""),
        ([READER, UNKNOWN], False, "ffmpeg (process 13)"),
        ([SENDER], True, "obs (process 12)"),
        ([SENDER, READER, UNKNOWN], False, "obs (process 12), ffmpeg (process 13)"),
    ],
)
def test_only_programs_that_may_be_writing_are_in_the_way(
    holders: list[Holder], outputs: bool, culprits: str, machine: Machine
) -> None:
    machine.add("/dev/video7", *holders, outputs=outputs)
    fault = loopback.obstacle("/dev/video7")
    assert (str(fault) if fault else "") == (
        f"Another program uses the virtual camera /dev/video7: close {culprits}."
        if culprits
        else ""
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "You may not open the virtual camera /dev/video7: add yourself"),
        (errno.EPERM, "You may not open the virtual camera /dev/video7: add yourself"),
        (
            errno.EBUSY,
            "Too many programs use /dev/video7: close one of them (firefox (process 11)).",
        ),
        (errno.ENODEV, "/dev/video7 cannot be opened (No such device): close the programs"),
    ],
)
def test_a_device_that_cannot_be_opened_is_told_with_what_helps(
    number: int, told: str, machine: Machine
) -> None:
    machine.add("/dev/video7", READER)
    machine.states["/dev/video7"] = OSError(number, os.strerror(number))
    assert str(loopback.obstacle("/dev/video7")).startswith(told)
    with pytest.raises(SinkError) as raised:
        loopback.prepare("/dev/video7")
    assert str(raised.value).startswith(told)
    assert loopback.weakness("/dev/video7") is None


def test_a_file_that_is_no_virtual_camera_is_told(machine: Machine) -> None:
    machine.states["/dev/video0"] = Capability("uvcvideo", "usb-1", captures=True, outputs=False)
    assert str(loopback.obstacle("/dev/video0")) == (
        "/dev/video0 is no virtual camera: choose another one, or none."
    )


@pytest.mark.parametrize(
    ("captures", "outputs", "holders", "hidden"),
    [
        (True, True, [], True),
        (False, True, [], False),
        (True, False, [], False),
        (True, True, [READER], False),  # which it is then not known to be
    ],
)
def test_a_camera_that_browsers_do_not_list_is_told(
    captures: bool, outputs: bool, holders: list[Holder], hidden: bool, machine: Machine
) -> None:
    machine.add("/dev/video7", *holders, captures=captures, outputs=outputs)
    fault = loopback.weakness("/dev/video7")
    assert (fault is not None) == hidden
    if fault is not None:
        assert "browsers do not list it" in fault.what
        assert "exclusive_caps=1" in fault.remedy


@pytest.mark.parametrize("recovers", [True, False])
def test_a_used_up_device_is_streamed_to_so_that_it_takes_a_program_again(
    recovers: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old driver's bug: it offers no output until somebody has streamed and closed it."""
    device = tmp_path / "video7"
    device.touch()
    machine.add(str(device), outputs=False)
    streamed: list[bool] = []

    def ioctl(handle: int, request: int, argument: bytes) -> None:
        assert os.fstat(handle).st_ino == device.stat().st_ino
        assert os.get_blocking(handle) is False
        streamed.append((request, argument) == (v4l2.STREAMON, struct.pack("=i", v4l2.OUTPUT)))
        if recovers:
            machine.add(str(device))
        raise OSError(errno.EINVAL, "no size was set")

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    if recovers:
        loopback.prepare(str(device))
        loopback.prepare(str(device))  # now it is fresh and left alone
    else:
        with pytest.raises(SinkError, match=r"was used before .* before 0\.13: close .* 0\.13 or"):
            loopback.prepare(str(device))
    assert streamed == [True]
    mine = [os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir()]
    assert str(device) not in mine, "it recovers when it is closed"
    machine.add(str(device), UNKNOWN, outputs=False)
    with pytest.raises(SinkError, match="Another program uses"):
        loopback.prepare(str(device))
    assert streamed == [True], "whoever may be writing is not disturbed"
