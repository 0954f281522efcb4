"""Pictures and recordings of a session that runs: they hold what is shown, and hold nothing up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reenact.errors import SinkError
from reenact.live.actions import act, without_waiting
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.sinks import pictures
from reenact.types import Frame
from support.fakes import BLUE, GREEN, FakeReenactor, FakeSink, FakeSource, is_plain, until
from support.recordings import read, read_with_alpha
from support.sessions import OUTPUT_FPS, make_session
from support.simulation import SimulatedTime

CUT_OUT = np.repeat(np.array([[0] * 32 + [255] * 32], np.uint8), 48, axis=0)


class CutOut(FakeReenactor):
    """Fills the right half of a transparent picture, as long as `alpha` is not None."""

    alpha: NDArray[np.uint8] | None = CUT_OUT

    def step(self, frame: Frame) -> Frame:
        return replace(super().step(frame), alpha=self.alpha)


class Stage:
    def __init__(self, time: SimulatedTime, reenactor: FakeReenactor) -> None:
        self.sink = FakeSink("first", live=True)
        self.reenactor = reenactor
        source = FakeSource(None, live=True, fps=OUTPUT_FPS, time=time)
        self.session: Session = make_session(source, reenactor, self.sink, time)
        self.controls = Controls(self.session, now_s=lambda: time.now_s)

    def frames(self, count: int) -> None:
        """Wait for so many more pictures."""
        goal = len(self.sink.frames) + count
        until(lambda: len(self.sink.frames) >= goal)


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: tmp_path)
    return tmp_path


@pytest.fixture(params=[FakeReenactor, CutOut])
def stage(request: pytest.FixtureRequest, time: SimulatedTime) -> Iterator[Stage]:
    opened = Stage(time, request.param())
    with opened.session:
        opened.session.start()
        opened.frames(5)
        yield opened


@pytest.fixture
def cut_out(time: SimulatedTime) -> Iterator[Stage]:
    opened = Stage(time, CutOut())
    with opened.session:
        opened.session.start()
        opened.frames(5)
        yield opened


def test_the_action_stores_what_is_shown_and_names_the_file(stage: Stage, videos: Path) -> None:
    told = act(stage.controls, "picture")
    (path,) = videos.iterdir()
    assert told == f"Picture: {path}"
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (48, 64, 4 if isinstance(stage.reenactor, CutOut) else 3)
    assert is_plain(pixels, GREEN)
    assert pixels.shape[2] == 3 or (pixels[..., 3] == CUT_OUT).all()
    act(stage.controls, "rest")
    until(lambda: stage.sink.colours[-1] == BLUE)
    act(stage.controls, "picture")
    (other,) = set(videos.iterdir()) - {path}
    assert is_plain(np.asarray(Image.open(other)), BLUE)


def test_before_the_first_picture_there_is_none_to_store(time: SimulatedTime, videos: Path) -> None:
    controls = Stage(time, FakeReenactor()).controls
    with pytest.raises(SinkError, match="Nothing is shown yet"):
        act(controls, "picture")
    assert list(videos.iterdir()) == []


def test_no_frame_waits_for_a_picture_to_be_stored(
    cut_out: Stage, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    told: list[str] = []

    def slow(*given: object) -> bytes:
        assert disk.wait(60)
        return b"\x89PNG"

    monkeypatch.setattr(pictures, "encoded", slow)
    without_waiting("picture", lambda: told.append(act(cut_out.controls, "picture")))
    cut_out.frames(30)
    assert told == []
    disk.set()
    until(lambda: told)


def test_a_recording_has_an_alpha_channel_if_the_picture_has(stage: Stage, videos: Path) -> None:
    path = stage.controls.start_recording()
    stage.frames(10)
    assert stage.controls.stop_recording() == path
    stage.frames(3)
    until(path.is_file)
    if isinstance(stage.reenactor, CutOut):
        assert path.suffix == ".mov"
        for picture in read_with_alpha(path)[1]:
            assert np.abs(picture[..., 3].astype(int) - CUT_OUT).max() <= 2
    else:
        assert path.suffix == ".mp4"
        assert len(read(path)[1]) >= 8


def test_a_new_background_does_not_end_a_recording(cut_out: Stage, videos: Path) -> None:
    path = cut_out.controls.start_recording()
    cut_out.frames(5)
    cut_out.reenactor.alpha = None  # type: ignore[attr-defined]
    cut_out.frames(5)
    cut_out.reenactor.alpha = CUT_OUT  # type: ignore[attr-defined]
    cut_out.frames(5)
    assert cut_out.controls.snapshot()["problems"] == []
    cut_out.controls.stop_recording()
    cut_out.frames(3)
    until(path.is_file)
    shown = [int(picture[0, 0, 3]) for picture in read_with_alpha(path)[1]]
    assert [level for level, _ in groupby(shown)] == [0, 255, 0]


def test_a_file_that_keeps_the_background_is_a_problem_until_the_background_is_back(
    cut_out: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut_out.controls.start_recording(tmp_path / "talk.mp4")
    cut_out.frames(5)
    (problem,) = cut_out.controls.snapshot()["problems"]
    assert problem["where"] == "recording"
    assert "talk.mp4 keeps the background" in problem["what"]
    assert problem["what"] in caplog.messages
    cut_out.reenactor.alpha = None  # type: ignore[attr-defined]
    cut_out.frames(5)
    assert cut_out.controls.snapshot()["problems"] == []
    cut_out.controls.stop_recording()
    cut_out.frames(3)
    until((tmp_path / "talk.mp4").is_file)
