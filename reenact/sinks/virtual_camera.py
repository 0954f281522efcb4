"""Sends frames to a virtual camera, which other programs open like a webcam.

pyvirtualcam is imported only here, when a camera is opened.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from pydantic import Field

from reenact import v4l2
from reenact.config import Section
from reenact.errors import SinkError
from reenact.imaging import even, letterbox
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks import v4l2loopback as loopback
from reenact.types import Frame, Image

if TYPE_CHECKING:
    from pyvirtualcam import Camera

log = logging.getLogger(__name__)

GET_DRIVER: Final = {
    "linux": loopback.INSTALL,
    "win32": "install OBS Studio 28 or newer from obsproject.com, which brings a virtual camera, "
    "or UnityCapture",
    "darwin": "install OBS Studio 30 or newer from obsproject.com, press Start Virtual Camera in "
    "it once, allow its camera extension in System Settings, and press Stop Virtual Camera",
}
"""How to get a virtual camera, by `sys.platform`."""

_LAYOUTS: Final = {"YU12": "RGB", "YUYV": "YUYV", "UYVY": "UYVY"}
"""The pixel formats that a Linux device may have, and pyvirtualcam's format for each."""

_MAX_ATTEMPTS: Final = 3  # another program may open the device just before this one does

_WINDOWS_FILTERS: Final = (
    ("OBS Virtual Camera", "{A3FCE0F5-3493-419F-958A-ABA1250EC20B}"),
    ("UnityCapture", "{5C2CD55C-92AD-4999-8666-912BD3E70010}"),
)


class CameraSink(ClosesOnExit):
    """A virtual camera: v4l2loopback on Linux, OBS or UnityCapture on Windows, OBS on macOS.

    It stays open at one size until `close`, because programs that read a camera keep its size, and
    many stop if it goes away. Pictures of another size are letterboxed. One thread calls `open` and
    `write`; any thread may call `close`.

    Attributes:
        device: the name that other programs see; "" before `open`.
        size: (width, height) px of the device.
    """

    name = "camera"
    live = True

    def __init__(self, device: str = "", backend: str = "") -> None:
        """Create the sink without opening the camera.

        Args:
            device: device file, its number, or the camera's name; empty: the first one.
            backend: a backend of pyvirtualcam; empty: the first that works.
        """
        self.device = ""
        self.size = (0, 0)
        self._wanted = device
        self._backend = backend
        self._layout = "RGB"
        self._camera: Camera | None = None
        self._lock = threading.Lock()

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Open the camera; a device that a program already reads keeps its own size.

        Raises SinkError if there is no virtual camera or it cannot be opened, with what to do.
        """
        with self._lock:
            self._check_backend()
            if sys.platform == "linux":
                self._open_loopback(size, fps)
            else:
                self._camera = self._open(self._wanted, even(size), fps, "RGB")
                self.size = even(size)
            assert self._camera is not None
            self.device = self._camera.device
            log.info("Virtual camera %s, %d x %d.", self.device, *self.size)

    def write(self, frame: Frame) -> None:
        """Show a frame. Raises SinkError if the camera is closed or gone."""
        with self._lock:
            if self._camera is None:
                raise SinkError("The virtual camera is closed.")
            picture = _laid_out(letterbox(frame.image, self.size), self._layout)
            try:
                self._camera.send(picture)
            except (RuntimeError, OSError, ValueError) as error:
                raise SinkError(
                    f"The virtual camera {self.device} accepts no more pictures: {error}. Was its "
                    "driver removed?"
                ) from error

    def close(self) -> None:
        """Release the camera. May be called twice."""
        with self._lock:
            camera, self._camera = self._camera, None
            if camera is not None:
                camera.close()
                if sys.platform == "linux":
                    # With an old driver, the next program could not open the device otherwise.
                    with contextlib.suppress(SinkError):
                        loopback.prepare(self.device)

    def _open_loopback(self, size: tuple[int, int], fps: float) -> None:
        """Open a Linux device in its readers' format, if it has any readers."""
        device = loopback.take(self._wanted)
        wished = loopback.Format("YU12", even(size))
        held = loopback.held_format(device) or wished
        for _ in range(_MAX_ATTEMPTS):
            if held.layout not in _LAYOUTS:
                readers = ", ".join(map(str, v4l2.holders(device))) or "the programs that read it"
                raise SinkError(
                    f"{device} is kept at the pixel format {held.layout.strip()}, which cannot be "
                    f"sent: close {readers} and start again."
                )
            self._camera = self._open(device, held.size, fps, _LAYOUTS[held.layout])
            # A picture in another format would be shown as noise.
            actual = loopback.held_format(device) or held
            if actual == held:
                break
            self._camera.close()
            self._camera = None
            loopback.prepare(device)
            held = actual
        else:
            raise SinkError(f"{device} keeps changing its size; close the programs that read it.")
        self.size, self._layout = held.size, _LAYOUTS[held.layout]

    def _open(self, device: str, size: tuple[int, int], fps: float, layout: str) -> Camera:
        import pyvirtualcam

        options: dict[str, Any] = {
            "device": device or None,
            "backend": self._backend or None,
            "fmt": pyvirtualcam.PixelFormat[layout],
        }
        try:
            return pyvirtualcam.Camera(*size, fps, **options)
        except Exception as error:  # backends raise various errors
            raise SinkError(explain(str(error))) from error

    def _check_backend(self) -> None:
        from pyvirtualcam.camera import BACKENDS

        if self._backend and self._backend not in BACKENDS:
            raise SinkError(
                f"There is no virtual camera backend {self._backend!r} on this system; known: "
                f"{', '.join(BACKENDS)}."
            )


def absence(system: str = sys.platform, sysfs: Path = loopback.SYSFS) -> loopback.Fault | None:
    """Return why there is no virtual camera, and how to get one; None if there is one."""
    if system == "linux":
        return loopback.absence(sysfs)
    if system == "win32":
        if _windows_cameras():
            return None
        return loopback.Fault("neither OBS Virtual Camera nor UnityCapture", GET_DRIVER["win32"])
    if Path("/Applications/OBS.app").exists():
        return None
    return loopback.Fault(
        "OBS, whose virtual camera is used, is not installed", GET_DRIVER["darwin"]
    )


def fault() -> loopback.Fault | None:
    """Return why a virtual camera cannot be used now, or works badly; None if it is fine.

    Only Linux can report this; its devices are opened for a moment.
    """
    if sys.platform != "linux":
        return None
    found = loopback.devices()
    faults = [loopback.obstacle(device) or loopback.weakness(device) for device in found]
    return None if None in faults else next(iter(faults), None)


def describe(system: str = sys.platform, sysfs: Path = loopback.SYSFS) -> str:
    """Return the names of the virtual cameras, and the driver's version if known."""
    if system == "linux":
        return loopback.describe(sysfs)
    return ", ".join(_windows_cameras()) if system == "win32" else "OBS Virtual Camera"


def explain(problem: str, system: str = sys.platform) -> str:
    """Turn a backend's error into one or two sentences that say what to do."""
    words = " ".join(problem.split()).rstrip(".")
    if system == "linux":
        if "already in use" in words:
            return f"This program sends to the virtual camera already ({words})."
        return f"The virtual camera cannot be opened: {words}; {loopback.RELOAD}."
    if re.search(r"in use|could not be started|already", words):
        return (
            "Another program is using the virtual camera: press Stop Virtual Camera in OBS or "
            f"close that program ({words})."
        )
    return f"There is no virtual camera: {GET_DRIVER.get(system, GET_DRIVER['linux'])}."


def _laid_out(picture: Image, layout: str) -> Any:
    """Convert an RGB picture to pyvirtualcam's input for a pixel format."""
    if layout == "YUYV":
        return cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_YUYV)
    if layout == "UYVY":
        return cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_UYVY)
    return np.ascontiguousarray(picture)


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


class CameraSettings(Section):
    """The virtual camera and its driver."""

    device: str = Field(
        "", description="device or name of the virtual camera; empty: the first one"
    )
    backend: str = Field(
        "",
        description="pyvirtualcam backend: v4l2loopback, obs or unitycapture; empty: the first "
        "that works",
    )


CAMERA: Final = SinkSpec(
    "camera",
    "a virtual camera for calls, OBS and browsers",
    lambda argument, own: CameraSink(argument or own.device, own.backend),
    settings=CameraSettings,
    argument="[DEVICE]",
    needs="a virtual camera",
    on_air=True,
)
