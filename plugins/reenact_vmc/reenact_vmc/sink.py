"""Sends the actor's head and face to a VMC marionette."""

from __future__ import annotations

import logging
from typing import Final

from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.udp_client import UDPClient

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.types import Frame
from reenact_vmc import protocol
from reenact_vmc.blend_shapes import blend_shapes, look_shapes
from reenact_vmc.network import looked_up

log = logging.getLogger(__name__)


class VmcSink(ClosesOnExit):
    """Sends one OSC bundle a frame over UDP. One thread calls.

    Attributes:
        name: `vmc:` and the address.
        live: True: the newest frame counts.
    """

    live = True

    def __init__(self, address: str) -> None:
        """Take the address HOST:PORT; "" stands for 127.0.0.1:39539.

        Raises:
            SinkError: it is no address, or the host is unknown.
        """
        host, _, port = (address or f"127.0.0.1:{protocol.MARIONETTE_PORT}").rpartition(":")
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise SinkError(f"vmc:{address} has no port; write it as vmc:127.0.0.1:39539.")
        self.name = f"vmc:{address}" if address else "vmc"
        try:
            # Looked up once: a name server that does not answer would stop every frame.
            self._client = UDPClient(*looked_up(host.strip("[]") or "127.0.0.1", int(port)))
        except OSError as error:
            raise SinkError(f"vmc: the host {host} cannot be reached: {error.strerror}.") from error

        self._start_s: float | None = None
        self._fails = False

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Do nothing: the protocol has no connection."""

    def write(self, frame: Frame) -> None:
        """Send what the actor does; only that there is nobody if no face made the picture.

        Frames that the network refuses are lost, with a logged warning.
        """
        if self._start_s is None:
            self._start_s = frame.time_s
        bundle = OscBundleBuilder(IMMEDIATELY)
        performance = frame.performance
        expression = performance.expression if performance else None
        _add(bundle, protocol.OK, int(expression is not None))
        _add(bundle, protocol.TIME, frame.time_s - self._start_s)
        if expression is not None:
            turn = protocol.quaternion(expression.pose.rotation)
            _add(bundle, protocol.BONE, protocol.HEAD, 0.0, 0.0, 0.0, *turn)
            shapes = blend_shapes(expression.action_units)
            shapes |= look_shapes(expression.deviation)
            shapes["TongueOut"] = expression.tongue
            for name, value in shapes.items():
                _add(bundle, protocol.VALUE, name, float(value))
            _add(bundle, protocol.APPLY)
        try:
            self._client.send(bundle.build())
        except ConnectionRefusedError:
            pass  # nobody listens yet
        except OSError as error:
            if not self._fails:
                log.warning("%s cannot be sent to: %s.", self.name, error.strerror or error)
            self._fails = True
        else:
            self._fails = False

    def close(self) -> None:
        """Close the socket."""
        self._client.close()


def _add(bundle: OscBundleBuilder, address: str, *values: str | int | float) -> None:
    message = OscMessageBuilder(address)
    for value in values:
        message.add_arg(value)
    bundle.add_content(message.build())


VMC: Final = SinkSpec(
    "vmc",
    "the actor's head and face for VTuber programs (VMC protocol over UDP)",
    lambda argument, _: VmcSink(argument),
    argument="[HOST:PORT]",
    alpha=True,
)
