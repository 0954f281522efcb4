"""Which cameras there are, and why one does not open."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2

from reenact import v4l2
from reenact.errors import SourceError

_SYSTEM: Final[str] = sys.platform

_LINUX_CLASS: Final = Path("/sys/class/video4linux")
_LINUX_DEV: Final = Path("/dev")

_LISTING_TIMEOUT_S: Final = 10.0
_MOST_PROBED: Final = 8

_NO_CAMERA: Final = {
    "linux": "plug one in; in a virtual machine pass the device on (`ls /dev/video*` shows it)",
    "win32": "plug one in, and look in the Device Manager under Cameras",
    "darwin": "plug one in, and look in System Information under Camera",
}
_NO_PERMISSION: Final = {
    "linux": "add yourself to its group with `sudo usermod -aG video $USER` and log in again",
    "win32": "allow desktop apps under Settings > Privacy & security > Camera",
    "darwin": "allow your terminal under System Settings > Privacy & Security > Camera and "
    "start it again",
}
_BUSY: Final = {
    "linux": "close the program that has it open (`fuser -v {path}` names it)",
    "win32": "close the other program that uses it (Zoom, Teams, OBS, a browser tab)",
    "darwin": "close the other program that uses it, or start the Mac again",
}


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened.

    Attributes:
        index: the number that OpenCV and `webcam:N` know it by; on Linux the N of /dev/videoN.
        name: what the system calls it; "camera N" where the system would not say.
        path: device node on Linux, else "".
        is_loopback: it is a v4l2loopback device: what it shows comes from another program,
            perhaps from this one.
        bus: where it is plugged in, which tells two cameras of one model apart; "" where
            unknown.
    """

    index: int
    name: str
    path: str = ""
    is_loopback: bool = False
    bus: str = ""

    def is_gone(self) -> bool:
        """Tell whether the device node has vanished; False where there is none to look at."""
        return bool(self.path) and not os.path.exists(self.path)


def list_cameras() -> list[CameraInfo]:
    """List the cameras, real ones first, each group by index. May be called from any thread.

    Linux: names from sysfs, and only nodes that capture pictures (a webcam has a second node for
    metadata). Windows: the DirectShow list of FFmpeg, which has the order of OpenCV's indices.
    macOS: `system_profiler`, sorted by unique id as OpenCV sorts. Where these say nothing, the
    first indices are tried out, which switches each camera on for a moment.
    """
    cameras = _named_cameras()
    return _probed_cameras() if cameras is None else cameras


def list_linux_cameras(
    class_dir: Path = _LINUX_CLASS, dev_dir: Path = _LINUX_DEV
) -> list[CameraInfo]:
    """List the V4L2 nodes that capture pictures.

    Args:
        class_dir: where the kernel describes the devices.
        dev_dir: where their nodes are.
    """
    cameras = []
    for entry in class_dir.glob("video*"):
        number = entry.name.removeprefix("video")
        path = dev_dir / entry.name
        if not number.isdigit() or not path.exists():
            continue
        name = v4l2.text(entry / "name") or f"camera {number}"
        camera = CameraInfo(int(number), name, str(path))
        try:
            said = v4l2.capability(path)
        except OSError:
            # Not permitted or busy: a device's first node is the one with the pictures.
            captures = v4l2.text(entry / "index") in ("", "0")
        else:
            captures = said.captures
            camera = replace(camera, is_loopback=said.is_loopback, bus=said.bus)
        if captures:
            cameras.append(camera)
    return sorted(cameras, key=lambda camera: (camera.is_loopback, camera.index))


def find_camera(wanted: str, cameras: Sequence[CameraInfo] | None = None) -> CameraInfo:
    """Choose a camera.

    Args:
        wanted: "" for the first one, an index, a device path, or a name or part of one in any
            case.
        cameras: to choose from; None: those that `list_cameras` finds.

    Raises:
        SourceError: no camera, or not exactly one, fits; the message lists those that exist.
    """
    wanted = wanted.strip()
    found = _named_cameras() if cameras is None else list(cameras)
    if found is None:
        if not wanted or wanted.isdigit():
            return CameraInfo(int(wanted or 0), f"camera {int(wanted or 0)}")
        found = _probed_cameras()
    if not found:
        raise SourceError(f"No camera was found: {_for_system(_NO_CAMERA)}.")
    if not wanted:
        return found[0]
    if wanted.isdigit():
        fits = [camera for camera in found if camera.index == int(wanted)]
    elif wanted.startswith("/"):
        node = os.path.realpath(wanted)
        fits = [camera for camera in found if camera.path == node]
    else:
        name = wanted.casefold()
        fits = [camera for camera in found if camera.name.casefold() == name] or [
            camera for camera in found if name in camera.name.casefold()
        ]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise SourceError(
            f"{wanted!r} fits more than one camera, choose by number: {_listed(fits)}."
        )
    raise SourceError(f"There is no camera {wanted!r}; there is {_listed(found)}.")


def beside(camera: CameraInfo) -> list[CameraInfo]:
    """List the other cameras that are there, as far as the system names them."""
    return [other for other in _named_cameras() or () if other != camera]


def find_again(camera: CameraInfo, others: Collection[CameraInfo] = ()) -> CameraInfo:
    """Find a camera that was open before; it may have come back under another number.

    Args:
        camera: as it was.
        others: the cameras that were there beside it, which it cannot have become: it is not
            mixed up with another one of its model.

    Raises:
        SourceError: it is not there.
    """
    cameras = _named_cameras()
    if cameras is None or camera in cameras:
        return camera
    again = [other for other in cameras if other.name == camera.name and other not in others]
    again.sort(key=lambda other: other.bus != camera.bus)
    if not again:
        raise SourceError(why_missing(camera))
    return again[0]


def why_missing(camera: CameraInfo) -> str:
    """Say that the camera has gone."""
    return f"{camera.name} is not connected; plug it in again."


def why_closed(camera: CameraInfo) -> str:
    """Say why a camera could not be opened: gone, forbidden or busy; best guess where unknown."""
    if camera.is_gone():
        return why_missing(camera)
    if not _is_permitted(camera):
        return f"{camera.name} may not be opened: {_for_system(_NO_PERMISSION)}."
    if _SYSTEM == "darwin":
        # Programs share a camera there, so one that is listed and does not open is forbidden.
        return f"{camera.name} could not be opened: {_NO_PERMISSION['darwin']}."
    return why_silent(camera)


def why_silent(camera: CameraInfo) -> str:
    """Say why an opened camera sends no picture."""
    holders = v4l2.holders(camera.path) if camera.path else []
    remedy = _for_system(_BUSY).format(path=camera.path)
    if holders:
        return f"{camera.name} is in use by {', '.join(map(str, holders))}; close that program."
    return f"{camera.name} sends no picture, it is probably in use: {remedy}."


def _named_cameras() -> list[CameraInfo] | None:
    """List the cameras without switching one on; None where the system would not say."""
    if _SYSTEM.startswith("linux"):
        return list_linux_cameras()
    names = _windows_names() if _SYSTEM == "win32" else _mac_names()
    if names is None:
        return None
    return [CameraInfo(index, name) for index, name in enumerate(names)]


def _windows_names() -> list[str] | None:
    try:
        from av.device import enumerate_input_devices

        devices = enumerate_input_devices("dshow")
    except (ImportError, ValueError, OSError):
        return None
    return [device.description for device in devices if "video" in device.media_types]


def _mac_names() -> list[str] | None:
    try:
        output = subprocess.run(
            ["system_profiler", "SPCameraDataType", "-json"],
            capture_output=True,
            timeout=_LISTING_TIMEOUT_S,
            check=True,
        ).stdout
        entries = json.loads(output)["SPCameraDataType"]
        entries.sort(key=lambda entry: entry["spcamera_unique-id"])
        return [str(entry["_name"]) for entry in entries]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def backend() -> int:
    """Return OpenCV's capture backend for this system."""
    if _SYSTEM == "win32":
        return cv2.CAP_DSHOW
    return cv2.CAP_AVFOUNDATION if _SYSTEM == "darwin" else cv2.CAP_V4L2


def _probed_cameras() -> list[CameraInfo]:
    cameras: list[CameraInfo] = []
    for index in range(_MOST_PROBED):
        capture = cv2.VideoCapture(index, backend())
        is_there = capture.isOpened()
        capture.release()
        if not is_there:
            break
        cameras.append(CameraInfo(index, f"camera {index}"))
    return cameras


def _is_permitted(camera: CameraInfo) -> bool:
    if camera.path:
        try:
            os.close(os.open(camera.path, os.O_RDWR | os.O_NONBLOCK))
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EPERM)
        return True
    return not (_SYSTEM == "win32" and _windows_forbids())


def _windows_forbids() -> bool:
    """Look up whether Windows' privacy settings keep desktop programs off the camera."""
    if sys.platform == "win32":
        import winreg

        store = (
            r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager"
            r"\ConsentStore\webcam"
        )
        for root in (winreg.HKEY_LOCAL_MACHINE, winreg.HKEY_CURRENT_USER):
            for name in (store, store + r"\NonPackaged"):
                with contextlib.suppress(OSError), winreg.OpenKey(root, name) as key:
                    if winreg.QueryValueEx(key, "Value")[0] == "Deny":
                        return True
    return False


def _listed(cameras: Sequence[CameraInfo]) -> str:
    return ", ".join(f"{camera.index} ({camera.name})" for camera in cameras)


def _for_system(remedies: dict[str, str]) -> str:
    return remedies.get(_SYSTEM, remedies["linux"])
