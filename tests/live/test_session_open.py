"""Sessions that are opened by the names of their parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest

from reenact.errors import ConfigError
from reenact.expression.neutral_store import NeutralStore
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.live.settings import load_settings, walk
from reenact.storage import DEMO_ACTOR
from reenact.targets.library import open_target
from support.clips import write_talk
from support.fakes import until
from support.knobs import BUILT, register_knobs
from support.portraits import astronaut, write_jpeg
from support.recordings import read_with_alpha


def open_session(source: str, *assignments: str, sink: str = "null") -> Session:
    settings = load_settings(None, ["renderer.name=warp", "fusion.method=direct", *assignments])
    return Session.open(settings, source, open_target("astronaut"), [sink, "null"])


def test_a_sessions_settings_are_its_own() -> None:
    settings = load_settings(assignments=["fusion.method=direct"])
    for renderer in ("copy", "warp"):
        target = replace(open_target("astronaut"), renderer=renderer)
        with Session.open(settings, "pattern", target, ["null"]) as session:
            assert session.stats().renderer == renderer
            session.update("drive", "intensity", 0.5)
            assert session.settings.drive.intensity == 0.5
    assert (settings.renderer.name, settings.drive.intensity) == ("auto", 1.0)


@pytest.mark.parametrize("given", [(), ("source", "sink", "tracking", "renderer", "drive")])
def test_every_part_sees_changes_to_its_own_live_settings(
    given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    register_knobs(monkeypatch)
    named = ["renderer.name=knobs", "tracking.name=knobs", "drive.motion=knobs"]
    settings = load_settings(None, [*named, *(f"{section}.knobs.knob=0.25" for section in given)])
    with Session.open(settings, "knobs", open_target("astronaut"), ["knobs"]) as session:
        assert {section: own.knob for section, own in BUILT.items()} == dict.fromkeys(
            ("source", "sink", "tracking", "renderer", "drive"), 0.25 if given else 0.5
        )
        for section, own in BUILT.items():
            session.update(f"{section}.knobs", "knob", 0.75)
            assert own.knob == 0.75
    assert all(one.value != 0.75 for one in walk(settings) if one.key == "knob"), "its own copy"


@pytest.mark.parametrize(
    ("background", "sinks", "told"),
    [
        ("transparent", ["file:a.mp4", "obs", "http", "window"], "no effect on http and window;"),
        ("transparent", ["obs", "null", "file:a.mp4"], None),
        ("keep", ["http"], None),
    ],
)
def test_a_warning_names_the_outputs_that_keep_the_background_once(
    background: str, sinks: list[str], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assignments = ["renderer.name=warp", "fusion.method=direct", f"output.background={background}"]
    settings = load_settings(None, assignments)
    Session.open(settings, "pattern", open_target("astronaut"), sinks).close()
    warnings = [text for text in caplog.messages if "background" in text]
    assert len(warnings) == (told is not None)
    assert all(str(told) in text and "--sink obs" in text for text in warnings)


@pytest.mark.parametrize("ending", [".webm", ".mov"])
def test_a_target_without_its_background_is_cut_out_in_a_file(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{ending}"
    talk = write_talk(tmp_path / "talk.mp4", beep_s=0.2)
    with open_session(f"video:{talk}", "output.background=transparent", sink=f"file:{out}") as run:
        run.run()
    _, pictures = read_with_alpha(out)
    assert len(pictures) == 50
    for picture in pictures:
        assert picture[10:100, 10:60, 3].max() <= 2  # a wall, in a picture of 640 px
        assert picture[200:260, 260:330, 3].min() >= 253  # the face


def heard_s(path: Path) -> float:
    """Return the duration of a file's sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def test_a_background_that_is_missing_is_told_before_anything_is_opened() -> None:
    with pytest.raises(ConfigError, match="There is no background 'beach'"):
        open_session("webcam:99", "output.background=beach")


def test_the_sound_of_a_video_is_written_to_a_file(tmp_path: Path) -> None:
    talk, out = write_talk(tmp_path / "talk.mp4", beep_s=0.2), tmp_path / "out.mp4"
    with open_session(f"video:{talk}", sink=f"file:{out}") as session:
        session.run()
    assert heard_s(out) == pytest.approx(2.0, abs=0.05)


def test_only_a_file_that_shows_the_video_from_its_begin_gets_its_sound(tmp_path: Path) -> None:
    talk = write_talk(tmp_path / "talk.mp4", beep_s=0.2)
    early, late = tmp_path / "early.mp4", tmp_path / "late.mp4"
    with open_session(f"video:{talk}") as session:
        controls = Controls(session)
        controls.add_output(f"file:{early}")
        session.recorder.frame_out(None)
        controls.add_output(f"file:{late}")
        session.run()
    assert heard_s(early) == pytest.approx(2.0, abs=0.05)
    assert heard_s(late) == 0


def test_the_device_is_that_of_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some renderers do not use the GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with open_session("pattern") as session:
        assert session.stats().device == "cpu"


def test_the_actor_in_a_file_gets_no_stored_neutral_unless_it_is_named(tmp_path: Path) -> None:
    photo = f"image:{write_jpeg(tmp_path / 'photo.jpg', astronaut())}"
    clip = f"video:{DEMO_ACTOR}"
    with open_session(clip, "actor.name=eileen") as session:
        session.start()
        until(NeutralStore().path("eileen").exists)
        enough = session.stats().frames_out
    for source in (photo, clip):
        with open_session(source) as session:
            session.start()
            until(lambda: session.stats().frames_out > enough)
            assert session.reenactor.face_found
        assert not NeutralStore().path("default").exists()
