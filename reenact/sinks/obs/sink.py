"""Hands frames to the source "Reenact" inside OBS, through shared memory."""

from __future__ import annotations

from typing import Final

from reenact.config import Section
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.obs.ring import DEFAULT_NAME, RingWriter
from reenact.types import Frame, Sink


class ObsSink(ClosesOnExit):
    """The picture for OBS, with its alpha channel; no delay, no driver, any size.

    It is shown by the source that `reenact obs install` brings, in as many scenes as wanted, and
    does not mind whether OBS runs. `open` and `write` belong to one thread; `close` to any.

    Attributes:
        name: "obs".
        live: True.
    """

    name = "obs"
    live = True

    def __init__(self, ring_name: str = "") -> None:
        """Touch nothing yet.

        Args:
            ring_name: the name in the properties of the source; empty: the usual one.

        Raises:
            SinkError: the name cannot be one.
        """
        self._writer = RingWriter(ring_name or DEFAULT_NAME)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Take the name; size and rate follow the frames.

        Raises:
            SinkError: another program writes under this name, or there is no memory to share.
        """
        self._writer.open()

    def write(self, frame: Frame) -> None:
        """Make this the newest frame; returns at once.

        Raises:
            SinkError: not open, or there is no memory left to share.
        """
        self._writer.write(frame.image, frame.alpha)

    def close(self) -> None:
        """End; OBS shows the last picture for as long as its source is set to. May be repeated."""
        self._writer.close()


def _obs(argument: str, settings: Section) -> Sink:
    return ObsSink(argument)


OBS: Final = SinkSpec(
    "obs",
    "the source Reenact in OBS, see `reenact obs install`",
    _obs,
    argument="[NAME]",
    alpha=True,
)
