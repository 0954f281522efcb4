"""The session: its pace, its counts and its controls.

Time is simulated: rates and delays are exact, and no test waits.
"""

from __future__ import annotations

import gc
import threading
from typing import Literal

import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import ConfigError
from reenact.live.controls import Controls
from reenact.live.session import AWAY_S, Session
from reenact.sinks.fanout import SinkSet
from reenact.sinks.watermark import watermarked
from reenact.types import Frame
from support.clips import corners, four_colours
from support.fakes import BLUE, GREEN, FakeReenactor, FakeSink, FakeSource, plain, until
from support.sessions import OUTPUT_FPS, all_frames_are_counted, make_session, run
from support.simulation import SimulatedTime

# A file: every frame, at its own time


def test_a_live_sink_shows_a_file_at_its_own_pace(time: SimulatedTime) -> None:
    stats = run(FakeSource(15, fps=40.0), FakeReenactor(), FakeSink(live=True), time)
    assert stats.frames_out == 15
    assert stats.fps == pytest.approx(40.0)
    assert stats.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_other_sinks_take_a_file_as_fast_as_it_is_rendered(time: SimulatedTime) -> None:
    before_s = time.now_s
    run(FakeSource(15, fps=1.0), FakeReenactor(), FakeSink(), time)
    assert time.now_s == before_s


@pytest.mark.parametrize(("pause_s", "seconds"), [(0.2, 0.22), (0.3, 0.39)])
def test_a_file_catches_up_after_a_short_delay_but_not_after_a_long_one(
    pause_s: float, seconds: float, time: SimulatedTime
) -> None:
    sink = FakeSink(live=True, on_write=lambda number: time.sleep(pause_s * (number == 2)))
    begin_s = time.now_s
    stats = run(FakeSource(11, fps=100.0), FakeReenactor(), sink, time)
    assert [frame.index for frame in sink.frames] == list(range(11))
    assert stats.drops == {}
    assert time.now_s - begin_s == pytest.approx(seconds)


def test_latency_and_steps_are_measured(time: SimulatedTime) -> None:
    stats = run(FakeSource(5), FakeReenactor(step=lambda _: time.sleep(0.02)), FakeSink(), time)
    # While a frame is rendered, the next is in the slot, and the one after waits for the slot.
    assert stats.latency_ms is not None
    assert stats.latency_ms.p50 == pytest.approx(60.0)
    assert {"read", "write"} <= set(stats.steps_ms)


def test_the_figures_include_those_of_the_reenactor(time: SimulatedTime) -> None:
    reenactor = FakeReenactor(size=(32, 24))
    reenactor.faces_lost, reenactor.frames_limited = 2, 3
    stats = run(FakeSource(3), reenactor, FakeSink(), time)
    assert (stats.faces_lost, stats.frames_limited) == (2, 3)
    assert (stats.device, stats.renderer, stats.size) == ("cpu", "auto", (32, 24))


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (90, ["blue", "red", "white", "green"]),
        (180, ["white", "blue", "green", "red"]),
        (270, ["green", "white", "red", "blue"]),
    ],
)
def test_the_actors_pictures_are_turned_as_set(
    degrees: Literal[90, 180, 270],
    expected: list[str],
    time: SimulatedTime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, reenactor, seen = FakeSource(2), FakeReenactor(), list[Frame]()
    frames = iter([Frame(four_colours(), 0.0, 0), Frame(four_colours(), 0.1, 1), None])
    monkeypatch.setattr(source, "read", lambda: next(frames))
    monkeypatch.setattr(reenactor, "look", seen.append)
    session = make_session(source, reenactor, FakeSink(), time)
    session.settings.source.rotate = degrees
    with session:
        session.start()
        until(lambda: session.wait(0.0))
    assert [corners(frame.image) for frame in seen] == [expected, expected]


# A live source: the newest frame, at the output's rate


def test_a_live_run_does_not_look_through_what_was_there_before(time: SimulatedTime) -> None:
    gc.unfreeze()
    run(FakeSource(3, live=True, fps=20.0, time=time), FakeReenactor(), FakeSink(live=True), time)
    assert gc.get_freeze_count() > 10_000  # whose collection would be a pause


def test_a_slow_renderer_drops_the_older_frames_of_a_live_source(
    time: SimulatedTime,
) -> None:
    source = FakeSource(80, live=True, fps=200.0, time=time)
    reenactor = FakeReenactor(step=lambda _: time.sleep(0.02))
    stats = run(source, reenactor, FakeSink(live=True), time)
    assert stats.frames_in == 80
    assert stats.drops["renderer busy"] == pytest.approx(60, abs=2)  # three of four frames
    assert reenactor.looks <= 44  # most of these were not even tracked
    assert all_frames_are_counted(stats)
    assert stats.latency_ms is not None
    assert stats.latency_ms.p99 <= 20 + 5 + 20 + 0.001  # a step, a frame's age, an interval


def test_a_size_that_is_too_much_is_lowered_with_one_message(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    source = FakeSource(600, live=True, fps=30.0, time=time)
    reenactor = FakeReenactor(step=lambda _: time.sleep(0.05), crop_px=1024)
    session = make_session(source, reenactor, FakeSink(live=True), time)
    with session:
        session.start()
        until(lambda: session.wait(0.0))
    assert reenactor.drawn_at[0] == 1024
    assert reenactor.drawn_at[-1] == 256
    assert [record.getMessage() for record in caplog.records] == [
        "The machine cannot keep up: the target is drawn at 720 px until it can."
    ]


def test_a_size_is_not_lowered_further_while_it_is_being_prepared(time: SimulatedTime) -> None:
    class PreparedLater(FakeReenactor):
        ready = 0.0

        def draw_at(self, size_px: int) -> bool:
            super().draw_at(size_px)
            if size_px < 1024:
                self.ready = self.ready or time.now_s + 10
            return size_px == 1024 or time.now_s > self.ready

    source = FakeSource(600, live=True, fps=30.0, time=time)
    reenactor = PreparedLater(
        step=lambda _: time.sleep(0.02 if 0 < reenactor.ready < time.now_s else 0.05),
        crop_px=1024,
    )
    run(source, reenactor, FakeSink(live=True), time)
    assert set(reenactor.drawn_at) == {1024, 720}


def test_the_size_stays_if_the_user_does_not_want_it_adapted(time: SimulatedTime) -> None:
    source = FakeSource(400, live=True, fps=30.0, time=time)
    reenactor = FakeReenactor(step=lambda _: time.sleep(0.05), crop_px=1024)
    settings = Settings.model_validate({"renderer": {"adaptive": False}})
    output = SinkSet([FakeSink(live=True)])
    with Session(settings, source, reenactor, output, clock=time.clock) as session:
        session.start()
        until(lambda: session.wait(0.0))
    assert set(reenactor.drawn_at) <= {1024}


def test_the_next_target_is_drawn_at_its_own_size(time: SimulatedTime) -> None:
    def switch(number: int) -> None:
        reenactor.crop_px = 256 if number < 20 else 512

    reenactor = FakeReenactor(step=switch)
    run(FakeSource(40, live=True, time=time), reenactor, FakeSink(live=True), time)
    assert (reenactor.drawn_at[0], reenactor.drawn_at[-1]) == (256, 512)


def test_a_slow_output_drops_pictures(time: SimulatedTime) -> None:
    source = FakeSource(80, live=True, fps=4 * OUTPUT_FPS, time=time)
    stats = run(source, FakeReenactor(), FakeSink(live=True), time)
    assert stats.drops["output busy"] == pytest.approx(60, abs=2)
    assert all_frames_are_counted(stats)
    assert stats.fps == pytest.approx(OUTPUT_FPS, rel=0.02)


@pytest.mark.parametrize("fps", [OUTPUT_FPS / 4, OUTPUT_FPS, 4 * OUTPUT_FPS])
def test_an_output_that_stalls_is_not_sent_what_it_missed(fps: float, time: SimulatedTime) -> None:
    stall = 10.5
    sink = FakeSink(on_write=lambda number: time.sleep(stall / OUTPUT_FPS * (number == 8)))
    source = FakeSource(round(0.8 * fps), live=True, fps=fps, time=time)
    run(source, FakeReenactor(), sink, time)
    gaps = np.diff([frame.time_s for frame in sink.frames]) * OUTPUT_FPS
    assert stall <= gaps[8] <= stall + 1
    after = gaps[9:]
    assert after.size
    assert after.min() > 0.2
    assert after.max() < 2


def test_a_slow_live_source_is_shown_again(time: SimulatedTime) -> None:
    source = FakeSource(12, live=True, fps=OUTPUT_FPS / 4, time=time)
    stats = run(source, FakeReenactor(), FakeSink(live=True), time)
    assert stats.fps == pytest.approx(OUTPUT_FPS, rel=0.02)
    assert stats.frames_out - stats.repeats == 12
    assert stats.repeats == pytest.approx(36, abs=2)
    assert stats.drops == {}


@pytest.mark.parametrize("live", [False, True])
def test_every_picture_is_marked_once_also_when_it_is_shown_again(
    live: bool, time: SimulatedTime
) -> None:
    sink = FakeSink(live=live)
    stats = run(
        FakeSource(6, live=live, fps=OUTPUT_FPS / 4, time=time), FakeReenactor(), sink, time
    )
    assert bool(stats.repeats) == live
    marked = [watermarked(plain(colour)) for colour in (GREEN, BLUE)]
    assert all(any(np.array_equal(frame.image, one) for one in marked) for frame in sink.frames)


@pytest.mark.parametrize("fps", [8.0, 30.0, 50.0, 70.0])
def test_a_live_recording_has_one_picture_in_every_interval(
    fps: float, time: SimulatedTime
) -> None:
    sink = FakeSink()
    begin_s = time.now_s
    run(FakeSource(40, live=True, fps=fps, time=time), FakeReenactor(), sink, time)
    times = np.array([frame.time_s for frame in sink.frames])
    intervals = (times - begin_s) * OUTPUT_FPS - np.arange(len(times))
    assert intervals.min() > -1e-6
    assert intervals.max() < 1 + 1e-6
    assert len(times) == pytest.approx(40 / fps * OUTPUT_FPS, abs=2)
    assert [frame.index for frame in sink.frames] == list(range(len(times)))


def test_the_target_at_rest_is_shown_before_the_first_frame(time: SimulatedTime) -> None:
    sink = FakeSink(live=True)
    source = FakeSource(
        3, live=True, fps=OUTPUT_FPS, step=lambda n: time.sleep(0.5 * (n == 0)), time=time
    )
    run(source, FakeReenactor(), sink, time)
    at_rest = sink.colours.index(GREEN)
    assert at_rest == pytest.approx(0.52 * OUTPUT_FPS, abs=1)
    assert set(sink.colours[:at_rest]) == {BLUE}
    assert set(sink.colours[at_rest:]) == {GREEN}


def test_a_camera_that_goes_away_is_covered_by_the_target_at_rest(
    time: SimulatedTime, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink(live=True)
    reenactor = FakeReenactor()
    source = FakeSource(20, live=True, fps=OUTPUT_FPS, away=range(10, 30), time=time)
    stats = run(source, reenactor, sink, time)
    came = sink.colours.index(GREEN)
    gone = sink.colours.index(BLUE, came)
    back = sink.colours.index(GREEN, gone)
    # Ten frames take 0.2 s. Then each of the 20 failed reads takes 0.1 s.
    assert gone - came == pytest.approx((0.2 + AWAY_S) * OUTPUT_FPS, abs=3)
    assert back - came == pytest.approx((0.2 + 2.0) * OUTPUT_FPS, abs=3)
    assert set(sink.colours[back:]) == {GREEN}
    assert stats.frames_in == 20
    assert reenactor.resets == 1
    assert caplog.messages == ["The fake camera is unplugged.", "fake actor is back."]


def test_a_camera_that_hangs_is_covered_too_and_does_not_block_the_end(
    time: SimulatedTime,
) -> None:
    sink = FakeSink(live=True)
    source = FakeSource(None, live=True, hangs_at=5, time=time)
    run(
        source,
        FakeReenactor(),
        sink,
        time,
        lambda: BLUE in sink.colours[-1:] and len(source.times_s) == 5,
    )
    assert GREEN in sink.colours
    assert source.closed == 1


# Controls


def test_closing_the_window_ends_the_session(time: SimulatedTime) -> None:
    sink = FakeSink(live=True)

    def close_window(number: int) -> None:
        sink.closed_by_user = number >= 5

    sink.on_write = close_window
    stats = run(FakeSource(None, live=True, time=time), FakeReenactor(), sink, time)
    assert stats.frames_out == 6


def test_stopping_counts_the_frames_under_way(time: SimulatedTime) -> None:
    """While the sink holds its 21st frame, three more wait: in two slots and between them."""
    reached, held = threading.Event(), threading.Event()
    sink = FakeSink()

    def hold(number: int) -> None:
        if number == 20:
            reached.set()
            held.wait(10.0)

    sink.on_write = hold
    session = make_session(FakeSource(24), FakeReenactor(), sink, time)
    with session:
        session.start()
        until(lambda: reached.is_set() and session.stats().frames_in == 24)
        session.stop()
        held.set()
        until(lambda: session.wait(0.0))
    stats = session.stats()
    assert 0 < stats.drops["stopped"] <= 3
    assert all_frames_are_counted(stats)


def test_a_live_setting_changes_and_others_do_not(time: SimulatedTime) -> None:
    with make_session(FakeSource(None), FakeReenactor(), FakeSink(), time) as session:
        session.update("drive", "intensity", 1.5)
        assert session.settings.drive.intensity == 1.5
        with pytest.raises(ConfigError, match="less than or equal to 2"):
            session.update("drive", "intensity", 9.0)
        with pytest.raises(ConfigError, match="cannot be changed while running"):
            session.update("renderer", "threads", 2)
        with pytest.raises(ConfigError, match=r"no setting drive\.intensty"):
            session.update("drive", "intensty", 1.0)
        assert session.settings.drive.intensity == 1.5


def test_neutral_is_set_once_by_the_work_thread(time: SimulatedTime) -> None:
    reenactor = FakeReenactor()
    source = FakeSource(None, live=True, time=time)
    with make_session(source, reenactor, FakeSink(live=True), time) as session:
        session.start()
        Controls(session).set_neutral()
        until(lambda: reenactor.neutrals > 0)
        steps = reenactor.steps
        until(lambda: reenactor.steps > steps + 3)
    assert reenactor.neutrals == 1
