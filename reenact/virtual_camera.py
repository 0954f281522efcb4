"""Sends frames to a virtual camera that other programs open like a webcam.

The only importer of pyvirtualcam, and only when a camera is opened.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from reenact.closing import ClosesOnExit
from reenact.errors import SinkError
from reenact.sink_base import even, letterbox
from reenact.types import Frame

if TYPE_CHECKING:
    from pyvirtualcam import Camera

log = logging.getLogger(__name__)

_LOAD: Final = 'sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label="reenact"'

GET_DRIVER: Final = {
    "linux": "install v4l2loopback (Debian, Ubuntu: `sudo apt install v4l2loopback-dkms`; Fedora: "
    "`v4l2loopback` from RPM Fusion; Arch: `v4l2loopback-dkms`) and load it: "
    f"`{_LOAD}`",
    "win32": "install OBS Studio 28 or newer from obsproject.com, which brings a virtual camera, "
    "or UnityCapture",
    "darwin": "install OBS Studio 30 or newer from obsproject.com, press Start Virtual Camera in "
    "it once, allow its camera extension in System Settings, and press Stop Virtual Camera",
}
"""How to get a virtual camera, by `sys.platform`."""

_REOPENS_SINCE: Final = (0, 13)
"""Older v4l2loopback with exclusive_caps can be opened for writing once after each load."""

_SYS: Final = Path("/sys")

_WINDOWS_FILTERS: Final = (
    ("OBS Virtual Camera", "{A3FCE0F5-3493-419F-958A-ABA1250EC20B}"),
    ("UnityCapture", "{5C2CD55C-92AD-4999-8666-912BD3E70010}"),
)


class CameraSink(ClosesOnExit):
    """A virtual camera: v4l2loopback on Linux, OBS or UnityCapture on Windows, OBS on macOS.

    It stays open, at one size, until `close`: old drivers cannot be opened twice, and a program
    that reads the camera keeps its size. Pictures of another size are letterboxed. `open` and
    `write` belong to one thread; `close` may be called by any.

    Attributes:
        name: "camera".
        live: True.
        device: what other programs see, "" before `open`.
        size: (width, height) px that the device really has.
    """

    name = "camera"
    live = True

    def __init__(self, device: str = "", backend: str = "") -> None:
        """Open nothing yet.

        Args:
            device: device file, its number, or the camera's name; empty: the first one.
            backend: a backend of pyvirtualcam; empty: the first that works.
        """
        self.device = ""
        self.size = (0, 0)
        self._wanted = device
        self._backend = backend
        self._camera: Camera | None = None
        self._lock = threading.Lock()

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Open the camera.

        Args:
            size: (width, height) px of the frames; where a program already reads the camera, the
                device keeps its own size.
            fps: about how many frames come in a second.

        Raises:
            SinkError: there is no virtual camera or it refuses; the message says what to do on
                this system.
        """
        with self._lock:
            device = find_device(self._wanted) if sys.platform == "linux" else self._wanted
            wanted = frozen_size(device) or even(size)
            self._camera = self._open(device, wanted, fps)
            actual = frozen_size(self._camera.device)
            if actual not in (None, wanted):
                # Written as it is, a picture of another size would come out as noise.
                self._camera.close()
                self._camera = None
                self._camera = self._open(device, actual, fps)
                wanted = actual
            self.device, self.size = self._camera.device, wanted
            log.info("Virtual camera %s, %d x %d.", self.device, *self.size)

    def write(self, frame: Frame) -> None:
        """Show a frame.

        Raises:
            SinkError: the camera is closed or has gone.
        """
        with self._lock:
            if self._camera is None:
                raise SinkError("The virtual camera is closed.")
            picture = np.ascontiguousarray(letterbox(frame.image, self.size))
            try:
                self._camera.send(picture)
            except (RuntimeError, OSError, ValueError) as error:
                raise SinkError(
                    f"The virtual camera {self.device} takes no more pictures: {error}. Was its "
                    "driver removed?"
                ) from error

    def close(self) -> None:
        """Release the camera. May be called twice."""
        with self._lock:
            camera, self._camera = self._camera, None
            if camera is not None:
                camera.close()

    def _open(self, device: str, size: tuple[int, int], fps: float) -> Camera:
        try:
            import pyvirtualcam
            from pyvirtualcam.camera import BACKENDS
        except ImportError as error:
            raise SinkError(
                f"pyvirtualcam cannot be loaded ({error}); `pip install pyvirtualcam`."
            ) from error
        if self._backend and self._backend not in BACKENDS:
            raise SinkError(
                f"There is no virtual camera backend {self._backend!r} on this system; known: "
                f"{', '.join(BACKENDS)}."
            )
        options: dict[str, Any] = {"device": device or None, "backend": self._backend or None}
        try:
            return pyvirtualcam.Camera(*size, fps, **options)
        except Exception as error:  # each backend raises what it likes
            raise SinkError(explain(str(error))) from error


def missing(system: str = sys.platform, sysfs: Path = _SYS) -> str | None:
    """Say why there is no virtual camera, None where there is one; opens nothing.

    Args:
        system: as `sys.platform`.
        sysfs: where Linux shows its devices.
    """
    if system == "linux":
        if loopbacks(sysfs):
            return None
        if _version(sysfs) is None:
            return "v4l2loopback is not loaded"
        return "v4l2loopback is loaded, but has no device"
    if system == "win32":
        return None if _windows_cameras() else "neither OBS Virtual Camera nor UnityCapture"
    obs = Path("/Applications/OBS.app")
    return None if obs.exists() else "OBS, whose virtual camera is used, is not installed"


def describe(system: str = sys.platform, sysfs: Path = _SYS) -> str:
    """Name the virtual cameras there are, and the driver's version where it is known."""
    if system == "linux":
        names = [f"{path} ({name})" for path, name in loopbacks(sysfs).items()]
        version = _version(sysfs)
        driver = f"v4l2loopback {'.'.join(map(str, version))}: " if version else ""
        return driver + ", ".join(names)
    return ", ".join(_windows_cameras()) if system == "win32" else "OBS Virtual Camera"


def explain(problem: str, system: str = sys.platform, sysfs: Path = _SYS) -> str:
    """Turn what a backend said into one or two sentences with the next step.

    Args:
        problem: the backend's words.
        system: as `sys.platform`.
        sysfs: where Linux shows its devices.
    """
    words = " ".join(problem.split())
    if system != "linux":
        if re.search(r"in use|could not be started|already", words):
            return (
                "Another program is using the virtual camera: press Stop Virtual Camera in OBS or "
                f"close that program ({words})."
            )
        return f"There is no virtual camera: {GET_DRIVER.get(system, GET_DRIVER['linux'])}."
    if "ermission denied" in words:
        return (
            "You may not open the virtual camera: add yourself to its group with `sudo usermod -aG "
            f"video $USER` and log in again ({words})."
        )
    version = _version(sysfs)
    if version is None and not loopbacks(sysfs):
        return f"There is no virtual camera: {GET_DRIVER['linux']}."
    spent = "not a video output device" in words or "No v4l2 loopback device found" in words
    if spent and version is not None and version < _REOPENS_SINCE:
        return (
            f"v4l2loopback {'.'.join(map(str, version))} lets a virtual camera be opened once "
            "after each load: close the programs that use it and run `sudo modprobe -r "
            f"v4l2loopback && {_LOAD}`, or install version 0.13 or newer."
        )
    if spent:
        return (
            "The virtual camera takes no pictures: another program may be sending to it, or it is "
            f"no v4l2loopback device. There are: {describe(system, sysfs) or 'none'}."
        )
    if "does not exist" in words:
        return f"{words.rstrip('.')}. There are: {describe(system, sysfs) or 'none'}."
    return f"The virtual camera cannot be opened: {words}"


def loopbacks(sysfs: Path = _SYS) -> dict[str, str]:
    """Return the v4l2loopback devices of Linux: device file to name, by number."""
    found = {}
    folders = (sysfs / "class/video4linux").glob("video*")
    for folder in sorted(folders, key=lambda entry: int(re.sub(r"\D", "", entry.name) or 0)):
        # Of all drivers, only v4l2loopback shows these two.
        if (folder / "format").exists() and (folder / "max_openers").exists():
            found[f"/dev/{folder.name}"] = _text(folder / "name")
    return found


def find_device(wanted: str, sysfs: Path = _SYS) -> str:
    """Return the device file for what the user typed: a path, a number, a name, or nothing.

    Raises:
        SinkError: no virtual camera has that name.
    """
    if not wanted or wanted.startswith("/"):
        return wanted
    if wanted.isdigit():
        return f"/dev/video{wanted}"
    found = loopbacks(sysfs)
    for path, name in found.items():
        if name.casefold() == wanted.casefold():
            return path
    there = ", ".join(f"{path} ({name})" for path, name in found.items())
    raise SinkError(f"There is no virtual camera called {wanted!r}; there are: {there or 'none'}.")


def frozen_size(device: str, sysfs: Path = _SYS) -> tuple[int, int] | None:
    """Return the (width, height) px that a v4l2loopback device has now, None where unknown.

    Args:
        device: device file such as /dev/video10; empty: the only one there is.
        sysfs: where Linux shows its devices.
    """
    if not device:
        found = loopbacks(sysfs)
        device = next(iter(found)) if len(found) == 1 else ""
    if not device.startswith("/dev/video"):
        return None
    # Such as "YU12:640x480@30"; empty while nobody uses the device.
    shown = _text(sysfs / "class/video4linux" / Path(device).name / "format")
    match = re.search(r"(\d+)x(\d+)", shown)
    if match is None:
        return None
    size = int(match[1]), int(match[2])
    return size if min(size) > 0 else None


def _version(sysfs: Path) -> tuple[int, ...] | None:
    """Return the version of the loaded v4l2loopback, () where it does not tell, else None."""
    module = sysfs / "module/v4l2loopback"
    if not module.is_dir():
        return None
    return tuple(int(part) for part in re.findall(r"\d+", _text(module / "version")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _windows_cameras() -> list[str]:
    found: list[str] = []
    if sys.platform == "win32":
        import winreg

        for name, identifier in _WINDOWS_FILTERS:
            try:
                winreg.CloseKey(winreg.OpenKey(winreg.HKEY_CLASSES_ROOT, f"CLSID\\{identifier}"))
            except OSError:
                continue
            found.append(name)
    return found
