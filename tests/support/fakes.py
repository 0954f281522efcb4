"""Parts that satisfy the program's protocols and misbehave on request.

The fake actor is pure magenta and the fake target pure green (blue at rest), so that a single
pixel of the actor shows in the output.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import TypeVar, cast

import numpy as np

from reenact.config import OutputSettings, Settings
from reenact.errors import SinkError, SourceError
from reenact.expression.driving import Hold
from reenact.lifecycle import ClosesOnExit
from reenact.live.clock import SYSTEM_CLOCK
from reenact.live.prepared_target import PreparedTarget
from reenact.types import Drive, Frame, Image, Landmarks, Pose, Sink, Source, Target
from support.simulation import SimulatedTime

MAGENTA = (255, 0, 255)
GREEN = (0, 200, 0)
BLUE = (0, 0, 200)
RED = (200, 0, 0)

MAX_MARK = 6
"""Largest change of the blue channel by the watermark."""

T = TypeVar("T")


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image:
    """Return a picture of one colour; the size is (width, height)."""
    return np.full((size[1], size[0], 3), colour, np.uint8)


def in_tens(image: Image) -> tuple[int, int, int]:
    """Return the colour of a picture's first pixel, in tens: a watermark changes its blue."""
    red, green, blue = (round(int(level), -1) for level in image[0, 0])
    return red, green, blue


def is_plain(image: Image, colour: tuple[int, int, int], within: int = 0) -> bool:
    """Return True if a whole picture has a colour, to within some levels and a watermark's blue."""
    off = np.abs(image[..., :3].astype(int) - colour).reshape(-1, 3).max(axis=0)
    return bool((off <= (within, within, within + MAX_MARK)).all())


def shows_actor(image: Image) -> bool:
    """Return True if any pixel is more magenta than video compression makes green or blue."""
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    return bool(np.any((red > 150) & (blue > 150) & (green < 120)))


class FakeDevice(ClosesOnExit):
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class FakeSource(FakeDevice):
    """Magenta frames at a steady rate.

    Args:
        frames: ends after so many; None: never.
        live: frames come by the clock, and `time_s` is the clock's.
        away: reads of these numbers raise SourceError.
        hangs_at: this read blocks until the source is closed.
        step: called before each read with its number, so that a test can hold it back.
        time: simulates the clock; None for the real one.

    Attributes:
        times_s: those of the frames sent so far.
    """

    name = "fake actor"

    def __init__(
        self,
        frames: int | None = 10,
        *,
        live: bool = False,
        fps: float = 50.0,
        size: tuple[int, int] = (64, 48),
        away: Collection[int] = (),
        hangs_at: int | None = None,
        step: Callable[[int], None] | None = None,
        time: SimulatedTime | None = None,
    ) -> None:
        super().__init__()
        self.live = live
        self.fps = fps
        self.size = size
        self.reads = 0
        self.times_s: list[float] = []
        self._frames = frames
        self._away = away
        self._hangs_at = hangs_at
        self._step = step
        self._released = time or threading.Condition()
        self._clock = time.clock if time else SYSTEM_CLOCK

    def read(self) -> Frame | None:
        number = self.reads
        self.reads += 1
        if self._step is not None:
            self._step(number)
        if number == self._hangs_at:
            with self._released:
                self._released.wait_for(lambda: self.closed)
            raise SourceError("The fake camera was closed.")
        if number in self._away:
            raise SourceError("The fake camera is unplugged.")
        if self._frames is not None and len(self.times_s) >= self._frames:
            return None
        if self.live:
            with self._released:
                self._released.wait_for(lambda: self.closed, 1.0 / self.fps)
        index = len(self.times_s)
        time_s = self._clock.now_s() if self.live else index / self.fps
        self.times_s.append(time_s)
        return Frame(plain(MAGENTA, self.size), time_s, index)

    def close(self) -> None:
        with self._released:
            super().close()
            self._released.notify_all()


class FakeReenactor:
    """Pictures in a colour for frames, green at first and red from `switch` on; blue at rest.

    Args:
        fails: number of the steps that raise, or "all".
        idle_fails: the target at rest cannot be drawn either.
        step: called before each step with its number.
        crop_px: side of the crop that it draws.
    """

    device = "cpu"

    def __init__(
        self,
        *,
        size: tuple[int, int] = (64, 48),
        fails: Collection[int] | str = (),
        idle_fails: bool = False,
        step: Callable[[int], None] | None = None,
        crop_px: int = 256,
    ) -> None:
        self.size = size
        self.crop_px = crop_px
        self.faces_lost = 0
        self.frames_limited = self.frames_still = 0
        self.face_found = self.face_present = True
        self.faces_seen = 1
        self.drive: Drive | None = None
        self.hold = Hold()
        self.actor_rest_pose: Pose | None = None
        self.colour = GREEN
        self.undone = 0
        self.steps = self.looks = 0
        self.drawn_at: list[int] = []
        self.idles = 0
        self.neutrals = 0
        self.resets = 0
        self.closed = 0
        self._fails = fails
        self._idle_fails = idle_fails
        self._step = step

    def draw_at(self, size_px: int) -> bool:
        self.drawn_at.append(size_px)
        return True

    def look(self, frame: Frame) -> None:
        self.looks += 1

    def step(self, frame: Frame) -> Frame:
        number = self.steps
        self.steps += 1
        if self._step is not None:
            self._step(number)
        if self._fails == "all" or number in self._fails:
            raise RuntimeError("the fake renderer fails")
        return Frame(plain(self.colour, self.size), frame.time_s, frame.index)

    def idle(self, time_s: float, index: int, *, at_rest: bool = False) -> Frame:
        self.idles += 1
        if self._idle_fails:
            raise RuntimeError("the fake target at rest fails")
        return Frame(plain(BLUE, self.size), time_s, index)

    def set_neutral(self) -> None:
        self.neutrals += 1

    def play_motion(self) -> None:
        raise NotImplementedError

    def undo_neutral(self) -> None:
        self.undone += 1

    @property
    def target(self) -> Target:
        return cast(Target, SimpleNamespace(usual_size=self.crop_px))

    def prepare(self, target: Target, tried: Settings | None = None) -> PreparedTarget:
        raise NotImplementedError

    def open_backdrop(self, output: OutputSettings) -> None:
        raise NotImplementedError

    def switch(self, prepared: PreparedTarget) -> None:
        self.colour = RED

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


class FakeSink(FakeDevice):
    """Keeps what is written.

    Args:
        fails_at: this write and all later ones raise SinkError.
        on_write: called before each write with its number.
    """

    def __init__(
        self,
        name: str = "fake sink",
        *,
        live: bool = False,
        fails_at: int | None = None,
        open_fails: bool = False,
        on_write: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.live = live
        self.closed_by_user = False
        self.opened: tuple[tuple[int, int], float] | None = None
        self.frames: list[Frame] = []
        self._fails_at = fails_at
        self._open_fails = open_fails
        self.on_write = on_write

    def open(self, size: tuple[int, int], fps: float) -> None:
        if self._open_fails:
            raise SinkError(f"{self.name} cannot be opened; this is a test.")
        self.opened = (size, fps)

    def write(self, frame: Frame) -> None:
        if self.on_write is not None:
            self.on_write(len(self.frames))
        if self._fails_at is not None and len(self.frames) >= self._fails_at:
            raise SinkError(f"{self.name} is broken; this is a test.")
        self.frames.append(frame)

    @property
    def colours(self) -> list[tuple[int, int, int]]:
        """The colour of each picture's first pixel, in tens."""
        return [in_tens(frame.image) for frame in self.frames]


class FakeTracker:
    """Finds the same face in every frame, until a test sets another one.

    Args:
        face: its landmarks; None: no face is found.
        absent: numbers of the calls that find none.
        fails: numbers of the calls that raise.
    """

    faces_seen = 1

    def __init__(
        self, face: Landmarks | None, absent: Collection[int] = (), fails: Collection[int] = ()
    ) -> None:
        self.face = face
        self.calls = self.resets = 0
        self._absent = absent
        self._fails = fails

    def track(self, frame: Frame) -> Landmarks | None:
        number = self.calls
        self.calls += 1
        if number in self._fails:
            raise RuntimeError("the fake tracker fails")
        return None if number in self._absent else self.face

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        """Nothing is held."""


class FakeRenderer:
    """Draws the target's first reference and keeps what it was driven by.

    Args:
        fails: numbers of the renders that raise.
        levels: are added to the pictures in turn.
    """

    device = "cpu"

    def __init__(self, fails: Collection[int] = (), levels: Sequence[int] = (0,)) -> None:
        self.drives: list[Drive] = []
        self.resets = 0
        self._levels = levels
        self._target: Target | None = None
        self._fails = fails

    def prepare(self, target: Target) -> None:
        self._target = target

    def render(self, drive: Drive) -> Image:
        number = len(self.drives)
        self.drives.append(drive)
        if number in self._fails:
            raise RuntimeError("the fake renderer fails")
        assert self._target is not None
        level = self._levels[number % len(self._levels)]
        return np.array(self._target.references[0] + level, np.uint8)

    def reset(self) -> None:
        self.resets += 1


def until(look: Callable[[], T | None], timeout_s: float = 60.0, what: str = "") -> T:
    """Call until the answer is true and return it; fail the test with `what` after a while."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"did not happen: {what or look}"
        time.sleep(0.005)
    return found


def parts() -> Iterator[Source | Sink]:
    """Yield one of each device, which lets mypy check that the fakes satisfy the protocols."""
    yield FakeSource()
    yield FakeSink()
