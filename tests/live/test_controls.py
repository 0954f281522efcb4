"""Everything that can be done to a running session, done through its one door."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any
from unittest.mock import Mock

import av
import pytest

from reenact.config import Settings
from reenact.errors import ConfigError, ReenactError, SinkError
from reenact.live.actions import act
from reenact.live.controls import Controls
from reenact.live.presenter import Show
from reenact.live.presets import import_preset, preset_names, preset_path
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.sinks.fanout import SinkSet
from reenact.sinks.video_encoder import VideoEncoder
from reenact.storage import write_png
from reenact.targets.library import open_target
from reenact.targets.store import TargetStore
from reenact.testing.moving_portrait import moving_portrait, write_video
from reenact.testing.portrait import portrait, portrait_target
from reenact.types import Target
from support.fakes import GREEN, MAGENTA, FakeReenactor, FakeSink, FakeSource, until
from support.sessions import OUTPUT_FPS
from support.simulation import SimulatedTime


class Stage:
    """A live session of fakes whose outputs may change."""

    def __init__(self, time: SimulatedTime, fails: Collection[int] | str = ()) -> None:
        self.sink = FakeSink("first", live=True)
        self.reenactor = FakeReenactor(fails=fails)
        settings = Settings()
        settings.output.fps = OUTPUT_FPS
        source = FakeSource(None, live=True, fps=OUTPUT_FPS, time=time)
        output = SinkSet([self.sink])
        self.session = Session(settings, source, self.reenactor, output, clock=time.clock)
        self.controls = Controls(self.session, "anna", now_s=lambda: time.now_s)

    def frames(self, count: int) -> None:
        """Wait for so many more pictures."""
        goal = len(self.sink.frames) + count
        until(lambda: len(self.sink.frames) >= goal)

    def problems(self) -> dict[str, str]:
        problems = self.controls.snapshot()["problems"]
        assert all(one["do"] for one in problems)
        return {one["where"]: one["what"] for one in problems}


@pytest.fixture
def stage(time: SimulatedTime) -> Iterator[Stage]:
    opened = Stage(time)
    with opened.session:
        opened.session.start()
        yield opened


def test_the_state_of_a_healthy_session(stage: Stage) -> None:
    stage.controls.snapshot()
    stage.frames(200)
    state = stage.controls.snapshot()
    assert state["state"] == "running"
    assert (state["target"], state["source"], state["face"]) == ("anna", "fake actor", "found")
    assert state["fps"] == pytest.approx(OUTPUT_FPS, rel=0.1)
    assert state["delay_ms"] <= 1000 / OUTPUT_FPS
    assert state["outputs"] == [{"name": "first", "error": ""}]
    assert state["problems"] == []
    assert stage.controls.features() == []  # as the fake target is at rest


def test_what_is_wrong_is_told_with_what_to_do(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.reenactor.face_present = False
    stage.session.source_problem = ""
    assert "No face" in stage.problems()["face"]
    with monkeypatch.context() as patch:
        black = "The camera shows black: open its shutter."
        patch.setattr(stage.session.source, "problem", black, raising=False)
        assert stage.problems() == {"source": black}
    stage.reenactor.face_present, stage.reenactor.faces_seen = True, 2
    assert stage.problems() == {"faces": "There are 2 faces in the picture."}
    stage.session.source_problem = "The camera is unplugged."
    assert stage.problems() == {"source": "The camera is unplugged."}
    broken = FakeSink("second", open_fails=True)
    stage.session.output.add(broken)
    stage.frames(3)
    assert "second cannot be opened" in stage.problems()["outputs"]


def test_a_slow_output_is_told_once_the_session_is_warm(time: SimulatedTime) -> None:
    stage, begin_s = Stage(time), time.now_s
    told: list[tuple[float, dict[str, str]]] = []

    def write(number: int) -> None:
        time.sleep(0.05)
        if number % 20 == 0:
            told.append((time.now_s - begin_s, stage.problems()))

    stage.sink.on_write = write
    with stage.session:
        stage.session.start()
        until(lambda: told and told[-1][0] > 12)
    early = [problems for time_s, problems in told if time_s < 5]
    late = [problems for time_s, problems in told if time_s > 8]
    assert early == [{}] * 5
    assert late == [{"fps": "20 frames a second instead of 50."}] * len(late)


@pytest.mark.parametrize("live_sink", [False, True])
def test_a_file_is_slow_only_if_somebody_watches_it(live_sink: bool, time: SimulatedTime) -> None:
    sink = FakeSink("first", live=live_sink, on_write=lambda number: time.sleep(0.05))
    session = Session(
        Settings(), FakeSource(None, fps=40.0), FakeReenactor(), SinkSet([sink]), clock=time.clock
    )
    with session:
        controls = Controls(session, now_s=lambda: time.now_s)
        session.start()
        for end_s in (6, 12):
            until(lambda: time.now_s > 1000 + end_s)  # noqa: B023 - called at once
            state = controls.snapshot()
    assert state["wanted_fps"] == 40
    assert state["slow"] == live_sink


def test_a_fatal_error_is_told(time: SimulatedTime) -> None:
    stage = Stage(time, fails="all")
    with stage.session, pytest.raises(RuntimeError):
        stage.session.run()
    assert stage.controls.snapshot()["state"] == "ended"
    assert "the fake renderer fails" in stage.problems()["state"]


def test_neutrals_are_set_and_taken_back_by_the_work_thread(stage: Stage) -> None:
    stage.controls.set_neutral()
    until(lambda: stage.reenactor.neutrals == 1)
    stage.controls.undo_neutral()
    until(lambda: stage.reenactor.undone == 1)
    stage.reenactor.face_present = False
    with pytest.raises(ReenactError, match="No face is seen"):
        stage.controls.set_neutral()
    stage.session.presenter.show = Show.REST
    with pytest.raises(ReenactError, match="paused"):
        stage.controls.set_neutral()
    assert stage.reenactor.neutrals == 1


def test_the_actors_picture_is_kept_only_while_it_is_watched(stage: Stage) -> None:
    stage.frames(5)
    assert stage.controls.actor_picture() is None
    stage.controls.watch_actor(True)
    picture = until(lambda: stage.session.actor_frame).image
    assert tuple(picture[0, 0]) == MAGENTA
    assert stage.controls.actor_picture() is not None
    stage.controls.watch_actor(False)
    until(lambda: stage.controls.actor_picture() is None)


def test_an_output_comes_and_goes_while_the_others_go_on(stage: Stage, tmp_path: Path) -> None:
    stage.frames(5)
    path = stage.controls.start_recording(tmp_path / "talk.mp4")
    with pytest.raises(SinkError, match="is being recorded"):
        stage.controls.start_recording()
    assert stage.controls.snapshot()["recording"] == str(path)
    stage.frames(30)
    stage.controls.stop_recording()
    stage.frames(10)
    until(path.is_file)
    with av.open(str(path)) as file:
        recorded = sum(1 for _ in file.decode(video=0))
    assert 25 <= recorded < len(stage.sink.frames)
    for overwrite in (
        lambda: stage.controls.start_recording(path),
        lambda: stage.controls.add_output(f"file:{path}"),
    ):
        with pytest.raises(SinkError, match="already exists"):
            overwrite()
    assert stage.controls.outputs() == [{"name": "first", "error": ""}]
    assert set(stage.sink.colours[2:]) == {GREEN}
    with pytest.raises(SinkError, match="no output file"):
        stage.controls.remove_output("file:other.mp4")
    with pytest.raises(ReenactError, match="no sink called"):
        stage.controls.add_output("nothing")


def test_an_output_that_was_refused_is_told_until_it_works_or_is_removed(
    stage: Stage, tmp_path: Path
) -> None:
    paths = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    one, two = (f"file:{path}" for path in paths)
    for path in paths:
        path.write_bytes(b"in the way")
        stage.controls.try_output(f"file:{path}")
    told = {output["name"]: output["error"] for output in stage.controls.outputs()}
    assert told["first"] == ""
    assert "already exists" in told[one]
    assert "already exists" in told[two]
    paths[0].unlink()
    stage.controls.add_output(one)
    stage.controls.remove_output(two)
    assert stage.controls.outputs() == [{"name": name, "error": ""} for name in ("first", one)]


def test_an_output_that_is_added_later_replaces_no_input(stage: Stage, tmp_path: Path) -> None:
    actor, other = tmp_path / "actor.mp4", tmp_path / "other.mp4"
    actor.write_bytes(b"the actor")
    stage.session.settings.output.overwrite = True
    controls = Controls(stage.session, inputs={"source": actor, "track": None})
    other.write_bytes(b"what output.overwrite lets it replace")
    with pytest.raises(SinkError, match="is the source itself"):
        controls.add_output(f"file:{actor}")
    controls.add_output(f"file:{other}")
    with pytest.raises(SinkError, match="Two outputs"):
        controls.add_output(f"landmarks:{other}")
    stage.frames(5)
    assert actor.read_bytes() == b"the actor"


def test_a_recording_that_no_picture_reached_is_none() -> None:
    microphone = Mock()
    session = Mock(source=Mock(live=True), output=SinkSet([FakeSink("first")]))
    session.settings = Settings()
    controls = Controls(session)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reenact.sinks.live_sound.SoundCard", Mock(return_value=microphone))
        path = controls.start_recording(Path("never.mp4"), microphone="")
    with pytest.raises(SinkError, match="Nothing was recorded"):
        controls.stop_recording()
    assert not path.exists()
    assert controls.recording is None


def test_recordings_of_the_same_second_are_all_kept(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: tmp_path / "Videos")
    clock = Mock(now=Mock(return_value=datetime(2026, 1, 2, 3, 4, 5)))
    monkeypatch.setattr("reenact.live.controls.datetime.datetime", clock)
    paths = []
    for _ in range(3):
        paths.append(stage.controls.start_recording())
        stage.frames(5)
        stage.controls.stop_recording()
    stage.frames(5)
    until(lambda: all(path.is_file() for path in paths))
    assert len(set(paths)) == 3


def test_a_recording_that_fails_is_none_and_says_so(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = stage.controls
    controls.start_recording(tmp_path / "one.mp4")
    stage.frames(10)
    with monkeypatch.context() as patch:
        patch.setattr(VideoEncoder, "add", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        stage.frames(3)
    assert controls.snapshot()["recording"] == ""
    assert "the disk is full" in stage.problems()["outputs"]
    with pytest.raises(SinkError, match="the disk is full"):
        controls.stop_recording()
    assert stage.problems() == {}
    with pytest.raises(SinkError, match="Nothing is being recorded"):
        controls.stop_recording()
    path = controls.start_recording(tmp_path / "two.mp4")
    stage.frames(10)
    assert controls.stop_recording() == path


def test_a_microphone_that_is_missing_leaves_no_recording(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="microphone"):
        stage.controls.start_recording(tmp_path / "talk.mp4", microphone="no such microphone")
    assert stage.controls.recording is None
    assert not list(tmp_path.iterdir())


def test_a_preset_brings_the_settings_back(stage: Stage) -> None:
    controls = stage.controls
    controls.update("fusion", "mouth", 1.3)
    controls.mirror()
    controls.save_preset("talk show")
    assert preset_names() == ["talk show"]
    kept = controls.settings()
    controls.update("fusion", "mouth", 0.2)
    controls.mirror()
    controls.load_preset("talk show")
    assert controls.settings() == kept
    assert kept["fusion.mirror"] is True


def test_a_preset_changes_only_what_it_gives_and_tells_what_needs_a_restart(stage: Stage) -> None:
    controls, waiting = stage.controls, dict[str, Any]()
    controls.on_wait = waiting.update
    controls.update_all({"drive.emotion": "happy", "drive.intensity": 1.7, "fusion.mouth": 0.3})
    before = controls.settings()
    import_preset("green", '[output]\nlabel = "AI"\n')
    assert controls.load_preset("green") == []
    assert controls.settings() == before | {"output.label": "AI"}
    import_preset("call", '[fusion]\nmouth = 1\n[output]\npicture = "crop"\noverwrite = false\n')
    assert controls.load_preset("call") == ["output.picture"]
    assert waiting == {"output.picture": "crop", "output.overwrite": False}
    assert controls.settings() == before | {"output.label": "AI", "fusion.mouth": 1.0}
    assert act(controls, "preset=call") == (
        "call is in use. output.picture cannot be changed while running; restart with it."
    )
    assert act(controls, "preset=green") == "green is in use."


def test_settings_of_a_part_that_is_not_in_use_wait(stage: Stage) -> None:
    import_preset("stream", "[sink.http]\nport = 8088\nquality = 85\n")
    assert stage.controls.load_preset("stream") == ["sink.http.port"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fusion]\nmirror = true\nmouth = 9.0", "less than or equal to 2"),
        ("[fusion]\nmirror = true\nmoth = 1.0", "did you mean"),
        ("nonsense", "not a readable TOML"),
    ],
)
def test_a_wrong_preset_changes_nothing(stage: Stage, text: str, message: str) -> None:
    path = preset_path("wrong")
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    before = stage.controls.settings()
    with pytest.raises(ConfigError, match=message):
        stage.controls.load_preset("wrong")
    assert stage.controls.settings() == before


def test_errors_of_presets_name_the_preset(stage: Stage) -> None:
    with pytest.raises(ConfigError, match=r"^There is no preset 'show'; there is none yet\.$"):
        stage.controls.load_preset("show")
    with pytest.raises(ConfigError, match=r"^The preset show is not a readable TOML file"):
        import_preset("show", "nonsense")
    with pytest.raises(ConfigError, match=r"^The preset show: unknown setting foo"):
        import_preset("show", "[foo]\nx = 1")
    assert preset_names() == []


def test_presets_stay_in_their_folder() -> None:
    with pytest.raises(ReenactError, match="cannot be a preset's name"):
        preset_path("../escape")


@pytest.fixture
def plain_session() -> Iterator[Session]:
    """A session of the test pattern and the astronaut; what was asked waits for `settle`."""
    options = ["renderer.name=warp", "fusion.method=direct", "actor.neutral=fresh"]
    settings, target = load_settings(None, options), open_target("astronaut")
    with Session.open(settings, "pattern", target, ["null"]) as session:
        yield session


def test_a_size_stays_when_the_next_setting_prepares_the_target_anew(
    plain_session: Session,
) -> None:
    controls = Controls(plain_session, "astronaut")
    controls.update("renderer", "size", 128)
    controls.update("output", "max_side", 300)
    plain_session.presenter.settle()
    assert plain_session.reenactor.target.crop_size == 128
    assert max(plain_session.reenactor.size) == 300


def test_targets_are_stepped_through_in_a_circle(plain_session: Session, tmp_path: Path) -> None:
    store, photo = TargetStore(tmp_path / "targets"), tmp_path / "photo.png"
    for name in ("anna", "ben"):
        store.create(replace(portrait_target(), name=name))
    write_png(photo, portrait())
    controls = Controls(plain_session, str(photo), store)
    circle = ["astronaut", "robin", "anna", "ben", str(photo), "astronaut"]
    for name in circle:
        assert act(controls, "target=next") == f"{name} is shown."
    for name in circle[-2::-1]:
        assert act(controls, "target=previous") == f"{name} is shown."
        assert controls.target == name
    act(controls, "target=anna")
    store.rename("anna", "zoe")
    controls.target = "zoe"  # as the panel does
    assert act(controls, "target=previous") == "ben is shown."
    next(store.folder_of("zoe").glob("*.json")).write_text("{}")
    with pytest.raises(ReenactError, match="zoe"):
        act(controls, "target=next")
    assert controls.target == "ben"
    assert act(controls, "target=next") == f"{photo} is shown."


def test_quick_steps_each_count(plain_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    controls, gate = Controls(plain_session, "astronaut"), Gate()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    with ThreadPoolExecutor() as threads:
        steps = [threads.submit(controls.step_target, 1)]
        assert gate.reached.wait(60.0)
        for _ in range(2):
            last = controls._newest_request
            steps.append(threads.submit(controls.step_target, 1))
            until(lambda last=last: controls._newest_request is not last)  # type: ignore[misc]
        gate.passed.set()
        results = [step.result(60.0) for step in steps]
    assert sorted(results) == [("astronaut", False), ("robin", False), ("robin", True)]
    assert controls.target == "robin"


@dataclass
class Gate:
    """Holds whoever opens a target until it is opened itself."""

    reached: threading.Event = field(default_factory=threading.Event)
    passed: threading.Event = field(default_factory=threading.Event)
    opened: list[str] = field(default_factory=list)

    def open_target(self, *arguments: Any, **named: Any) -> Target:
        self.opened.append(arguments[0])
        self.reached.set()
        assert self.passed.wait(60.0)
        return open_target(*arguments, **named)


@contextmanager
def during_a_switch(
    controls: Controls, name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str, Any], None]]:
    """Hold a switch to a target half-way; yield what changes a setting meanwhile."""
    gate = Gate()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    with ThreadPoolExecutor() as threads:
        done: list[Future[Any]] = [threads.submit(controls.switch_target, name)]
        assert gate.reached.wait(60.0)
        yield lambda *change: done.append(threads.submit(controls.update, *change))
        sleep(0.2)  # so that it has begun
        gate.passed.set()
        for one in done:
            one.result(60.0)
    controls.session.presenter.settle()


def test_of_several_targets_asked_for_at_once_the_last_is_shown(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, shown = Gate(), list[str]()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    controls = Controls(plain_session, "astronaut")
    controls.on_switch = shown.append
    with ThreadPoolExecutor() as threads:
        asked = []
        for name in ("astronaut", "astronaut", "robin"):
            asked.append(threads.submit(controls.switch_target, name))
            assert gate.reached.wait(60.0)
            sleep(0.2)  # so that it has begun
        gate.passed.set()
        assert [one.result(60.0) for one in asked] == [False, False, True]
    assert gate.opened == ["astronaut", "robin"]
    assert shown == ["robin"]
    plain_session.presenter.settle()
    assert (controls.target, plain_session.reenactor.target.name) == ("robin", "robin")


def test_a_size_that_changes_during_a_switch_keeps_the_new_target(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = Controls(plain_session, "astronaut")
    with during_a_switch(controls, "robin", monkeypatch) as change:
        change("renderer", "size", 128)
    target = plain_session.reenactor.target
    assert (controls.target, target.name, target.crop_size) == ("robin", "robin", 128)


def test_a_background_that_changes_during_a_switch_stands_behind_the_new_target(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = Controls(plain_session, "astronaut")
    with during_a_switch(controls, "robin", monkeypatch) as change:
        change("output", "background_colour", "#ff00ff")
        change("output", "background", "colour")
    corner = plain_session.reenactor.idle(0.0, 0).image[0, 0]
    assert tuple(corner) == MAGENTA


def test_a_real_session_changes_its_target_and_measures_the_face(tmp_path: Path) -> None:
    """The portrait drives one target and then another; features are those of the new one."""
    images, _ = moving_portrait()
    write_video(tmp_path / "actor.mp4", images)
    still = tmp_path / "still.mp4"
    write_video(still, images[:1])
    options: list[Any] = ["renderer.name=warp", "fusion.method=direct", "actor.neutral=fresh"]
    settings = load_settings(None, options)
    target = open_target("astronaut")
    with Session.open(settings, f"video:{tmp_path / 'actor.mp4'}", target, ["null"]) as session:
        controls = Controls(session, "astronaut")
        controls.switch_target(str(still))
        with pytest.raises(ReenactError, match="no target or file"):
            controls.switch_target("nobody")
        session.start()
        assert session.wait(120.0)
        assert controls.target == str(still)
        assert session.reenactor.target.name == "still"
        found = {feature.name: feature for feature in controls.features()}
        assert {"mouth open", "smile", "left lid", "gaze", "turn"} <= set(found)
        assert all(-1 <= one.actor <= 1 and -1 <= one.output <= 1 for one in found.values())
        assert session.stats().failures == 0
