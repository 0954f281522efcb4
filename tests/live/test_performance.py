"""A performance that is kept, read by numpy alone, and played again."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.cli.main import main
from reenact.config import Settings
from reenact.errors import SourceError
from reenact.expression.neutral_store import NeutralStore
from reenact.expression.voice import Voice
from reenact.face.geometry import canonical_face
from reenact.face.regions import mouth_gap
from reenact.live.drives import KnownLandmarks
from reenact.live.pipeline import Reenactor
from reenact.performance import FRAMES, START, VERSION, npy
from reenact.sinks.landmarks import LandmarksSink
from reenact.sources.landmarks import LandmarksSource
from reenact.stats import StepTimer
from reenact.storage import DEMO_ACTOR
from reenact.types import Array, Frame, Landmarks
from support.faces import opened_mouth, plain_target, portrait_target, posed_face
from support.fakes import GREEN, MAGENTA, FakeRenderer, FakeTracker, plain
from support.sessions import quiet_settings
from support.voices import FakeMicrophone, speech

NOTHING = plain(MAGENTA, (320, 240))
FACE = posed_face()[0]


def take(path: Path) -> tuple[NDArray[np.void], NDArray[np.void]]:
    with path.open("rb") as file:
        return np.load(file), np.load(file)


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["the packaged actor", "a person"])
def test_a_kept_performance_gives_the_same_landmarks_again(
    whose: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clip = tmp_path / "clip.mp4"
    if whose == "a person":
        clip = request.getfixturevalue("faces_dir") / "train" / "v012__01.mp4"
    else:
        shutil.copy(DEMO_ACTOR, clip)
    first, again = tmp_path / "first.npy", tmp_path / "again.npy"
    for source, kept in ((f"video:{clip}", first), (f"landmarks:{first}", again)):
        words = ["--target", "astronaut", "--set", "renderer.name=copy", "--source", source]
        assert main(["live", *words, "--sink", f"landmarks:{kept}"]) == 0
    (start, frames), (_, played) = take(first), take(again)
    assert start["version"] == 3
    assert (frames["hair_since"] > 0).any()
    assert len(frames) > 100
    assert frames["time_s"][0] == 0
    assert np.allclose(np.diff(frames["time_s"]), 1 / start["fps"], atol=0.02)
    assert np.isfinite(frames["fused"]).all()
    for name in frames.dtype.names or ():
        assert np.array_equal(frames[name], played[name], equal_nan=True), name


def test_the_users_neutral_and_losses_are_kept_as_well(tmp_path: Path) -> None:
    """Without them the same landmarks would give other ones, because the neutral is another."""
    neutrals = NeutralStore(tmp_path)
    rest = canonical_face() * np.array([1, 1.03, 1], np.float32)
    neutrals.save("default", rest)
    points, _ = posed_face(yaw_degrees=5)
    tracker = FakeTracker(None, absent=range(20, 24))
    sink = LandmarksSink(str(tmp_path / "take.npy"))
    settings = Settings.model_validate({"renderer": {"name": "warp"}})
    acted = Reenactor(
        settings, portrait_target(), tracker, FakeRenderer(), StepTimer(), neutrals=neutrals
    )
    sink.open((64, 64), 25.0)
    fused: list[Array | None] = []
    for index in range(60):
        if index == 10:
            acted.set_neutral()
        if index == 15:
            acted.undo_neutral()
        if index == 40:
            acted.reset()
        moved = opened_mouth(points, 6 + 6 * np.sin(index))
        tracker.face = Landmarks(moved, 1.0, (320, 240))
        picture = acted.step(Frame(NOTHING, 100 + index / 25, index))
        sink.write(picture)
        sink.write(replace(picture, time_s=picture.time_s + 0.01))  # a second time, by the clock
        assert picture.performance is not None
        fused.append(picture.performance.fused)
    sink.write(acted.idle(200.0, 60))
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default.npz", "take.npy"]

    settings.actor.neutral = "fresh"
    played = Reenactor(settings, portrait_target(), KnownLandmarks(), FakeRenderer(), StepTimer())
    with LandmarksSource(str(tmp_path / "take.npy")) as source:
        assert source.frames_total == 60
        assert source.size == (320, 240)
        for before in fused:
            frame = source.read()
            assert frame is not None
            performance = played.step(frame).performance
            assert performance is not None
            if before is None:
                assert performance.fused is None
            else:
                assert performance.fused == pytest.approx(before, abs=1e-3)


def test_tongue_and_voice_are_drawn_again(tmp_path: Path) -> None:
    settings, target = quiet_settings(), plain_target(GREEN)
    acted, played = FakeRenderer(), FakeRenderer()
    tracker, voice = FakeTracker(None, absent=range(60)), Voice()
    voice.listen(FakeMicrophone(speech(4)))
    first = Reenactor(settings, target, tracker, acted, StepTimer(), voice=voice)
    sink = LandmarksSink(str(tmp_path / "take.npy"))
    sink.open((64, 64), 25.0)
    for index in range(90):
        tracker.face = Landmarks(FACE, 1.0, (320, 240), tongue=(index % 30) / 30)
        sink.write(first.step(Frame(NOTHING, index / 25, index)))
    sink.close()
    again = Reenactor(settings, target, KnownLandmarks(), played, StepTimer())
    with LandmarksSource(str(tmp_path / "take.npy")) as source:
        while frame := source.read():
            again.step(frame)
    assert max(mouth_gap(drive.landmarks) for drive in acted.drives[:60]) > 3.0  # px, by voice
    assert max(drive.expression.tongue for drive in acted.drives) > 0.9
    assert len(played.drives) == len(acted.drives)
    for before, after in zip(acted.drives, played.drives, strict=True):
        assert after.expression.tongue == pytest.approx(before.expression.tongue, abs=1e-6)
        assert after.landmarks == pytest.approx(before.landmarks, abs=1e-3)


def test_a_file_of_the_second_version_is_played_without_tongue_and_voice(tmp_path: Path) -> None:
    older = np.dtype(FRAMES.descr[:-2])
    assert older.itemsize == 11695
    start, frames = np.zeros(1, START), np.zeros(2, older)
    start["version"], start["fps"], start["neutral"] = 2, 25.0, np.nan
    frames["time_s"], frames["size"], frames["tracked"] = (0, 0.04), (320, 240), FACE
    (tmp_path / "take.npy").write_bytes(
        header(START, (1,)) + start.tobytes() + header(older, (2,)) + frames.tobytes()
    )
    with LandmarksSource(str(tmp_path / "take.npy")) as source:
        frame = source.read()
    assert frame is not None
    assert frame.performance is not None
    assert frame.performance.voice is None
    assert frame.performance.landmarks is not None
    assert frame.performance.landmarks.tongue == 0
    assert np.array_equal(frame.performance.landmarks.points, FACE)


def test_what_is_no_performance_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    with pytest.raises(SourceError, match=r"There is no file .*other\.npy; check the path"):
        LandmarksSource(str(other))
    np.save(other, np.zeros(3))
    with pytest.raises(SourceError, match="is not a performance"):
        LandmarksSource(str(other))
    other.write_bytes(b"")
    with pytest.raises(SourceError, match="is not a performance"):
        LandmarksSource(str(other))


def header(fields: np.dtype[np.void], shape: tuple[int, ...]) -> bytes:
    text = io.BytesIO()
    described = {"descr": npy.dtype_to_descr(fields), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(text, described)
    return text.getvalue()


def performance(
    *,
    starts: tuple[int, ...] = (1,),
    shape: tuple[int, ...] = (3,),
    fps: float = 30.0,
    times_s: tuple[float, ...] = (0.0, 0.1, 0.2),
    size: tuple[int, int] = (640, 480),
    neutral: float = np.nan,
    tracked: object = np.nan,
    torso: float = 0.0,
    tongue: float = 0.0,
    version: int = VERSION,
) -> bytes:
    start, frames = np.zeros(1, START), np.zeros(3, FRAMES)
    start["version"], start["fps"], start["neutral"] = version, fps, neutral
    frames["time_s"], frames["size"], frames["tracked"] = times_s, size, np.nan
    frames["tongue"][1], frames["voice"] = tongue, np.nan
    frames["tracked"][1] = tracked
    frames["torso"][1], frames["torso_since"][1] = torso, 1
    return header(START, starts) + start.tobytes() + header(FRAMES, shape) + frames.tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (performance()[:-1], "is not a performance"),
        (performance().replace(b"}", b" ", 1), "is not a performance"),
        (performance(starts=(10**12,)), "is not a performance"),
        (performance(shape=(10**15,)), "is not a performance"),
        (performance(shape=(2**62,)), "is not a performance"),
        (performance(shape=(-1,)), "is not a performance"),
        (performance(shape=()), "is not a performance"),
        (performance(shape=(3, 1)), "is not a performance"),
        (performance(shape=(0,)), "shows nobody"),
        (performance(fps=0.0), "or damaged"),
        (performance(fps=np.nan), "or damaged"),
        (performance(times_s=(0.0, np.nan, 0.2)), "or damaged"),
        (performance(times_s=(0.0, 0.2, 0.1)), "or damaged"),
        (performance(times_s=(0.0, 0.1, 1e300)), "or damaged"),
        (performance(size=(640, 0)), "or damaged"),
        (performance(neutral=1e30), "or damaged"),
        (performance(tracked=300.0), "or damaged"),
        (performance(tracked=FACE * np.array([1, 0, 1], np.float32)), "or damaged"),
        (performance(tracked=FACE * 1e30), "or damaged"),
        (performance(tongue=1.5), "or damaged"),
        (performance(version=1), "of another version"),
        (performance(version=2), "is not a performance of this version"),
        (performance(torso=1e30), "or damaged"),
        (performance(torso=np.nan), "or damaged"),
    ],
)  # fmt: skip
def test_a_damaged_performance_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "whole.npy").write_bytes(performance(tracked=FACE))
    assert LandmarksSource(str(tmp_path / "whole.npy")).frames_total == 3
    (tmp_path / "take.npy").write_bytes(data)
    with pytest.raises(SourceError, match=message):
        LandmarksSource(str(tmp_path / "take.npy"))
