"""Passes frames to the source "Reenact" inside OBS through shared memory."""

from __future__ import annotations

from typing import Final

from reenact.config import Section
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.obs.ring import DEFAULT_NAME, RingWriter
from reenact.types import Frame, Sink


class ObsSink(ClosesOnExit):
    """Frames of any size for OBS, with their alpha channel, without a driver.

    They are shown by the source that `reenact obs install` adds, in any number of scenes. OBS may
    start and end at any time. One thread calls `open` and `write`; any may call `close`.
    """

    name = "obs"
    live = True

    def __init__(self, ring_name: str = "") -> None:
        """Touch nothing yet; the name is that in the source's properties, "" for the default."""
        self._writer = RingWriter(ring_name or DEFAULT_NAME)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Take possession of the name. Raises SinkError if another program writes under it."""
        self._writer.open()

    def write(self, frame: Frame) -> None:
        """Make this the newest frame; returns at once."""
        self._writer.write(frame.image, frame.alpha)

    def close(self) -> None:
        """End; the source in OBS shows the last picture as long as its properties say."""
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
