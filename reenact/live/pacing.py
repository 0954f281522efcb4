"""When pictures leave: what the session's emit thread does.

For a live source, once in every interval of the output's rate, whatever the source and the
renderer do; for a file, every frame once, and at its own time where somebody watches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from reenact.live.slot import Slot
from reenact.stats import Recorder
from reenact.types import Frame

_SLIP_S: Final = 0.25
"""A video shown slower than its own time by more than this goes on from where it is."""


class Output(Protocol):
    """What is needed of `sinks.SinkSet`; one thread opens, writes and closes it."""

    @property
    def live(self) -> bool:
        """Whether somebody watches one of the sinks, so that pictures come at their time."""

    @property
    def closed_by_user(self) -> bool:
        """Whether the user closed the window that shows the pictures."""

    @property
    def errors(self) -> Mapping[str, str]:
        """What each sink that failed said, by name."""

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Get ready for pictures of this size. Raises SinkError."""

    def write(self, frame: Frame) -> None:
        """Write to every sink that works. Raises SinkError when none is left."""

    def close(self) -> None:
        """Finish files, release devices. May be called twice."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture of the target on its way to the sinks.

    Attributes:
        frame: the picture.
        captured_ns: when the actor's frame behind it was captured, on the clock of
            `time.monotonic_ns`; None for the target at rest, which no frame stands behind.
    """

    frame: Frame
    captured_ns: int | None


class Emitter:
    """Writes what comes out of a slot. All calls come from one thread.

    Args:
        slot: where the pictures come from.
        output: where they go, open.
        recorder: counts the writes.
        stopping: set when the session stops, so that no pause outlasts it.
    """

    def __init__(
        self, slot: Slot[Rendered], output: Output, recorder: Recorder, stopping: threading.Event
    ) -> None:
        self._slot = slot
        self._output = output
        self._recorder = recorder
        self._stopping = stopping

    def emit_live(self, fps: float) -> None:
        """Write once in every interval of 1/fps until the user closes the window.

        A new picture is written at once, so that pacing adds no latency where source and output
        have the same rate; where none came, the last one is written again at the interval's end.
        Pictures may thus be written twice or never, so their times and numbers are those of the
        writes, not those of the capture.

        Raises:
            Closed: the slot has come to its end.
            SinkError: no sink is left.
        """
        period_s = 1.0 / fps
        last: Frame | None = None
        index = 0
        interval_end_s = time.monotonic() + period_s
        while not self._output.closed_by_user:
            new = self._slot.take(max(0.0, interval_end_s - time.monotonic()))
            if new is not None:
                last = new.frame
            if last is not None:
                picture = replace(last, time_s=time.monotonic(), index=index)
                self._write(picture, None if new is None else new.captured_ns)
                index += 1
            if new is not None:
                self._stopping.wait(max(0.0, interval_end_s - time.monotonic()))
            interval_end_s += period_s
            if interval_end_s < time.monotonic():
                # A slow sink: the intervals that it missed are not made up for.
                interval_end_s = time.monotonic() + period_s

    def emit_all(self) -> None:
        """Write every picture once, for a live sink at the frames' own times.

        Raises:
            Closed: the slot has come to its end.
            SinkError: no sink is left.
        """
        start_s: float | None = None
        while not self._output.closed_by_user:
            item = self._slot.take()
            assert item is not None  # without a timeout there is an item or the end
            if self._output.live:
                now_s = time.monotonic()
                if start_s is None or now_s > start_s + item.frame.time_s + _SLIP_S:
                    start_s = now_s - item.frame.time_s
                self._stopping.wait(max(0.0, start_s + item.frame.time_s - now_s))
            self._write(item.frame, item.captured_ns)

    def _write(self, picture: Frame, captured_ns: int | None) -> None:
        with self._recorder.timer.step("write"):
            self._output.write(picture)
        self._recorder.frame_out(captured_ns)
