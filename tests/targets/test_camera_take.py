"""Targets made of a recording of the camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reenact.cli.main import main
from reenact.config import Settings
from reenact.errors import TargetError
from reenact.sources.video_file import VideoSource
from reenact.targets.camera_take import camera_frames, new_pictures, record_take
from reenact.targets.store import TargetStore
from reenact.testing.moving_portrait import moving_portrait
from reenact.types import Frame
from support.network_camera import network_camera


def frames(times_s: list[float], sides: tuple[int, ...] = (64,)) -> Iterator[Frame]:
    for number, time_s in enumerate(times_s):
        side = sides[number % len(sides)]
        yield Frame(np.full((side, side, 3), 100, np.uint8), time_s, number)


def test_a_recording_is_as_long_as_wanted_and_keeps_its_times_and_size(tmp_path: Path) -> None:
    path, lengths = tmp_path / "take.mp4", list[float]()
    times_s = [10 + number / 20 for number in range(200)]
    record_take(frames(times_s, (64, 32)), path, 6.0, lengths.append)
    with VideoSource(path) as video:
        read = list(iter(video.read, None))
    assert len(read) == len(lengths) == 120
    assert {frame.size for frame in read} == {(64, 64)}
    assert read[-1].time_s == pytest.approx(lengths[-1], abs=0.01)
    assert lengths[-1] == pytest.approx(5.95)


@pytest.mark.parametrize(
    ("times_s", "message"),
    [([], "No camera sends a picture"), ([0.0, 1.0, 3.0], "recorded for 3 s only")],
)
def test_a_recording_that_ends_too_early_leaves_no_file(
    times_s: list[float], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TargetError, match=message):
        record_take(frames(times_s), tmp_path / "take.mp4", 6.0)
    assert not list(tmp_path.iterdir())


def test_new_pictures_are_taken_once_until_none_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reenact.targets.camera_take._SILENT_S", 0.05)
    first, second = (np.zeros((2, 2, 3), np.uint8) for _ in range(2))
    shown = iter([None, first, first, second])
    taken = list(new_pictures(lambda: next(shown, second)))
    assert [frame.index for frame in taken] == [0, 1]
    assert taken[0].image is first
    assert taken[1].image is second
    assert taken[0].time_s < taken[1].time_s


def test_a_file_is_no_camera(tmp_path: Path) -> None:
    record_take(frames([0.0, 5.0, 6.0]), tmp_path / "a.mp4", 6.0)
    with pytest.raises(TargetError, match="is no camera; give a video to --from"):
        next(camera_frames(f"video:{tmp_path / 'a.mp4'}", Settings().source))


@pytest.mark.slow
def test_a_target_is_made_of_a_camera_and_filmed_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with network_camera(moving_portrait()[0]) as address:
        camera = ["--camera", f"video:{address}", "--seconds", "5"]
        assert main(["target", "create", "me", *camera, "--yes"]) == 0
        told = capsys.readouterr().out
        assert "You are recorded for 5 s." in told
        assert "me is ready" in told
        assert main(["target", "add", "me", *camera]) == 0
        assert "be trained on the video" in capsys.readouterr().out
    store = TargetStore()
    assert len(store.load("me").references) > 1
    assert len(list((store.folder_of("me") / "footage").glob("camera-*.mp4"))) == 2


def test_a_recording_without_a_face_says_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    dark = np.full((4, 120, 160, 3), 4, np.uint8)
    with network_camera(dark) as address:
        camera = ["--camera", f"video:{address}", "--seconds", "5"]
        assert main(["target", "create", "me", *camera, "--yes"]) == 2
    told = capsys.readouterr().err
    assert "No face was found in the recording, which is not kept: sit closer to" in told
    assert "camera-" not in told  # a file that the user never saw
    assert TargetStore().list() == ()


def test_a_camera_that_is_not_there_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["target", "create", "me", "--camera", "video:http://127.0.0.1:9/x", "--yes"]) == 2
    assert "cannot be opened" in capsys.readouterr().err
    assert TargetStore().list() == ()
