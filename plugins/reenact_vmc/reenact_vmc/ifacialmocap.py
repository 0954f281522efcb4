"""Reads an actor's head and face from iFacialMocap on a phone instead of a camera.

Sources of the protocol: https://www.ifacialmocap.com/for-developer, and of Facemotion3d, which
differs in the greeting and the port: https://www.facemotion3d.net/english/for-developer. A datagram
is a text such as

    jawOpen-12|eyeBlink_L-7|=head#-21.5,-6.0,-6.6,-0.03,-0.1,-0.66|rightEye#6.0,2.4,0.3|

with blend shapes of 0 to 100, and with degrees about ARKit's axes of the face: x to the person's
left, y up, z out of the face. The pages do not name the axes. They follow from their examples, in
which the angles of the eyes say the same as the blend shapes of the gaze. The order is the one in
which Unity applies angles, because receivers in Unity take these as they come.

Version 2 puts & instead of - before a value. An app may also send `trackingStatus`, which is 0
without a face.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from typing import Final, NamedTuple

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from reenact.config import Section
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.sources.reconnecting import ReadGuard
from reenact.types import Array, Frame
from reenact_vmc.blend_shapes import read_name
from reenact_vmc.face import SILENT_S, SIZE, BlendShapeFace
from reenact_vmc.network import looked_up

PORT: Final = 49983
GREETINGS: Final = (
    (b"iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719|sendDataVersion=v2", PORT),
    (b"FACEMOTION3D_OtherStreaming", 49993),
)
"""What asks each app to send to this computer, and the phone's port on which it waits for that.
Versions of iFacialMocap before 2 ignore what follows the bar."""

_GREET_S: Final = 0.5
"""Time between greetings while nothing comes in, s."""

_POLL_S: Final = 0.05
_MAX_BYTES: Final = 65536
_SIDES: Final = {"_L": "Left", "_R": "Right"}


class IFacialMocapSettings(Section):
    """Settings of the source."""

    port: int = Field(
        default=PORT, ge=1, le=65535, description="the port of this computer to which the app sends"
    )
    other_side: bool = Field(
        default=False,
        description="turn and tilt the head to the other side, for apps that count the other way",
    )


class Tracked(NamedTuple):
    """What one datagram says.

    Attributes:
        shapes: blend shapes, 0 to 1; None: the app sees no face.
        angles: of the head about x, y and z, degrees.
    """

    shapes: dict[str, float] | None
    angles: tuple[float, float, float]


class IFacialMocapSource(ClosesOnExit):
    """A frame of `BlendShapeFace` for each that the app sends. One thread reads.

    Only one phone is listened to: the one at the address, or else the first that sends, until it
    goes silent.

    Attributes:
        live: True: frames come by themselves.
        name: `ifacialmocap:` and the phone's address, or `ifacialmocap`.
        size: (width, height) px.
        fps: the app's rate; it falls to 30 if the phone is hot.
    """

    live = True
    size = SIZE
    fps = 60.0

    def __init__(self, address: str, settings: IFacialMocapSettings | None = None) -> None:
        """Ask the phone at an address, HOST or HOST:PORT, to send; "": listen only.

        Raises:
            SourceError: there is no such address, or another program has this computer's port.
        """
        self._settings = settings or IFacialMocapSettings()
        self._phone = _resolved(address) if address else None
        self._heard = self._phone[0] if self._phone else ""
        self.name = f"ifacialmocap:{address}" if address else "ifacialmocap"
        self._greet_s = time.monotonic()
        self._face = BlendShapeFace()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("", self._settings.port))
        except OSError as error:
            self._socket.close()
            raise SourceError(
                f"Nothing can listen on port {self._settings.port} ({error.strerror}); close the "
                "other program that receives from the phone."
            ) from error
        self._socket.settimeout(_POLL_S)
        self._guard = ReadGuard(self._socket.close)

    def read(self) -> Frame | None:
        """Wait for what the phone sends next; None once closed.

        Raises:
            SourceError: nothing has come from a phone for two seconds.
        """
        now_s = time.monotonic()
        end_s = now_s + SILENT_S
        while now_s < end_s:
            with self._guard as is_open:
                if not is_open:
                    return None
                if now_s >= self._greet_s:
                    self._greet()
                    self._greet_s = now_s + _GREET_S
                tracked = self._received()
            if tracked is not None:
                self._greet_s = time.monotonic() + _GREET_S
                side = -1.0 if self._settings.other_side else 1.0
                return self._face.frame(tracked.shapes, rotation(tracked.angles, side))
            now_s = time.monotonic()
        port = self._settings.port
        if self._phone is not None:
            raise SourceError(
                f"Nothing comes in from {self.name}; open the app on the phone, in the same "
                f"network, and let the firewall pass UDP port {port}."
            )
        self._heard = ""
        raise SourceError(
            f"Nothing comes in on UDP port {port}; let the app send to this computer's address, "
            "and the firewall pass that port."
        )

    def close(self) -> None:
        """Stop listening; a `read` that waits returns within .05 s."""
        self._guard.close()

    def _greet(self) -> None:
        if self._phone is None:
            return
        host, port = self._phone
        for greeting, usual_port in GREETINGS:
            with contextlib.suppress(OSError):  # the network may be gone for a moment
                self._socket.sendto(greeting, (host, port or usual_port))

    def _received(self) -> Tracked | None:
        """Wait briefly for a datagram; None if none comes from the phone, or one without sense."""
        try:
            datagram, (sender, _) = self._socket.recvfrom(_MAX_BYTES)
        except OSError:
            return None
        if self._heard not in ("", sender):
            return None
        tracked = parsed(datagram.decode("ascii", "replace"))
        if tracked is not None:
            self._heard = sender
        return tracked


def parsed(text: str) -> Tracked | None:
    """Read a datagram; None if its head is missing or damaged. Unknown parts are passed over."""
    shapes: dict[str, float] = {}
    angles, seen = None, True
    for part in text.split("|"):
        if part.startswith("=head#"):
            angles = _angles(part)
            continue
        name, _, value = part.partition("&" if "&" in part else "-")
        number = _number(value)
        known = read_name(name[:-2] + _SIDES[name[-2:]] if name[-2:] in _SIDES else name)
        if name == "trackingStatus":
            seen = number != 0
        elif known is not None and number is not None:
            shapes[known] = min(max(number / 100, 0.0), 1.0)
    return None if angles is None else Tracked(shapes if seen else None, angles)


def rotation(angles: tuple[float, float, float], side: float = 1.0) -> Array:
    """Return the float32 (3, 3) rotation of the head, image axes, for degrees about ARKit's.

    The head rolls first, then nods, then turns. The image's y and z axes are the opposite of
    ARKit's. A `side` of -1 turns and tilts the other way.
    """
    nod, turn, tilt = angles
    order = Rotation.from_euler("YXZ", [-side * turn, nod, -side * tilt], degrees=True)
    matrix: Array = order.as_matrix().astype(np.float32)
    return matrix


def _angles(part: str) -> tuple[float, float, float] | None:
    numbers = [_number(value) for value in part.removeprefix("=head#").split(",")[:3]]
    if len(numbers) < 3 or None in numbers:
        return None
    x, y, z = (number for number in numbers if number is not None)
    return x, y, z


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _resolved(address: str) -> tuple[str, int]:
    """Return the phone's numeric address and the port that was named, 0 if none was."""
    host, _, port = address.partition(":")
    if not host or not (port or "1").isdecimal() or not 0 < int(port or 1) < 65536:
        raise SourceError(
            "Name the phone by the address that the app shows, as in ifacialmocap:192.168.1.20."
        )
    try:
        return looked_up(host, int(port or 0), socket.AF_INET)
    except OSError as error:
        raise SourceError(
            f"The phone {host} cannot be reached ({error.strerror}); name it by the address that "
            "the app shows, as in ifacialmocap:192.168.1.20."
        ) from error


IFACIALMOCAP: Final = SourceSpec(
    "ifacialmocap",
    "an actor tracked by a phone (iFacialMocap over UDP)",
    IFacialMocapSource,
    argument="[ADDRESS]",
    settings=IFacialMocapSettings,
    needs="a phone with iFacialMocap",
    landmarks=True,
)
