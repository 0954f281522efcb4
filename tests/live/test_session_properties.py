"""Properties of every session, however long its parts take and whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.live.pipeline import Reenactor
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet
from reenact.stats import StepTimer
from reenact.types import Frame, Landmarks
from support.faces import plain_target
from support.fakes import (
    GREEN,
    FakeReenactor,
    FakeRenderer,
    FakeSink,
    FakeSource,
    FakeTracker,
    is_plain,
    shows_actor,
)
from support.sessions import all_frames_are_counted, run
from support.simulation import SimulatedTime

TARGET = plain_target(GREEN)
FACE = Landmarks(TARGET.neutral, 1.0, (64, 48))

durations_s = st.lists(st.sampled_from([0.0, 0.004, 0.02, 0.05, 0.3]), min_size=1, max_size=8)
calls = st.sets(st.integers(1, 40), max_size=15)


def taking(time: SimulatedTime, durations: Sequence[float]) -> Callable[[int], None]:
    """Return a hook that makes the calls of a part take these times in turn."""
    return lambda number: time.sleep(durations[number % len(durations)])


def noting(
    time: SimulatedTime, durations: Sequence[float], begun_s: list[float]
) -> Callable[[int], None]:
    """Return the same hook, which also notes when each call began."""

    def call(number: int) -> None:
        begun_s.append(time.now_s)
        taking(time, durations)(number)

    return call


def newest_before(moments: Sequence[tuple[int, float]], time_s: float) -> int:
    return max((index for index, moment_s in moments if moment_s < time_s), default=-1)


class NumberingReenactor(FakeReenactor):
    """Writes the index of a frame into its picture and notes when it began and ended it."""

    def __init__(self, time: SimulatedTime, durations: Sequence[float]) -> None:
        super().__init__(step=taking(time, durations))
        self.begun: list[tuple[int, float]] = []
        self.ended: list[tuple[int, float]] = []
        self._time = time

    def step(self, frame: Frame) -> Frame:
        self.begun.append((frame.index, self._time.now_s))
        picture = super().step(frame)
        picture.image[..., 0] = frame.index
        self.ended.append((frame.index, self._time.now_s))
        return picture


@examples(max_examples=40)
@given(durations_s, durations_s, durations_s, st.booleans(), st.integers(0, 25))
def test_every_frame_of_a_file_comes_out_once_in_order_and_not_too_early(
    reads: list[float], steps: list[float], writes: list[float], live_sink: bool, count: int
) -> None:
    time = SimulatedTime()
    written_s: list[float] = []
    sink = FakeSink(live=live_sink, on_write=noting(time, writes, written_s))
    source = FakeSource(count, fps=25.0, step=taking(time, reads))
    stats = run(source, FakeReenactor(step=taking(time, steps)), sink, time)
    assert [frame.index for frame in sink.frames] == list(range(count))
    assert [frame.time_s for frame in sink.frames] == source.times_s
    assert (stats.frames_in, stats.frames_out) == (count, count)
    assert (stats.repeats, stats.drops) == (0, {})
    assert sink.opened == ((64, 48), 25.0)
    if live_sink and count:
        late_s = np.array(written_s) - written_s[0] - source.times_s
        assert late_s.min() > -1e-6


@examples(max_examples=40)
@given(durations_s, durations_s, durations_s)
def test_of_a_live_source_the_newest_frame_is_rendered_and_the_newest_picture_written(
    reads: list[float], steps: list[float], writes: list[float]
) -> None:
    time = SimulatedTime()
    written_s: list[float] = []
    sink = FakeSink(live=True, on_write=noting(time, writes, written_s))
    reenactor = NumberingReenactor(time, steps)
    source = FakeSource(40, live=True, fps=50.0, step=taking(time, reads), time=time)
    stats = run(source, reenactor, sink, time)
    for index, time_s in reenactor.begun:
        assert index >= newest_before(list(enumerate(source.times_s)), time_s)
    acted = [
        (int(frame.image[0, 0, 0]), time_s)
        for frame, time_s in zip(sink.frames, written_s, strict=True)
        if frame.image[0, 0, 1] == GREEN[1]
    ]
    for index, time_s in acted:
        assert index >= newest_before(reenactor.ended, time_s)
    assert acted == sorted(acted)
    assert all_frames_are_counted(stats)


def run_reenactor(
    live: bool,
    picture: str,
    away: Collection[int],
    tracker: FakeTracker,
    renderer: FakeRenderer,
    *,
    show_raw_camera: bool = False,
) -> list[Frame]:
    """Run the program's own reenactor between fakes; return what was written."""
    time = SimulatedTime()
    settings = Settings.model_validate(
        {
            "actor": {"neutral": "fresh"},
            "fusion": {"method": "direct"},  # needs no weights
            "output": {"picture": picture, "show_raw_camera": show_raw_camera},
        }
    )
    reenactor = Reenactor(settings, TARGET, tracker, renderer, StepTimer())
    source = FakeSource(40, live=live, fps=30.0, away=away, time=time)
    sink = FakeSink(live=live)
    with (
        Session(settings, source, reenactor, SinkSet([sink]), clock=time.clock) as session,
        suppress(SourceError, RuntimeError),
    ):
        session.start()
        session.wait(60.0)
    return sink.frames


@examples(max_examples=25)
@given(st.booleans(), st.sampled_from(["plate", "crop"]), st.tuples(calls, calls, calls, calls))
def test_no_pixel_shows_the_actor_whatever_fails(
    live: bool, picture: str, faults: tuple[set[int], set[int], set[int], set[int]]
) -> None:
    """All of it is the target's green, or the plain card if tracker and renderer both fail."""
    away, absent, untracked, unrendered = faults
    tracker = FakeTracker(FACE, absent, untracked)
    for frame in run_reenactor(live, picture, away, tracker, FakeRenderer(unrendered)):
        card = (int(frame.image[0, 0, 0]),) * 3
        assert is_plain(frame.image, GREEN, within=8) or is_plain(frame.image, card)
        assert frame.size == ((160, 144) if picture == "plate" else (128, 128))


@pytest.mark.parametrize("live", [False, True])
def test_the_check_finds_the_actor_if_it_is_shown(live: bool) -> None:
    """With the camera shown beside the target, the same check of the same run finds the actor."""
    frames = run_reenactor(
        live, "plate", (), FakeTracker(FACE), FakeRenderer(), show_raw_camera=True
    )
    assert any(shows_actor(frame.image[:, :144]) for frame in frames)
    assert not any(shows_actor(frame.image[:, 144:]) for frame in frames)
