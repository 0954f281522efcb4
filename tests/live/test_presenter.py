"""What a session shows on request, and how one target gives way to another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from reenact.config import Settings
from reenact.live.pipeline import Reenactor
from reenact.live.prepared_target import PreparedTarget
from reenact.live.presenter import FADE_S, Presenter, Show
from reenact.live.session import Session
from reenact.stats import Recorder, StepTimer
from reenact.types import Frame, Landmarks
from support.faces import plain_target
from support.fakes import (
    BLUE,
    GREEN,
    MAGENTA,
    RED,
    FakeReenactor,
    FakeRenderer,
    FakeSink,
    FakeSource,
    FakeTracker,
    plain,
    shows_actor,
)
from support.sessions import OUTPUT_FPS, all_frames_are_counted, make_session
from support.simulation import SimulatedTime


def play(
    time: SimulatedTime, script: dict[int, Callable[[Session], Any]], frames: int = 60
) -> tuple[FakeSink, Session]:
    """Run a live session; before the write of a number, do what the script says."""
    sink = FakeSink(live=True)
    reenactor = FakeReenactor()
    source = FakeSource(frames, live=True, fps=OUTPUT_FPS, time=time)
    session = make_session(source, reenactor, sink, time)

    def act(number: int) -> None:
        if number in script:
            script[number](session)

    sink.on_write = act
    with session:
        session.start()
        assert session.wait(20.0)
    assert not any(shows_actor(frame.image) for frame in sink.frames)
    assert all_frames_are_counted(session.stats())
    return sink, session


def show(what: Show) -> Callable[[Session], None]:
    return lambda session: setattr(session.presenter, "show", what)


def test_panic_shows_the_target_at_rest_at_once_and_until_it_ends(time: SimulatedTime) -> None:
    sink, session = play(time, {20: show(Show.REST), 40: show(Show.LIVE)})
    colours = sink.colours
    assert colours[10:20] == [GREEN] * 10
    assert colours[23:40] == [BLUE] * 17
    assert colours[43:] == [GREEN] * len(colours[43:])
    # At its begin and end; at rest the idle life goes on.
    assert cast(FakeReenactor, session.reenactor).resets == 2


def test_a_wish_that_fails_is_told_and_the_session_goes_on(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    def play_motion() -> None:
        raise RuntimeError("the motion's file is damaged")

    script = {20: lambda session: session.presenter.ask(play_motion)}
    sink, session = play(time, script)
    assert session.error is None
    assert sink.colours[25:] == [GREEN] * len(sink.colours[25:])
    assert "the motion's file is damaged" in caplog.text


def test_panic_needs_no_frame_of_the_actor(time: SimulatedTime) -> None:
    sink = FakeSink(live=True)
    source = FakeSource(None, live=True, fps=OUTPUT_FPS, hangs_at=10, time=time)
    session = make_session(source, FakeReenactor(), sink, time)
    seen = threading.Event()

    def panic(number: int) -> None:
        if number == 15:
            session.presenter.show = Show.REST
        if number == 20:  # long before the camera counts as gone
            seen.set()

    sink.on_write = panic
    with session:
        session.start()
        assert seen.wait(20.0)
    assert sink.colours[14] == GREEN
    assert sink.colours[18] == BLUE


def test_a_frozen_picture_stays_while_the_time_goes_on(time: SimulatedTime) -> None:
    sink, session = play(time, {20: show(Show.FROZEN), 40: show(Show.LIVE)})
    reenactor = cast(FakeReenactor, session.reenactor)
    assert set(sink.colours[10:]) == {GREEN}
    assert reenactor.steps == pytest.approx(40, abs=3)
    assert reenactor.looks == pytest.approx(40, abs=3)  # nor is the actor tracked meanwhile
    assert len(sink.frames) == pytest.approx(60, abs=3)


def test_what_a_frozen_picture_gives_way_to_is_faded_in(time: SimulatedTime) -> None:
    def change_colour(session: Session) -> None:
        cast(FakeReenactor, session.reenactor).colour = RED

    script = {20: show(Show.FROZEN), 30: change_colour, 40: show(Show.LIVE)}
    sink, session = play(time, script, frames=80)
    reds = np.array([red for red, _, _ in sink.colours])
    assert reds[:41].max() == 0
    assert reds[-1] == RED[0]
    fading = np.flatnonzero((reds > 0) & (reds < RED[0]))
    assert len(fading) == pytest.approx(FADE_S * OUTPUT_FPS, abs=3)
    assert cast(FakeReenactor, session.reenactor).resets == 0  # else it would come from rest


def test_panic_needs_no_time_to_come_to_rest() -> None:
    """Without a face the target goes to rest within `RETURN_S`; on request, at once."""
    target = plain_target(GREEN)
    settings = Settings.model_validate(
        {"idle": {"life": False}, "fusion": {"method": "direct"}, "actor": {"neutral": "fresh"}}
    )
    face = FakeTracker(Landmarks(target.neutral, 1.0, (64, 48)))
    reenactor = Reenactor(settings, target, face, FakeRenderer(), StepTimer())
    presenter = Presenter(reenactor, Recorder())
    for number in range(5):
        presenter.step(Frame(plain(MAGENTA), number / 25, number))
    assert reenactor.drive is not None
    presenter.show = Show.REST
    assert presenter.settle()
    presenter.idle(0.2, 5)
    assert reenactor.drive is None


def test_targets_fade_into_each_other_without_a_missing_frame(time: SimulatedTime) -> None:
    other = cast(PreparedTarget, None)  # the fake draws it in red
    sink, session = play(time, {20: lambda session: session.presenter.switch(other)})
    reds, greens = np.array([frame.image[0, 0, :2] for frame in sink.frames]).astype(int).T
    first = int(np.argmax(reds > 0))
    last = int(np.argmax(reds == RED[0]))
    assert first == pytest.approx(22, abs=2)
    assert last - first == pytest.approx(FADE_S * OUTPUT_FPS, abs=2)
    assert (np.diff(reds[first : last + 1]) >= 0).all()
    assert (reds + greens)[1:] == pytest.approx(200, abs=3)
    times = np.array([frame.time_s for frame in sink.frames])
    assert np.diff(times).max() < 1.5 / OUTPUT_FPS
    assert cast(FakeReenactor, session.reenactor).resets == 0


class CutOut(FakeReenactor):
    """Draws a person in the middle half of a transparent picture; `switch` doubles its size."""

    def step(self, frame: Frame) -> Frame:
        picture = super().step(frame)
        height, width = picture.image.shape[:2]
        alpha = np.zeros((height, width), np.uint8)
        alpha[height // 4 : -height // 4, width // 4 : -width // 4] = 255
        return replace(picture, alpha=alpha)

    def switch(self, prepared: PreparedTarget) -> None:
        super().switch(prepared)
        self.size = (128, 48)


def test_the_cut_out_fades_too_if_the_targets_differ_in_size() -> None:
    """Otherwise the old person would be seen through the new one's outline."""
    presenter = Presenter(CutOut(), Recorder())
    actor = np.zeros((48, 64, 3), np.uint8)
    presenter.step(Frame(actor, 0.0, 0))
    presenter.switch(cast(PreparedTarget, None))
    presenter.settle()
    first, half = (presenter.step(Frame(actor, time_s, 1)) for time_s in (0.1, 0.1 + FADE_S / 2))
    assert first.alpha is not None
    assert half.alpha is not None
    assert first.size == (128, 48)
    middle = slice(48, 80)  # of the old picture, which is 64 px wide
    assert (first.alpha[12:36, middle] == 255).all()
    assert first.alpha.sum() == 255 * 24 * 32
    assert half.alpha[24, 64] == 255
    assert half.alpha[24, 34] == pytest.approx(128, abs=1), "only the new person is there"


def test_no_delay_is_measured_while_the_target_does_not_follow(time: SimulatedTime) -> None:
    """OBS's microphones are delayed by it."""
    _, session = play(time, {20: show(Show.FROZEN), 40: show(Show.REST)})
    assert session.recorder.latency.samples_ms().size == pytest.approx(20, abs=3)


class OneAlpha(FakeReenactor):
    """Its pictures have an alpha channel of one value; None: they have none."""

    level: int | None = 200

    def step(self, frame: Frame) -> Frame:
        alpha = None if self.level is None else np.full((48, 64), self.level, np.uint8)
        return replace(super().step(frame), alpha=alpha)


@pytest.mark.parametrize(("level", "halfway"), [(0, 100), (None, None)])
def test_outlines_fade_into_each_other_if_both_targets_have_one(
    level: int | None, halfway: int | None
) -> None:
    reenactor = OneAlpha()
    presenter = Presenter(reenactor, Recorder())

    def alpha(time_s: float) -> int | None:
        presenter.settle()
        picture = presenter.step(Frame(plain(MAGENTA), time_s, 0))
        return None if picture.alpha is None else round(float(picture.alpha.mean()))

    assert alpha(0.0) == 200
    reenactor.level = level
    presenter.switch(cast(PreparedTarget, None))  # the fake draws it in red
    seen = [alpha(1.0), alpha(1.0 + FADE_S / 2), alpha(1.0 + FADE_S)]
    assert seen == [None if level is None else 200, halfway, level]
