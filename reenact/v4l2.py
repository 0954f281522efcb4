"""What Linux knows about its video devices: their kind and port, and who has them open."""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUERYCAP: Final = 0x80685600  # VIDIOC_QUERYCAP of linux/videodev2.h
STREAMON: Final = 0x40045612  # VIDIOC_STREAMON
OUTPUT: Final = 2  # V4L2_BUF_TYPE_VIDEO_OUTPUT

CAPABILITY: Final = struct.Struct("=16s32s32sIII12x")
"""struct v4l2_capability: driver, card, bus, version, flags of all nodes, flags of this node."""

_HAS_NODE_FLAGS: Final = 0x80000000  # V4L2_CAP_DEVICE_CAPS
_CAPTURES: Final = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, ..._MPLANE
_OUTPUTS: Final = 0x2 | 0x2000  # V4L2_CAP_VIDEO_OUTPUT, ..._MPLANE
_LOOPBACK: Final = "v4l2 loopback"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a device node says about itself.

    Attributes:
        driver: such as "uvcvideo".
        bus: where it is plugged in, which tells two cameras of one model apart.
        captures: True if pictures can be read from it.
        outputs: True if pictures can be written to it.
    """

    driver: str
    bus: str
    captures: bool
    outputs: bool

    @property
    def is_loopback(self) -> bool:
        """True for a device of v4l2loopback."""
        return self.driver == _LOOPBACK


@dataclass(frozen=True, slots=True)
class Holder:
    """Another program that has a device open, by its short name and process number.

    Attributes:
        writes: True if it opened the device for writing only, so that it must send pictures.
        reads: True if it has mapped the device's buffers, as readers do; one that has not may read
            or write.
    """

    program: str
    process: int
    writes: bool
    reads: bool

    @property
    def may_write(self) -> bool:
        """True if it sends pictures or may do so."""
        return self.writes or not self.reads

    def __str__(self) -> str:
        return f"{self.program} (process {self.process})"


def capability(path: str | Path) -> Capability:
    """Ask a device node what it is; it is opened for a moment, which switches no camera on.

    Raises:
        OSError: it is missing, may not be opened, or is not a video device.
    """
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        record = bytearray(CAPABILITY.size)
        fcntl.ioctl(handle, QUERYCAP, record)
    finally:
        os.close(handle)
    driver, _, bus, _, of_all, of_node = CAPABILITY.unpack(record)
    flags = of_node if of_all & _HAS_NODE_FLAGS else of_all
    return Capability(
        _string(driver), _string(bus), bool(flags & _CAPTURES), bool(flags & _OUTPUTS)
    )


def holders(path: str | Path) -> list[Holder]:
    """List the other programs that have a device open, as far as this user may see them."""
    node = os.path.realpath(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            handles = [
                handle.name
                for handle in (process / "fd").iterdir()
                if os.path.realpath(handle) == node
            ]
            if handles:
                found.append(
                    Holder(
                        program=text(process / "comm"),
                        process=int(process.name),
                        writes=any(_is_write_only(process, handle) for handle in handles),
                        reads=_maps(process, node),
                    )
                )
    return found


def text(path: Path) -> str:
    """Return the text of a file in /sys or /proc, "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _maps(process: Path, node: str) -> bool:
    return any(line.endswith(f" {node}") for line in text(process / "maps").splitlines())


def _is_write_only(process: Path, handle: str) -> bool:
    for line in text(process / "fdinfo" / handle).splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE == os.O_WRONLY
    return False


def _string(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="replace")
