"""The session: what it counts, what it does when a part fails, and that the actor never leaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import ConfigError, SinkError, SourceError
from reenact.expression.neutral_store import neutral_path
from reenact.face.geometry import canonical_face, crop_transform, to_image, transform_points
from reenact.live.fallback import MAX_FAILURES_IN_A_ROW
from reenact.live.pipeline import Reenactor
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.sinks.fanout import SinkSet
from reenact.stats import Recorder, Stats, StepTimer
from reenact.targets.library import open_target
from reenact.types import Landmarks, Pose, Target
from support.clips import write_clip, write_talk
from support.fakes import (
    BLUE,
    GREEN,
    FakeReenactor,
    FakeRenderer,
    FakeSink,
    FakeSource,
    FakeTracker,
    plain,
    shows_actor,
    until,
)
from support.portraits import astronaut, write_jpeg


def make_settings(fps: float = 50.0) -> Settings:
    settings = Settings()
    settings.output.fps = fps
    return settings


def make_session(source: FakeSource, reenactor: FakeReenactor, sink: FakeSink) -> Session:
    return Session(make_settings(), source, reenactor, sink)


def run(
    source: FakeSource,
    reenactor: FakeReenactor,
    sink: FakeSink,
    done: Callable[[Session], bool] = lambda session: False,
) -> Stats:
    """Run until the source ends, or until `done`; nothing that was written may show the actor."""
    session = make_session(source, reenactor, sink)
    try:
        with session:
            session.start()
            until(lambda: session.wait(0.0) or done(session))
    finally:
        assert source.closed
        assert sink.closed
        assert reenactor.closed == 1
        assert not any(shows_actor(frame.image) for frame in sink.frames)
    return session.stats()


# A file: every frame, at its own time


def test_every_frame_of_a_file_is_rendered_and_keeps_its_time() -> None:
    sink = FakeSink()
    reenactor = FakeReenactor(step=lambda number: time.sleep(0.002 * (number % 3)))
    stats = run(FakeSource(40, fps=25.0), reenactor, sink)
    assert (stats.frames_in, stats.frames_out, stats.repeats, stats.drops) == (40, 40, 0, {})
    assert [frame.index for frame in sink.frames] == list(range(40))
    assert [frame.time_s for frame in sink.frames] == [number / 25.0 for number in range(40)]
    assert set(sink.colours) == {GREEN}
    assert sink.opened == ((64, 48), 25.0)


def test_a_file_before_a_live_sink_is_paced_by_its_own_times() -> None:
    sink = FakeSink(live=True)
    stats = run(FakeSource(15, fps=50.0), FakeReenactor(), sink)
    assert stats.frames_out == 15
    assert stats.fps < 60.0  # without pacing, thousands


def test_a_file_before_a_slow_live_sink_still_shows_every_frame() -> None:
    sink = FakeSink(live=True, on_write=lambda number: time.sleep(0.3 if number == 2 else 0.0))
    stats = run(FakeSource(10, fps=100.0), FakeReenactor(), sink)
    assert [frame.index for frame in sink.frames] == list(range(10))
    assert stats.drops == {}


def test_latency_and_steps_are_measured() -> None:
    stats = run(FakeSource(5), FakeReenactor(step=lambda _: time.sleep(0.02)), FakeSink())
    assert stats.latency_ms is not None
    assert stats.latency_ms.p50 >= 20.0
    assert {"read", "write"} <= set(stats.steps_ms)


# A live source: the newest frame, at the output's rate


def test_a_live_source_drops_old_frames_and_counts_them() -> None:
    sink = FakeSink(live=True)
    source = FakeSource(60, live=True, fps=200.0)
    stats = run(source, FakeReenactor(step=lambda _: time.sleep(0.02)), sink)
    assert stats.frames_in == 60
    assert stats.drops.get("renderer busy", 0) > 0
    assert stats.frames_in == stats.frames_out - stats.repeats + sum(stats.drops.values())


def test_an_output_slower_than_the_renderer_drops_and_counts() -> None:
    sink = FakeSink(live=True)
    stats = run(FakeSource(60, live=True, fps=400.0), FakeReenactor(), sink)
    assert stats.drops.get("output busy", 0) > 0
    assert stats.frames_in == stats.frames_out - stats.repeats + sum(stats.drops.values())


def test_a_live_source_slower_than_the_output_is_shown_again() -> None:
    sink = FakeSink(live=True)
    stats = run(FakeSource(6, live=True, fps=12.5), FakeReenactor(), sink)
    assert stats.repeats >= 6
    assert stats.fps < 60.0  # without pacing, thousands


def test_a_live_recording_has_the_times_of_the_clock() -> None:
    sink = FakeSink()
    run(FakeSource(10, live=True, fps=25.0), FakeReenactor(), sink)
    times = [frame.time_s for frame in sink.frames]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert [frame.index for frame in sink.frames] == list(range(len(times)))


def test_the_target_at_rest_is_shown_before_the_first_frame() -> None:
    held = threading.Event()
    sink = FakeSink(live=True)

    def hold_back(number: int) -> None:
        held.wait()

    source = FakeSource(None, live=True, step=hold_back)
    session = make_session(source, FakeReenactor(), sink)
    with session:
        session.start()
        until(lambda: len(sink.frames) >= 3)
        assert set(sink.colours) == {BLUE}
        held.set()
        until(lambda: GREEN in sink.colours)


def test_a_camera_that_goes_away_is_covered_by_the_target_at_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.live.session.AWAY_S", 0.15)
    sink = FakeSink(live=True)
    reenactor = FakeReenactor()
    source = FakeSource(20, live=True, fps=50.0, away=range(10, 15))
    stats = run(source, reenactor, sink)
    shown = sink.colours
    gone = shown.index(GREEN) + shown[shown.index(GREEN) :].index(BLUE)
    assert GREEN in shown[gone:]  # it came back
    assert stats.frames_in == 20
    assert reenactor.resets == 1


def test_a_camera_that_hangs_is_covered_too_and_does_not_block_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reenact.live.session.AWAY_S", 0.15)
    sink = FakeSink(live=True)
    source = FakeSource(None, live=True, hangs_at=5)
    run(source, FakeReenactor(), sink, lambda _: sink.colours[-1:] == [BLUE] and source.sent == 5)
    assert GREEN in sink.colours
    assert source.closed == 1


# Faults


def test_a_file_that_breaks_off_is_written_so_far_and_its_error_comes_out() -> None:
    sink = FakeSink()
    with pytest.raises(SourceError, match="unplugged"):
        run(FakeSource(30, away=[12]), FakeReenactor(), sink)
    assert [frame.index for frame in sink.frames] == list(range(12))


def test_a_frame_that_cannot_be_rendered_becomes_the_target_at_rest() -> None:
    sink = FakeSink()
    stats = run(FakeSource(6), FakeReenactor(fails=[0, 3]), sink)
    assert sink.colours == [BLUE, GREEN, GREEN, BLUE, GREEN, GREEN]
    assert [frame.time_s for frame in sink.frames] == [number / 50.0 for number in range(6)]
    assert (stats.frames_out, stats.failures) == (6, 2)


def test_without_even_the_target_at_rest_a_plain_card_is_shown() -> None:
    sink = FakeSink()
    run(FakeSource(4), FakeReenactor(fails=[1], idle_fails=True), sink)
    card = sink.frames[1].image
    assert card.shape == (48, 64, 3)
    assert card.min() == card.max()


@pytest.mark.parametrize("live", [False, True])
def test_a_renderer_that_always_fails_ends_the_session(live: bool) -> None:
    sink = FakeSink(live=live)
    reenactor = FakeReenactor(fails="all")
    with pytest.raises(RuntimeError, match="fake renderer"):
        run(FakeSource(None, live=live, fps=200.0), reenactor, sink)
    assert reenactor.steps == MAX_FAILURES_IN_A_ROW
    assert set(sink.colours) == {BLUE}


def test_a_short_file_of_which_nothing_was_rendered_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="fake renderer"):
        run(FakeSource(5), FakeReenactor(fails="all"), FakeSink())


@pytest.mark.parametrize("live", [False, True])
def test_a_broken_sink_ends_the_session_with_its_error(live: bool) -> None:
    sink = FakeSink(live=live, fails_at=4)
    with pytest.raises(SinkError, match="broken"):
        run(FakeSource(None, live=live), FakeReenactor(), sink)
    assert len(sink.frames) == 4


def test_a_sink_that_cannot_be_opened_is_told_before_anything_is_read() -> None:
    source = FakeSource(None)
    with pytest.raises(SinkError, match="cannot be opened"):
        run(source, FakeReenactor(), FakeSink(open_fails=True))
    assert source.reads == 0


def test_an_error_of_the_program_itself_comes_out() -> None:
    def break_down(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(FakeSource(None, step=break_down), FakeReenactor(), FakeSink())


def test_closing_the_window_ends_the_session() -> None:
    sink = FakeSink(live=True)

    def close_window(number: int) -> None:
        sink.closed_by_user = number >= 5

    sink.on_write = close_window
    stats = run(FakeSource(None, live=True), FakeReenactor(), sink)
    assert stats.frames_out == 6


def test_stopping_counts_the_frames_on_their_way() -> None:
    """While the sink is held at its 21st frame, three more wait: in two slots and between them."""
    reached, held = threading.Event(), threading.Event()
    sink = FakeSink()

    def hold(number: int) -> None:
        if number == 20:
            reached.set()
            held.wait(10.0)

    sink.on_write = hold
    session = make_session(FakeSource(24), FakeReenactor(), sink)
    with session:
        session.start()
        until(lambda: reached.is_set() and session.stats().frames_in == 24)
        session.stop()
        held.set()
        until(lambda: session.wait(0.0))
    stats = session.stats()
    assert 0 < stats.drops["stopped"] <= 3
    assert stats.frames_in == stats.frames_out + stats.drops["stopped"]


# Controls


def test_a_live_setting_changes_and_others_do_not() -> None:
    session = make_session(FakeSource(None), FakeReenactor(), FakeSink())
    with session:
        session.update("fusion", "intensity", 1.5)
        assert session.settings.fusion.intensity == 1.5
        with pytest.raises(ConfigError, match="less than or equal to 2"):
            session.update("fusion", "intensity", 9.0)
        with pytest.raises(ConfigError, match="cannot be changed while running"):
            session.update("renderer", "size", 512)
        with pytest.raises(ConfigError, match=r"no setting fusion\.intensty"):
            session.update("fusion", "intensty", 1.0)
        assert session.settings.fusion.intensity == 1.5


def test_neutral_is_set_once_by_the_work_thread() -> None:
    reenactor = FakeReenactor()
    session = make_session(FakeSource(None, live=True), reenactor, FakeSink(live=True))
    with session:
        session.start()
        session.set_neutral()
        until(lambda: reenactor.neutrals > 0)
        steps = reenactor.steps
        until(lambda: reenactor.steps > steps + 3)
    assert reenactor.neutrals == 1


def test_the_leak_detector_detects() -> None:
    frame = FakeSource(1).read()
    assert frame is not None
    assert shows_actor(frame.image)
    assert not shows_actor(plain(GREEN))
    assert not shows_actor(plain(BLUE))


# Several outputs, by the program's own set of sinks


def test_one_failing_output_does_not_stop_the_others() -> None:
    first, second, third = FakeSink("a"), FakeSink("b", fails_at=3), FakeSink("c", open_fails=True)
    outputs = SinkSet([first, second, third])
    source, reenactor = FakeSource(12), FakeReenactor()
    with Session(make_settings(), source, reenactor, outputs) as session:
        session.start()
        assert session.wait(20.0)
    assert [len(sink.frames) for sink in (first, second, third)] == [12, 3, 0]
    assert set(outputs.errors) == {"b", "c"}
    assert all(sink.closed for sink in (first, second, third))


def test_the_session_ends_when_all_outputs_have_failed() -> None:
    first, second = FakeSink("a", live=True, fails_at=5), FakeSink("b", fails_at=2)
    outputs = SinkSet([first, second])
    source = FakeSource(None, live=True)
    session = Session(make_settings(), source, FakeReenactor(), outputs)
    with session, pytest.raises(SinkError, match=r"a is broken.* b is broken|b is broken.* a is"):
        session.run()
    assert [len(sink.frames) for sink in (first, second)] == [5, 2]


# The program's own reenactor, whose tracker and renderer misbehave: still nothing of the actor


@pytest.fixture
def green_target() -> Target:
    """A green target: whatever is not green in the output came from somewhere else."""
    points = to_image(
        canonical_face(), Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 40.0)
    )
    points = transform_points(points, crop_transform(points, 128))
    return Target(
        name="green",
        references=plain(GREEN, (128, 128))[None],
        landmarks=points[None],
        neutral=points,
        plate=plain(GREEN, (160, 144)),
        crop_to_plate=np.array([[1, 0, 16], [0, 1, 8]], np.float32),
    )


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("picture", ["plate", "crop"])
def test_no_picture_of_the_actor_leaves_whatever_fails(
    green_target: Target, live: bool, picture: Literal["plate", "crop"]
) -> None:
    settings = make_settings()
    settings.output.picture = picture
    settings.actor.neutral = "fresh"
    settings.fusion.method = "direct"  # needs no weights
    found = Landmarks(green_target.neutral, 1.0, (64, 48))
    recorder = Recorder()
    # Render 0 is the target at rest; then faces come and go, and every seventh render fails.
    reenactor = Reenactor(
        settings,
        green_target,
        FakeTracker(found, absent=[0, 1, 10, 11, 12, 25]),
        FakeRenderer(fails=range(6, 60, 7)),
        recorder.timer,
    )
    sink = FakeSink(live=live)
    source = FakeSource(40, live=live, fps=100.0, away=[15, 16])
    session = Session(settings, source, reenactor, sink, recorder=recorder)
    with session, nullcontext() if live else pytest.raises(SourceError):
        session.run()
    assert len(sink.frames) >= 15
    assert session.stats().failures > 0
    for frame in sink.frames:
        assert not shows_actor(frame.image)
        assert np.abs(frame.image.astype(int) - np.array(GREEN)).max() <= 8


def test_an_actor_at_rest_and_away_gives_the_same_size(green_target: Target) -> None:
    settings = make_settings()
    settings.actor.neutral = "fresh"
    settings.fusion.method = "direct"  # needs no weights
    found = Landmarks(green_target.neutral, 1.0, (64, 48))
    tracker = FakeTracker(found, absent=range(5, 10))
    reenactor = Reenactor(settings, green_target, tracker, FakeRenderer(), StepTimer())
    sink = FakeSink()
    session = Session(settings, FakeSource(12), reenactor, sink)
    with session:
        session.run()
    assert {frame.size for frame in sink.frames} == {session.stats().size}
    assert session.stats().faces_lost == 1


# Opened by its parts' names


def open_session(source: str, *assignments: str, sink: str = "null") -> Session:
    settings = load_settings(None, ["renderer.name=warp", "fusion.method=direct", *assignments])
    return Session.open(settings, source, open_target("astronaut"), [sink, "null"])


def test_a_sessions_settings_are_its_own() -> None:
    settings = make_settings()
    settings.fusion.method = "direct"
    for renderer in ("copy", "warp"):
        target = replace(open_target("astronaut"), renderer=renderer)
        with Session.open(settings, "pattern", target, ["null"]) as session:
            assert session.stats().renderer == renderer
            session.update("fusion", "intensity", 0.5)
            assert session.settings.fusion.intensity == 0.5
    assert (settings.renderer.name, settings.fusion.intensity) == ("auto", 1.0)


@pytest.mark.parametrize(
    ("background", "sinks", "told"),
    [
        ("transparent", ["file:a.mp4", "obs", "http"], "no effect on file:a.mp4 and http;"),
        ("transparent", ["obs", "null"], None),
        ("keep", ["http"], None),
    ],
)
def test_outputs_that_keep_the_background_are_told_once(
    background: str, sinks: list[str], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assignments = ["renderer.name=warp", "fusion.method=direct", f"output.background={background}"]
    settings = load_settings(None, assignments)
    Session.open(settings, "pattern", open_target("astronaut"), sinks).close()
    warnings = [text for text in caplog.messages if "background" in text]
    assert len(warnings) == (told is not None)
    assert all(str(told) in text and "--sink obs" in text for text in warnings)


def test_the_sound_of_a_video_goes_into_a_file(tmp_path: Path) -> None:
    talk, out = write_talk(tmp_path / "talk.mp4", beep_s=0.2), tmp_path / "out.mp4"
    with open_session(f"video:{talk}", sink=f"file:{out}") as session:
        session.run()
    with av.open(str(out)) as container:
        heard_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert heard_s == pytest.approx(2.0, abs=0.05)


def test_the_device_is_the_renderers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some renderers need no GPU where there is one."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with open_session("pattern") as session:
        assert session.stats().device == "cpu"


def test_whoever_acts_in_a_file_leaves_the_users_neutral_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))
    portrait = astronaut()
    photo = f"image:{write_jpeg(tmp_path / 'photo.jpg', portrait)}"
    clip = f"video:{write_clip(tmp_path / 'clip.mp4', 25, fps=25, picture=lambda _: portrait)}"
    for source in (photo, clip):
        with open_session(source) as session:
            assert session.source.live == (source == photo)
            session.start()
            until(lambda: session.wait(0.0) or session.stats().frames_in > 30)
            assert session.face_found
        assert not neutral_path("default").exists()
    with open_session(clip, "actor.name=eileen") as session:
        session.run()
    assert neutral_path("eileen").exists()
