"""Lists the cameras, and explains why one does not open."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from reenact import v4l2
from reenact.errors import SourceError

_SYSTEM: Final[str] = sys.platform

_LINUX_CLASS: Final = Path("/sys/class/video4linux")

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
_VIRTUAL: Final = ("virtual", "unity video capture")
"""What names of virtual cameras contain on Windows and macOS."""

_BUSY: Final = {
    "linux": "close the program that has it open (`fuser -v {node}` names it)",
    "win32": "close the other program that uses it (Zoom, Teams, OBS, a browser tab)",
    "darwin": "close the other program that uses it, or start the Mac again",
}


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened.

    Attributes:
        index: its number in OpenCV and in `webcam:N`; on Linux the N of /dev/videoN.
        name: its name in the system.
        node: the device node on Linux, else "".
        port: distinguishes two cameras of one model: the USB port on Linux, the system's own
            identifier on Windows and macOS; "" if unknown.
        is_loopback: True for a virtual camera, which shows what another program sends, perhaps
            this one; known by its name on Windows and macOS.
    """

    index: int
    name: str
    node: str = ""
    port: str = ""
    is_loopback: bool = False

    def is_gone(self) -> bool:
        """Return True if the device node has vanished; False if there is no node."""
        return bool(self.node) and not os.path.exists(self.node)


def list_cameras() -> list[CameraInfo]:
    """List the cameras, real ones first, each group by index; no camera is switched on."""
    # Imported late: on macOS it loads the bridge to Objective-C.
    from cv2_enumerate_cameras import enumerate_cameras

    cameras = []
    for found in enumerate_cameras(backend()):
        name = found.name or f"camera {found.index}"
        if _SYSTEM.startswith("linux"):
            camera = _linux_camera(found.index, name, found.path or "")
        else:
            camera = CameraInfo(
                found.index,
                name,
                port=found.path or "",
                is_loopback=any(word in name.casefold() for word in _VIRTUAL),
            )
        if camera is not None:
            cameras.append(camera)
    return sorted(cameras, key=lambda camera: (camera.is_loopback, camera.index))


def backend() -> int:
    """Return OpenCV's capture backend for this system."""
    if _SYSTEM == "win32":
        return cv2.CAP_DSHOW
    return cv2.CAP_AVFOUNDATION if _SYSTEM == "darwin" else cv2.CAP_V4L2


def find_camera(wanted: str, cameras: Sequence[CameraInfo] | None = None) -> CameraInfo:
    """Find a camera by "" (the first one), an index, a device node, or a name or part of one.

    `cameras` None: those of `list_cameras`. Raises SourceError if no camera or more than one
    matches; the message lists the existing ones.
    """
    wanted = wanted.strip()
    cameras = list_cameras() if cameras is None else cameras
    if not cameras:
        raise SourceError(f"No camera was found: {how_to_get_one()}.")
    if not wanted:
        return cameras[0]
    if wanted.isdigit():
        fits = [camera for camera in cameras if camera.index == int(wanted)]
    elif wanted.startswith("/"):
        node = os.path.realpath(wanted)
        fits = [camera for camera in cameras if camera.node == node]
    else:
        name = wanted.casefold()
        fits = [camera for camera in cameras if camera.name.casefold() == name] or [
            camera for camera in cameras if name in camera.name.casefold()
        ]
    if len(fits) == 1:
        return fits[0]
    listed = ", ".join(f"{camera.index} ({camera.name})" for camera in fits or cameras)
    if fits:
        raise SourceError(f"{wanted!r} matches more than one camera; use a number: {listed}.")
    raise SourceError(f"There is no camera {wanted!r}; there is {listed}.")


def lasting_argument(camera: CameraInfo, cameras: Sequence[CameraInfo]) -> str:
    """Return an argument by which `find_camera` finds one of these cameras.

    It is the name, since numbers may move when the computer starts; the number if the name is not
    unique.
    """
    try:
        is_found = bool(camera.name.strip()) and find_camera(camera.name, cameras) == camera
    except SourceError:
        is_found = False
    return camera.name if is_found else str(camera.index)


def find_again(camera: CameraInfo, others: Collection[CameraInfo] = ()) -> CameraInfo:
    """Find a camera that was open before; it may have come back under another number.

    `others` were connected beside it, so that another camera of its model is not mistaken for it.
    Raises SourceError if it is not there.
    """
    cameras = list_cameras()
    if camera in cameras:
        return camera
    same_model = [other for other in cameras if other.name == camera.name and other not in others]
    if not same_model:
        raise SourceError(explain_missing(camera))
    return min(same_model, key=lambda other: other.port != camera.port)


def how_to_get_one() -> str:
    """Return what to do on this system if there is no camera; starts with a verb."""
    return _for_system(_NO_CAMERA)


def explain_missing(camera: CameraInfo) -> str:
    """Return a message that a camera is disconnected."""
    return f"{camera.name} is not connected; plug it in again."


def explain_closed(camera: CameraInfo) -> str:
    """Return why a camera could not be opened: gone, forbidden or busy; a guess if unknown."""
    if camera.is_gone():
        return explain_missing(camera)
    if not _is_permitted(camera):
        return f"{camera.name} may not be opened: {_for_system(_NO_PERMISSION)}."
    if _SYSTEM == "darwin":
        # Programs can share a camera there, so a listed one that does not open is forbidden.
        return f"{camera.name} could not be opened: {_NO_PERMISSION['darwin']}."
    return explain_silent(camera)


def explain_silent(camera: CameraInfo) -> str:
    """Return why an open camera sends no picture."""
    holders = v4l2.holders(camera.node) if camera.node else []
    if holders:
        return f"{camera.name} is in use by {', '.join(map(str, holders))}; close that program."
    remedy = _for_system(_BUSY).format(node=camera.node)
    return f"{camera.name} sends no picture, it is probably in use: {remedy}."


def _linux_camera(index: int, name: str, node: str) -> CameraInfo | None:
    """Describe a device node; None if it delivers no pictures."""
    try:
        capability = v4l2.capability(node)
    except OSError:
        # Not permitted or busy. The first node of a webcam is the one with the pictures.
        position = v4l2.text(_LINUX_CLASS / Path(node).name / "index")
        return CameraInfo(index, name, node) if position in ("", "0") else None
    return CameraInfo(index, name, node, capability.bus, capability.is_loopback)


def _is_permitted(camera: CameraInfo) -> bool:
    if camera.node:
        try:
            os.close(os.open(camera.node, os.O_RDWR | os.O_NONBLOCK))
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EPERM)
        return True
    return not (_SYSTEM == "win32" and _windows_forbids())


def _windows_forbids() -> bool:
    """Return True if Windows' privacy settings keep desktop programs off the camera."""
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


def _for_system(remedies: dict[str, str]) -> str:
    return remedies.get(_SYSTEM, remedies["linux"])
