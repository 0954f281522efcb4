"""Everything that can be done to a running session, done through its one door."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
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
from reenact.sinks.fanout import SinkSet
from reenact.sinks.recordings import Recordings
from reenact.sinks.video_encoder import VideoEncoder
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
    assert stage.problems()["face"] == "No face is seen, so the target rests."
    with monkeypatch.context() as patch:
        patch.setattr(stage.session.settings.fusion, "voice", "microphone")
        assert stage.problems()["face"] == "No face is seen, so the target has only your voice."
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


def test_a_recording_that_begins_after_the_end_leaves_no_microphone_open(tmp_path: Path) -> None:
    microphone, output = Mock(), SinkSet([FakeSink("first")])
    output.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reenact.sinks.live_sound.SoundCard", Mock(return_value=microphone))
        with pytest.raises(SinkError, match="has ended"):
            Recordings(output).start(tmp_path / "late.mp4", 18, "", replace=False)
    assert microphone.close.called
    assert not list(tmp_path.iterdir())


def test_recordings_of_the_same_second_are_all_kept(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: tmp_path / "Videos")
    clock = Mock(now=Mock(return_value=datetime(2026, 1, 2, 3, 4, 5)))
    monkeypatch.setattr("reenact.sinks.recordings.datetime.datetime", clock)
    paths = []
    for _ in range(3):
        paths.append(stage.controls.start_recording())
        stage.frames(5)
        stage.controls.stop_recording()
    stage.frames(5)
    until(lambda: all(path.is_file() for path in paths))
    assert len(set(paths)) == 3


def begin_recording_that_fails(stage: Stage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record until the disk is full."""
    stage.controls.start_recording(path)
    stage.frames(10)
    with monkeypatch.context() as patch:
        patch.setattr(VideoEncoder, "add", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        stage.frames(3)


def test_a_recording_that_fails_is_none_and_says_so(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = stage.controls
    begin_recording_that_fails(stage, tmp_path / "one.mp4", monkeypatch)
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


def test_a_recording_that_failed_and_was_given_up_is_none(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = stage.controls
    begin_recording_that_fails(stage, tmp_path / "one.mp4", monkeypatch)
    (failed,) = (one["name"] for one in controls.outputs() if one["error"])
    controls.switch_output(failed, on=False)
    assert (controls.snapshot()["recording"], stage.problems()) == ("", {})
    with pytest.raises(SinkError, match="Nothing is being recorded"):
        controls.stop_recording()


def test_a_recording_that_could_not_be_finished_is_told_until_the_next(
    stage: Stage, tmp_path: Path
) -> None:
    controls = stage.controls
    controls.start_recording(tmp_path / "one.mp4")
    stage.frames(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoEncoder, "finish", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        controls.stop_recording()
        stage.frames(3)
        until(lambda: "the disk is full" in stage.problems().get("outputs", ""))
    controls.start_recording(tmp_path / "two.mp4")
    assert stage.problems() == {}


def test_a_recording_takes_no_name_that_another_may_still_get(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that is ended at once may be about to make its file."""
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: tmp_path)
    clock = Mock(now=Mock(return_value=datetime(2026, 1, 2, 3, 4, 5)))
    monkeypatch.setattr("reenact.sinks.recordings.datetime.datetime", clock)
    recordings = Recordings(SinkSet([FakeSink("first")]))
    first = recordings.start(None, 18, None, replace=False)
    with pytest.raises(SinkError, match="Nothing was recorded"):
        recordings.stop()
    assert recordings.start(None, 18, None, replace=False) != first


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


def test_units_by_hand_are_settings_like_others(stage: Stage) -> None:
    controls = stage.controls
    controls.update_all({"drive.units.smile_left": 0.4, "drive.units.pucker": 1})
    units = stage.session.settings.drive.units
    assert (units.smile_left, units.pucker, units.frown) == (0.4, 1.0, 0.0)
    controls.save_preset("smirk")
    assert "[drive.units]\nmouth_open = 0.0\n" in preset_path("smirk").read_text("utf-8")
    controls.update("drive.units", "smile_left", 0.0)
    import_preset("grumpy", "[drive.units]\nfrown = 0.7\n")
    assert controls.load_preset("grumpy") == []
    assert (units.smile_left, units.pucker, units.frown) == (0.0, 1.0, 0.7)
    assert act(controls, "preset=smirk") == "smirk is in use."
    assert (units.smile_left, units.pucker, units.frown) == (0.4, 1.0, 0.0)
    for name, value, message in (
        ("drive.units.smile", 1, r"There is no setting drive\.units\.smile\."),
        ("drive.units", 1, r"There is no setting drive\.units\."),
        ("drive.units.frown", 1.5, r"drive\.units\.frown: Input should be less than or equal to 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            controls.update_all({"drive.units.pucker": 0.2, name: value})
    assert units.pucker == 1.0


def test_settings_of_a_part_that_is_not_in_use_wait(stage: Stage) -> None:
    import_preset("stream", "[sink.http]\nport = 8088\nquality = 85\n")
    assert stage.controls.load_preset("stream") == ["sink.http.port"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fusion]\nmirror = true\nmouth = 9.0", "less than or equal to 2"),
        ("[fusion]\nmirror = true\nmoth = 1.0", "did you mean"),
        ("[fusion]\nmirror = true\n[output]\nshow_raw_camera = true", "show your own camera"),
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
