"""v4l2loopback, the virtual camera of Linux: its devices, their state, and their faults.

A device has one writer and many readers. It keeps its size and pixel format as long as any program
has it open, whatever a new writer requests.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reenact import v4l2
from reenact.errors import SinkError

SYSFS: Final = Path("/sys")

_LOAD: Final = 'sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label="reenact"'
_UNLOAD: Final = "sudo modprobe -r v4l2loopback"

RELOAD: Final = f"close the programs that use it and run `{_UNLOAD} && {_LOAD}`"
INSTALL: Final = (
    "install v4l2loopback (Debian, Ubuntu: `sudo apt install v4l2loopback-dkms`; Fedora: "
    f"`v4l2loopback` from RPM Fusion; Arch: `v4l2loopback-dkms`) and load it: `{_LOAD}`"
)

_ALLOW: Final = "add yourself to its group with `sudo usermod -aG video $USER` and log in again"


@dataclass(frozen=True, slots=True)
class Format:
    """What a device shows: a pixel format of four letters, such as "YU12", and its size in px."""

    layout: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a virtual camera cannot be used or works badly, and a remedy that starts with a verb."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what[0].upper()}{self.what[1:]}: {self.remedy}."


def devices(sysfs: Path = SYSFS) -> dict[str, str]:
    """Return the names of the v4l2loopback devices by device file, in the order of numbers."""
    found = {}
    folders = (sysfs / "class/video4linux").glob("video[0-9]*")
    for folder in sorted(folders, key=lambda entry: int(entry.name.removeprefix("video"))):
        # No other driver has these two attributes.
        if (folder / "format").exists() and (folder / "max_openers").exists():
            found[f"/dev/{folder.name}"] = v4l2.text(folder / "name")
    return found


def describe(sysfs: Path = SYSFS) -> str:
    """Name the devices and the driver's version; "" without a device."""
    names = ", ".join(f"{path} ({name})" for path, name in devices(sysfs).items())
    known = v4l2.text(sysfs / "module/v4l2loopback/version")
    return f"v4l2loopback {known or 'older than 0.13'}: {names}" if names else ""


def find(wanted: str, sysfs: Path = SYSFS) -> list[str]:
    """Return the device files that match a device file, its number, a device's name, or "" (any).

    Raises SinkError if there is none; the message says what to do.
    """
    found = devices(sysfs)
    if not found:
        raise SinkError(str(absence(sysfs)))
    if not wanted:
        return list(found)
    path = f"/dev/video{wanted}" if wanted.isdigit() else os.path.realpath(wanted)
    if path in found:
        return [path]
    named = [path for path, name in found.items() if name.casefold() == wanted.casefold()]
    if not named:
        there = ", ".join(f"{path} ({name})" for path, name in found.items())
        raise SinkError(f"There is no virtual camera {wanted!r}; there is {there}.")
    return named


def take(wanted: str, sysfs: Path = SYSFS) -> str:
    """Prepare the first device that matches `wanted` (see `find`) for writing; return its file.

    Raises SinkError if none matches or is free; the message says what to do.
    """
    problems = []
    for device in find(wanted, sysfs):
        try:
            prepare(device)
        except SinkError as problem:
            problems.append(problem)
        else:
            return device
    raise problems[0]


def absence(sysfs: Path = SYSFS, modules: Path = Path("/lib/modules")) -> Fault | None:
    """Return why there is no device at all; None if there is one."""
    if devices(sysfs):
        return None
    if (sysfs / "module/v4l2loopback").is_dir():
        return Fault("v4l2loopback is loaded, but has no device", RELOAD)
    if "/v4l2loopback.ko" in v4l2.text(modules / platform.release() / "modules.dep"):
        return Fault("v4l2loopback is installed, but not loaded", f"run `{_LOAD}`")
    return Fault("there is no virtual camera", INSTALL)


def obstacle(device: str) -> Fault | None:
    """Return what keeps this program from writing to a device; None if nothing does."""
    try:
        said = v4l2.capability(device)
    except OSError as error:
        return _closed(device, error)
    if not said.is_loopback:
        return Fault(f"{device} is no virtual camera", "choose another one, or none")
    writers = [
        holder
        for holder in v4l2.holders(device)
        if holder.writes or (holder.may_write and not said.outputs)
    ]
    if writers:
        names = ", ".join(map(str, writers))
        return Fault(f"another program uses the virtual camera {device}", f"close {names}")
    return None


def weakness(device: str) -> Fault | None:
    """Return what will trouble the readers of a working device; None if nothing will."""
    try:
        said = v4l2.capability(device)
    except OSError:
        return None
    if said.captures and said.outputs and not v4l2.holders(device):
        return Fault(
            f"{device} was created without exclusive_caps=1, so browsers do not list it", RELOAD
        )
    return None


def prepare(device: str) -> None:
    """Prepare a device for a writer. Raises SinkError if it accepts no pictures.

    v4l2loopback before 0.13, loaded with exclusive_caps=1, accepts only one writer: once that has
    closed the device, it accepts no other until the module is reloaded. The device recovers when a
    program starts *streaming* to it and closes it. This is done here unless another program may be
    writing.
    """
    problem = obstacle(device)
    if problem is None and not v4l2.capability(device).outputs:
        _stream_for_a_moment(device)
        if not v4l2.capability(device).outputs:
            problem = Fault(
                f"the virtual camera {device} was used before and takes no new program, which is "
                "a bug of v4l2loopback before 0.13",
                f"{RELOAD}, or install version 0.13 or newer",
            )
    if problem is not None:
        raise SinkError(str(problem))


def held_format(device: str, sysfs: Path = SYSFS) -> Format | None:
    """Return the current format of a device file; None if no program has it open or unknown."""
    # Such as "YU12:640x480@30"; empty while nobody uses the device.
    shown = v4l2.text(sysfs / "class/video4linux" / Path(device).name / "format")
    match = re.match(r"(.{4}):(\d+)x(\d+)@", shown)
    if match is None:
        return None
    size = int(match[2]), int(match[3])
    return Format(match[1], size) if min(size) > 0 else None


def _closed(device: str, error: OSError) -> Fault:
    if error.errno in (errno.EACCES, errno.EPERM):
        return Fault(f"you may not open the virtual camera {device}", _ALLOW)
    if error.errno == errno.EBUSY:
        names = ", ".join(map(str, v4l2.holders(device)))
        return Fault(f"too many programs use {device}", f"close one of them ({names})")
    return Fault(f"{device} cannot be opened ({error.strerror or error})", RELOAD)


def _stream_for_a_moment(device: str) -> None:
    import fcntl

    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        # The driver rejects this, because no size was set, but it has noted the attempt.
        with contextlib.suppress(OSError):
            fcntl.ioctl(handle, v4l2.STREAMON, struct.pack("=i", v4l2.OUTPUT))
    finally:
        os.close(handle)
