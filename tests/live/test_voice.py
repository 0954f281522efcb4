"""The voice in sessions: whose sound is heard, what is shown, and what happens without sound."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import ConfigError, SinkError, SourceError
from reenact.expression.voice import Voice
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.regions import mouth_gap
from reenact.live.controls import Controls
from reenact.live.pipeline import Reenactor
from reenact.live.presets import import_preset, preset_path
from reenact.live.session import Session
from reenact.sources.video_file import VideoSource
from reenact.stats import StepTimer
from reenact.storage import DEMO_ACTOR
from reenact.targets.library import open_target
from reenact.types import SOUND_HZ, Array, Frame, Landmarks
from support.clips import write_talk
from support.faces import plain_target
from support.fakes import GREEN, MAGENTA, FakeRenderer, FakeTracker, plain
from support.sessions import fake_controls, quiet_settings
from support.simulation import SimulatedTime
from support.voices import COVERED_FROM, FakeMicrophone, noise, speech, write_covered

FPS = 25
TARGET = plain_target(GREEN)


def opening(points: Array) -> float:
    rest = to_face_frame(TARGET.neutral, estimate_pose(TARGET.neutral))
    return mouth_gap(to_face_frame(points, estimate_pose(points, rest))) - mouth_gap(rest)


def run(reenactor: Reenactor, renderer: FakeRenderer, first: int, count: int) -> Array:
    """Return how far the target's mouth is open in each frame."""
    found: list[float] = []
    for number in range(first, first + count):
        drawn = len(renderer.drives)
        reenactor.step(Frame(plain(MAGENTA), number / FPS, number))
        still = len(renderer.drives) == drawn
        found.append(0.0 if still else opening(renderer.drives[-1].landmarks))
    return np.array(found, np.float32)


@pytest.mark.parametrize("life", [True, False])
def test_the_target_speaks_while_no_face_is_seen_but_not_while_it_rests(life: bool) -> None:
    settings = quiet_settings()
    settings.idle.life = life
    renderer, voice = FakeRenderer(), Voice()
    reenactor = Reenactor(settings, TARGET, FakeTracker(None), renderer, StepTimer(), voice=voice)
    assert np.abs(run(reenactor, renderer, 0, FPS)).max() < 0.005
    microphone = FakeMicrophone(np.concatenate([noise(2, -70), speech(4), noise(4, -70)]))
    voice.listen(microphone)
    said = run(reenactor, renderer, FPS, 4 * FPS)
    assert said[:FPS].max() < 0.005
    assert said[FPS:].max() > 0.15
    drawn = len(renderer.drives)
    for number in range(5 * FPS, 6 * FPS):
        reenactor.idle(number / FPS, number)
    shown = [opening(one.landmarks) for one in renderer.drives[drawn:]]
    assert np.abs([0.0, *shown]).max() < 0.005
    run(reenactor, renderer, 6 * FPS, 2 * FPS)
    drawn = len(renderer.drives)
    assert np.abs(run(reenactor, renderer, 8 * FPS, FPS)).max() < 0.005
    assert len(renderer.drives) - drawn == (FPS if life else 0)
    reenactor.close()


def test_a_face_that_goes_and_comes_moves_its_mouth_without_a_jump() -> None:
    renderer, voice, tracker = FakeRenderer(), Voice(), FakeTracker(None)
    reenactor = Reenactor(quiet_settings(), TARGET, tracker, renderer, StepTimer(), voice=voice)
    vowel = np.sign(np.sin(2 * np.pi * 150 * np.arange(6 * SOUND_HZ) / SOUND_HZ))
    vowel[:SOUND_HZ] = 0
    voice.listen(FakeMicrophone(noise(6, -70) + 0.2 * vowel.astype(np.float32)))
    face = Landmarks(TARGET.neutral, 1.0, (640, 480))
    said = list[Array]()
    for number, seen in enumerate((None, face, None, face)):
        tracker.face = seen
        said.append(run(reenactor, renderer, number * 35, 35))
    course = np.concatenate(said)
    assert course[34] > 0.15
    assert course[69] < 0.05
    assert course[104] > 0.15
    assert course[139] < 0.05
    assert np.abs(np.diff(course)).max() < 0.6 * course.max()
    reenactor.close()


def test_a_covered_actor_of_a_video_speaks_by_its_sound(tmp_path: Path) -> None:
    sound = np.concatenate([noise(1.6, -70), speech(1.2, -20), noise(1.2, -70)])
    actor = write_covered(tmp_path / "covered.mp4", DEMO_ACTOR, 4 * FPS, sound)
    course = {}
    for voice in ("off", "microphone"):
        settings = quiet_settings()
        settings.fusion.voice = voice
        settings.fusion.method = "direct"
        target = open_target("astronaut")
        with Session.open(settings, f"video:{actor}", target, ["null"]) as session:
            course[voice] = follow(session)
    silent, spoken = course["off"], course["microphone"]
    np.testing.assert_array_equal(silent[:COVERED_FROM], spoken[:COVERED_FROM])
    talking = slice(round(1.7 * FPS), round(2.8 * FPS))
    assert np.ptp(spoken[talking]) > 0.1
    assert (spoken - silent)[talking].max() > 0.1
    assert np.ptp(spoken[round(3.2 * FPS) : round(3.9 * FPS)]) < 0.05


def follow(session: Session) -> Array:
    """Run a session to its end; return the gap of the target's lips in each frame, iod."""
    found: list[float] = []
    render = session.reenactor.step

    def step(frame: Frame) -> Frame:
        picture = render(frame)
        drive = session.reenactor.drive
        assert drive is not None
        found.append(mouth_gap(to_face_frame(drive.landmarks, estimate_pose(drive.landmarks))))
        return picture

    session.reenactor.step = step  # type: ignore[method-assign]
    session.run()
    return np.array(found, np.float32)


def test_the_sound_of_a_file_is_heard_at_the_time_of_its_pictures(tmp_path: Path) -> None:
    for name, from_s, sound_from_s in (("a.mp4", 0.0, 0.0), ("b.mkv", 0.5, 0.0), ("c.mp4", 0, 0.6)):
        talk = write_talk(
            tmp_path / name, beep_s=1.2, pictures_from_s=from_s, sound_from_s=sound_from_s
        )
        with VideoSource(talk) as source:
            voice = source.open_voice()
            assert voice is not None
            pieces = [voice.hear(number / FPS) for number in range(4 * FPS)]
            voice.close()
        heard = np.concatenate(pieces)
        assert len(heard) == round((4 * FPS - 1) / FPS * SOUND_HZ)
        first = int(np.argmax(np.abs(heard) > 5000)) / SOUND_HZ
        assert first == pytest.approx(1.2 - from_s, abs=0.03), name
        assert np.abs(heard[-SOUND_HZ:]).max() == 0


def test_a_recorded_source_without_sound_is_told_and_the_target_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = quiet_settings()
    settings.fusion.voice = "microphone"
    with Session.open(settings, f"video:{DEMO_ACTOR}", open_target("astronaut"), ["null"]) as one:
        assert one.settings.fusion.voice == "off"
        with pytest.raises(SourceError, match="has no sound"):
            Controls(one).update("fusion", "voice", "microphone")
        assert one.settings.fusion.voice == "off"
    assert caplog.text.count("has no sound in which a voice is heard.") == 1


def test_a_microphone_that_is_missing_is_told_and_the_target_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = quiet_settings()
    settings.fusion.voice = "no such microphone"
    with Session.open(settings, "pattern", open_target("astronaut"), ["null"]) as session:
        assert session.settings.fusion.voice == "off"
        session.start()
        with pytest.raises(SinkError, match="microphone"):
            Controls(session).update("fusion", "voice", "no such microphone")
        with pytest.raises(SinkError, match="microphone"):
            session.update("fusion", "voice", "no such microphone")
        assert session.settings.fusion.voice == "off"
        assert not session.wait(0.0)
    told = [text for text in caplog.messages if "without your voice" in text]
    assert len(told) == 1
    assert "icrophone" in told[0]


def test_no_microphone_is_opened_unless_asked_for_and_it_is_released(
    time: SimulatedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, FakeMicrophone]] = []

    def open_card(name: str = "") -> FakeMicrophone:
        opened.append((name, FakeMicrophone(noise(1))))
        return opened[-1][1]

    monkeypatch.setattr("reenact.sinks.live_sound.SoundCard", open_card)
    assert Settings().fusion.voice == "off"
    with fake_controls(time) as controls:
        controls.update("fusion", "mouth", 1.3)
        assert not opened
        controls.update("fusion", "voice", "microphone")
        controls.save_preset("mine")
        assert "voice" not in preset_path("mine").read_text()
        import_preset("somebody", '[fusion]\nvoice = "microphone"\nmouth = 0.5\n')
        controls.update("fusion", "voice", "Yeti")
        assert [name for name, _ in opened] == ["", "Yeti"]
        assert opened[0][1].closed == 1
        controls.update("fusion", "voice", "off")
        assert opened[1][1].closed == 1
        controls.load_preset("somebody")
        controls.load_preset("mine")
        assert controls.session.settings.fusion.voice == "off"
        with pytest.raises(ConfigError, match=r"fusion\.voice"):
            controls.update("fusion", "voice", "")
        assert len(opened) == 2
        controls.update("fusion", "voice", "microphone")
        monkeypatch.setattr("reenact.sinks.live_sound.SoundCard", Mock(side_effect=SinkError("-")))
        with pytest.raises(SinkError):  # the setting goes on saying what is heard
            controls.session.update("fusion", "voice", "missing")
        assert controls.session.settings.fusion.voice == "microphone"
        assert opened[2][1].closed == 0
    assert opened[2][1].closed == 1


def test_a_silent_microphone_is_a_problem_of_the_session(time: SimulatedTime) -> None:
    with fake_controls(time) as controls:
        controls.session.voice.listen(FakeMicrophone(noise(0.1)))
        for number in range(5 * FPS):
            controls.session.voice.step(1 / FPS, number / FPS)
        (problem,) = (one for one in controls.snapshot()["problems"] if one["where"] == "voice")
        assert problem["what"] == "The microphone sends nothing any more."
