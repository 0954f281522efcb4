"""Decides when pictures are written: the work of the session's emit thread.

For a live source, one picture is written per interval of the output rate, whatever the rate of the
source and the renderer. For a file, every frame is written once; if a sink is live, at the frame's
own time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from reenact.live.clock import Clock
from reenact.live.slot import Slot
from reenact.sinks.fanout import SinkSet
from reenact.sinks.watermark import watermarked
from reenact.stats import Recorder
from reenact.types import Frame

_OUTPUT_FAILED: Final = "output failed"

_MAX_LAG_S: Final = 0.25
"""A video that is later than this does not try to catch up."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture of the target on its way to the sinks.

    Attributes:
        frame: the picture.
        captured_s: monotonic time at which the actor's frame was captured; None for the target at
            rest, which is not made from a frame.
        follows: False if the target rests or is frozen whatever the actor does in the frame.
    """

    frame: Frame
    captured_s: float | None
    follows: bool = True


class Emitter:
    """Writes the pictures that come out of a slot. One thread calls it.

    Args:
        slot: source of the pictures; closing it ends every wait.
        output: the sinks, already open.
        recorder: counts the writes.
        clock: paces the writes.
    """

    def __init__(
        self, slot: Slot[Rendered], output: SinkSet, recorder: Recorder, clock: Clock
    ) -> None:
        self._slot = slot
        self._output = output
        self._recorder = recorder
        self._now_s = clock.now_s

    def emit_live(self, fps: Callable[[], float]) -> None:
        """Write one picture in every interval of 1/fps() until the user closes the window.

        A new picture is written at once, so that pacing adds no latency if source and output
        have the same rate. If none arrives, the last one is written again at the interval's end.
        Pictures get the time of the write and a running number, because one may be written twice
        and another never.

        Raises:
            Closed: no more pictures will come.
            SinkError: no sink is left.
        """
        last: Frame | None = None
        index = 0
        interval_end_s = self._now_s() + 1.0 / fps()
        while not self._output.closed_by_user:
            new = self._slot.take(max(0.0, interval_end_s - self._now_s()))
            if new is not None:
                last = self._marked(new.frame)
            if last is not None:
                picture = replace(last, time_s=self._now_s(), index=index, captured_s=last.time_s)
                self._write(picture, new)
                index += 1
            if new is not None:
                self._slot.pause(max(0.0, interval_end_s - self._now_s()))
            interval_end_s += 1.0 / fps()
            if interval_end_s < self._now_s():
                # The sink is slow. The intervals that it missed are skipped.
                interval_end_s = self._now_s() + 1.0 / fps()

    def emit_all(self) -> None:
        """Write every picture once; if a sink is live, at the frame's own time.

        Raises:
            Closed: no more pictures will come.
            SinkError: no sink is left.
        """
        start_s: float | None = None
        while not self._output.closed_by_user:
            item = self._slot.take()
            assert item is not None  # without a timeout there is an item or the end
            picture = self._marked(item.frame)
            if self._output.live:
                now_s = self._now_s()
                if start_s is None or now_s > start_s + item.frame.time_s + _MAX_LAG_S:
                    start_s = now_s - item.frame.time_s
                self._slot.pause(max(0.0, start_s + item.frame.time_s - now_s))
            self._write(picture, item)

    def _marked(self, picture: Frame) -> Frame:
        """Return a picture with the watermark."""
        with self._recorder.timer.step("mark"):
            return replace(picture, image=watermarked(picture.image))

    def _write(self, picture: Frame, item: Rendered | None) -> None:
        """Write a picture, and count the item that it is made from; None: it is a repetition."""
        captured_s = None if item is None else item.captured_s
        try:
            with self._recorder.timer.step("write"):
                self._output.write(picture)
        except BaseException:
            if captured_s is not None:
                self._recorder.dropped(_OUTPUT_FAILED)
            raise
        self._recorder.frame_out(captured_s, follows=item is not None and item.follows)
