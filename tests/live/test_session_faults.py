"""What a session does when a part fails: it goes on if it can, and never shows the actor."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from unittest.mock import Mock

import pytest

from reenact.config import Settings
from reenact.errors import SinkError, SourceError
from reenact.live.fallback import MAX_FAILURES_IN_A_ROW
from reenact.live.presenter import Show
from reenact.live.session import Session
from reenact.sinks.fanout import SinkSet
from reenact.types import Frame
from support.fakes import BLUE, GREEN, FakeReenactor, FakeSink, FakeSource, is_plain, until
from support.sessions import all_frames_are_counted, make_session, run
from support.simulation import SimulatedTime


def test_a_truncated_file_is_written_up_to_its_end_and_its_error_is_raised(
    time: SimulatedTime,
) -> None:
    sink = FakeSink()
    with pytest.raises(SourceError, match="unplugged"):
        run(FakeSource(30, away=[12]), FakeReenactor(), sink, time)
    assert [frame.index for frame in sink.frames] == list(range(12))


def test_a_frame_that_cannot_be_rendered_becomes_the_target_at_rest(time: SimulatedTime) -> None:
    sink = FakeSink()
    stats = run(FakeSource(6), FakeReenactor(fails=[0, 3]), sink, time)
    assert sink.colours == [BLUE, GREEN, GREEN, BLUE, GREEN, GREEN]
    assert [frame.time_s for frame in sink.frames] == [number / 50.0 for number in range(6)]
    assert (stats.frames_out, stats.failures) == (6, 2)


def test_a_renderer_that_fails_now_and_then_does_not_end_the_session(time: SimulatedTime) -> None:
    count = 2 * MAX_FAILURES_IN_A_ROW + 4
    stats = run(FakeSource(count), FakeReenactor(fails=range(0, count, 2)), FakeSink(), time)
    assert (stats.frames_out, stats.failures) == (count, count // 2)


def test_if_even_the_target_at_rest_fails_a_plain_card_is_shown(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink()
    run(FakeSource(4), FakeReenactor(fails=[1, 2], idle_fails=True), sink, time)
    for card in (sink.frames[1].image, sink.frames[2].image):
        assert card.shape == (48, 64, 3)
        assert is_plain(card, (int(card[0, 0, 0]),) * 3)
    told = [text.partition(":")[0] for text in caplog.messages]
    assert told == ["A frame could not be rendered", "The target at rest could not be drawn."]


@pytest.mark.parametrize("live", [False, True])
def test_a_renderer_that_always_fails_ends_the_session(live: bool, time: SimulatedTime) -> None:
    sink = FakeSink(live=live)
    reenactor = FakeReenactor(fails="all")
    with pytest.raises(RuntimeError, match="fake renderer"):
        run(FakeSource(None, live=live, time=time), reenactor, sink, time)
    assert reenactor.steps == MAX_FAILURES_IN_A_ROW
    assert set(sink.colours) == {BLUE}


def test_a_live_output_stays_open_though_the_renderer_fails_for_good(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink(live=True)
    reenactor = FakeReenactor(fails=range(5, 1000))
    session = make_session(FakeSource(None, live=True, time=time), reenactor, sink, time)
    with session:
        session.start()
        until(lambda: reenactor.steps > 3 * MAX_FAILURES_IN_A_ROW)
        assert not session.ended(0.0)
    assert GREEN in sink.colours
    assert sink.colours[-1] == BLUE
    assert session.error is None
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [
        ("WARNING", "A frame could not be rendered: the fake renderer fails"),
        (
            "ERROR",
            "The target stays at rest, because no frame can be rendered: the fake renderer fails",
        ),
    ]
    source = FakeSource(50)
    with pytest.raises(RuntimeError, match="fake renderer"):
        run(source, FakeReenactor(fails=range(5, 1000)), FakeSink(), time)


def test_a_live_output_stays_open_though_earlier_frames_cannot_be_forgotten(
    time: SimulatedTime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program for calls would take another camera in its place, perhaps the real one."""
    sink, reenactor = FakeSink(live=True), FakeReenactor()
    monkeypatch.setattr(reenactor, "reset", Mock(side_effect=RuntimeError("a tracker's own")))
    source = FakeSource(None, live=True, away=range(10, 25), time=time)
    session = make_session(source, reenactor, sink, time)
    with session:
        session.start()
        for show, colour in ((Show.LIVE, GREEN), (Show.REST, BLUE), (Show.LIVE, GREEN)):
            session.presenter.show = show
            shown = [colour] * 20
            until(lambda shown=shown: session.ended(0.0) or sink.colours[-20:] == shown)  # type: ignore[misc]
        assert not session.ended(0.0)
    assert session.error is None
    assert "a tracker's own" in caplog.text


def test_a_short_file_is_an_error_if_no_frame_of_it_was_rendered(time: SimulatedTime) -> None:
    with pytest.raises(RuntimeError, match="fake renderer"):
        run(FakeSource(5), FakeReenactor(fails="all"), FakeSink(), time)


@pytest.mark.parametrize("live", [False, True])
def test_a_broken_sink_ends_the_session_with_its_error(live: bool, time: SimulatedTime) -> None:
    sink = FakeSink(live=live, fails_at=4)
    with pytest.raises(SinkError, match="broken"):
        run(FakeSource(None, live=live, time=time), FakeReenactor(), sink, time)
    assert len(sink.frames) == 4


@pytest.mark.parametrize("live", [False, True])
def test_the_frame_that_could_not_be_written_is_counted(live: bool, time: SimulatedTime) -> None:
    sink = FakeSink(live=live, fails_at=4)
    session = make_session(FakeSource(None, live=live, time=time), FakeReenactor(), sink, time)
    with session, suppress(SinkError):
        session.start()  # raises it if it comes so early
        session.wait(20.0)
    stats = session.stats()
    assert stats.drops["output failed"] == 1
    assert all_frames_are_counted(stats)


def test_a_sink_that_cannot_be_opened_is_an_error_before_anything_is_read(
    time: SimulatedTime,
) -> None:
    source = FakeSource(None)
    session = make_session(source, FakeReenactor(), FakeSink(open_fails=True), time)
    with session, pytest.raises(SinkError, match="cannot be opened"):
        session.start()
    assert source.reads == 0


def test_an_error_of_the_program_itself_is_raised(time: SimulatedTime) -> None:
    def break_down(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(FakeSource(None, step=break_down), FakeReenactor(), FakeSink(), time)


def test_a_live_output_stays_open_though_a_bug_ends_the_source(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(number: int) -> None:
        if number >= first:
            raise ZeroDivisionError("a plugin's")

    first, sink = 5, FakeSink(live=True)
    source = FakeSource(None, live=True, step=break_down, time=time)
    with make_session(source, FakeReenactor(), sink, time) as session:
        session.start()
        until(lambda: session.ended(0.0) or sink.colours[-20:] == [BLUE] * 20)
        assert not session.ended(0.0)
        assert session.source_problem == 'fake actor: ZeroDivisionError("a plugin\'s")'
    assert GREEN in sink.colours
    assert [record.exc_info is None for record in caplog.records] == [False]
    first = 0
    with pytest.raises(ZeroDivisionError):
        run(FakeSource(None, live=True, step=break_down, time=time), FakeReenactor(), sink, time)


def test_one_failing_output_does_not_stop_the_others(time: SimulatedTime) -> None:
    first, second, third = FakeSink("a"), FakeSink("b", fails_at=3), FakeSink("c", open_fails=True)
    outputs = SinkSet([first, second, third])
    source, reenactor = FakeSource(12), FakeReenactor()
    with Session(Settings(), source, reenactor, outputs, clock=time.clock) as session:
        session.start()
        assert session.wait(20.0)
    assert [len(sink.frames) for sink in (first, second, third)] == [12, 3, 0]
    assert set(outputs.errors) == {"b", "c"}
    assert all(sink.closed for sink in (first, second, third))


def test_the_session_ends_when_all_outputs_have_failed(time: SimulatedTime) -> None:
    first, second = FakeSink("a", live=True, fails_at=5), FakeSink("b", fails_at=2)
    outputs = SinkSet([first, second])
    source = FakeSource(None, live=True, time=time)
    session = Session(Settings(), source, FakeReenactor(), outputs, clock=time.clock)
    with session, pytest.raises(SinkError, match=r"a is broken.* b is broken|b is broken.* a is"):
        session.run()
    assert [len(sink.frames) for sink in (first, second)] == [5, 2]


def test_a_source_that_delivers_no_picture_is_an_error(time: SimulatedTime) -> None:
    class Empty(FakeSource):
        def read(self) -> Frame | None:
            frame = super().read()
            return frame and replace(frame, image=frame.image[:, :0])

    with pytest.raises(SourceError, match="fake actor delivers no picture"):
        run(Empty(), FakeReenactor(), FakeSink(), time)


def test_the_other_parts_are_closed_if_one_cannot_be(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(FakeSource):
        def close(self) -> None:
            super().close()
            raise ValueError("stuck")

    sink, reenactor = FakeSink(), FakeReenactor()
    with pytest.raises(KeyError), make_session(Stuck(), reenactor, sink, time):
        raise KeyError("the caller's own")
    assert (sink.closed, reenactor.closed) == (1, 1)
    assert caplog.messages == ["Stuck could not be closed."]


def test_a_session_starts_once(time: SimulatedTime) -> None:
    session = make_session(FakeSource(3), FakeReenactor(), FakeSink(), time)
    with session:
        session.start()
        with pytest.raises(RuntimeError, match="runs once"):
            session.start()
        session.wait(20.0)
    with pytest.raises(RuntimeError, match="runs once"):
        session.start()
