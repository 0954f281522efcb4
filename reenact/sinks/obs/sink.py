"""Passes frames to the source "Reenact" inside OBS through shared memory."""

from __future__ import annotations

from typing import Final

from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.obs.ring import DEFAULT_NAME, RingWriter
from reenact.types import Frame


class ObsSink(ClosesOnExit):
    """Sends frames of any size, with alpha, to OBS without a driver.

    The source that `reenact obs install` adds shows them, in any number of scenes. OBS may start
    and end at any time. One thread calls `open` and `write`; any thread may call `close`.
    """

    name = "obs"
    live = True

    def __init__(self, ring_name: str) -> None:
        """Create the sink; the name is that in the source's properties, "" for the default."""
        self._writer = RingWriter(ring_name or DEFAULT_NAME)

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Claim the name. Raises SinkError if another program writes under it."""
        self._writer.open()

    def write(self, frame: Frame) -> None:
        """Make this the newest frame; returns at once."""
        self._writer.write(frame.image, frame.alpha)

    def close(self) -> None:
        """Release the name; the source keeps the last picture for as long as its properties say."""
        self._writer.close()


OBS: Final = SinkSpec(
    "obs",
    "the source Reenact in OBS, see `reenact obs install`",
    lambda argument, _: ObsSink(argument),
    argument="[NAME]",
    alpha=True,
    on_air=True,
)
