"""Reads an actor's head and face from a VMC performer instead of a camera."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from typing import Any, Final

from pydantic import Field
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from typing_extensions import override

from reenact.config import Section
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.types import Frame
from reenact_vmc import protocol
from reenact_vmc.blend_shapes import read_name
from reenact_vmc.face import SILENT_S, SIZE, BlendShapeFace
from reenact_vmc.network import looked_up

_POLL_S: Final = 0.05
_NOT_OURS: Final = (errno.EINVAL, errno.EADDRNOTAVAIL)

_log = logging.getLogger(__name__)


class VmcSettings(Section):
    """Settings of the source."""

    listen: str = Field(
        default="127.0.0.1", description="the address to listen on; 0.0.0.0: the whole network"
    )


class _Server(BlockingOSCUDPServer):
    """Passes over what is no OSC, because anybody may send anything to a UDP port."""

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("A datagram is no OSC.", exc_info=True)


def _is_no_complaint(record: logging.LogRecord) -> bool:
    """Return False for what pythonosc logs, through the root logger, of each damaged datagram."""
    return not record.module.startswith("osc_")


class VmcSource(ClosesOnExit):
    """A frame of `BlendShapeFace` for each `/VMC/Ext/Blend/Apply` that comes in.

    Attributes:
        live: True: frames come by themselves.
        name: `vmc:` and the port.
        size: (width, height) px.
        fps: what most senders send.
    """

    live = True
    size = SIZE
    fps = 30.0

    def __init__(self, port: str, listen: str = "127.0.0.1") -> None:
        """Listen on a port; "" stands for 39540.

        Raises:
            SourceError: it is no port, another program has it, or `listen` is no address.
        """
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise SourceError(f"vmc:{port} is no port; write it as vmc:39540.")
        number = int(port or protocol.PERFORMER_PORT)
        self.name = f"vmc:{number}"
        # Otherwise it would sleep until the time in a bundle, by a sender's clock.
        dispatcher = Dispatcher(strict_timing=False)
        dispatcher.map(protocol.BONE, self._bone)
        dispatcher.map(protocol.VALUE, self._value)
        dispatcher.map(protocol.APPLY, self._apply)
        try:
            self._server = _Server(looked_up(listen, number, socket.AF_INET), dispatcher)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno in _NOT_OURS:
                raise SourceError(
                    f"source.vmc.listen={listen} is no address to listen on ({error.strerror}); "
                    "take 127.0.0.1 for this computer, or 0.0.0.0 for the whole network."
                ) from error
            raise SourceError(
                f"Nothing can listen on {listen}:{number} ({error.strerror}); close the program "
                "that has the port, or choose another, as in --source vmc:39550."
            ) from error
        self._shapes: dict[str, float] = {}
        self._turn = [0.0, 0.0, 0.0, 1.0]
        self._arrived = threading.Condition()
        self._applied: dict[str, float] | None = None
        self._closed = False
        self._face = BlendShapeFace()
        logging.getLogger().addFilter(_is_no_complaint)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="reenact_vmc", daemon=True
        )
        self._thread.start()

    def read(self) -> Frame | None:
        """Wait for the next state of the face; None once closed.

        Raises:
            SourceError: nobody has sent for two seconds.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._closed or self._applied is not None, SILENT_S)
            shapes, self._applied = self._applied, None
            if self._closed:
                return None
            if shapes is None:
                raise SourceError(
                    f"Nothing comes in on {self.name}; let the tracking program send VMC there."
                )
            turn = protocol.rotation(self._turn)
        return self._face.frame(shapes, turn)

    def close(self) -> None:
        """Stop listening, and wake a `read` that waits."""
        with self._arrived:
            if self._closed:
                return
            self._closed = True
            self._arrived.notify_all()
        self._server.shutdown()
        self._server.server_close()
        logging.getLogger().removeFilter(_is_no_complaint)

    def _bone(self, _: str, *values: Any) -> None:
        if len(values) == 8 and values[0] == protocol.HEAD and _are_numbers(values[1:]):
            with self._arrived:
                self._turn = [float(value) for value in values[4:]]

    def _value(self, _: str, *values: Any) -> None:
        if len(values) == 2 and isinstance(values[0], str) and _are_numbers(values[1:]):
            name = read_name(values[0])
            if name is not None:
                with self._arrived:
                    self._shapes[name] = float(values[1])

    def _apply(self, _: str, *values: Any) -> None:
        with self._arrived:
            self._applied, self._shapes = self._shapes, {}
            self._arrived.notify_all()


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int | float) for value in values)


VMC: Final = SourceSpec(
    "vmc",
    "an actor tracked by another program or a phone (VMC protocol over UDP)",
    lambda argument, settings: VmcSource(argument, settings.listen),
    argument="[PORT]",
    settings=VmcSettings,
    needs="a VMC performer that sends",
    landmarks=True,
)
