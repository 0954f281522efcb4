"""`reenact train prepare` on the public-domain portrait, with the real tracker and processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.cli.main import main
from reenact.config import TrackingSettings
from reenact.errors import SinkError, SourceError
from reenact.evaluation.clips import read_clip
from reenact.face.geometry import face_box
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.storage import DEMO_ACTOR
from reenact.targets.clip_files import UNRELATED, decode_clip, load_landmarks
from reenact.training.clip_extraction import Extraction
from reenact.training.dataset_layouts import Item
from reenact.training.preparation import MARKS, STILLS, Job, Summary, _done, prepare
from reenact.training.sampling import load_clips
from reenact.types import Image
from support.clips import write_clip
from support.portraits import astronaut, write_jpeg


def swaying(index: int) -> Image:
    """Return the portrait, swaying from side to side; from frame 40 on nobody is there."""
    picture = astronaut()
    if index >= 40:
        return np.full_like(picture, 90)
    shift = np.array([[1, 0, 12 * np.sin(index / 6)], [0, 1, 0]], np.float32)
    moved = cv2.warpAffine(picture, shift, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for name in ("anna", "bert", "carl"):
        (folder / name).mkdir()
    write_clip(folder / "anna" / "talk.mp4", frames=60, fps=30, picture=swaying)
    write_jpeg(folder / "bert" / "photo.jpg", astronaut())
    (folder / "carl" / "broken.mp4").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("prepared")
    return out, prepare(source, out, processes=1)


def test_a_video_becomes_a_clip_that_training_can_load(
    prepared: tuple[Path, Summary], tmp_path: Path
) -> None:
    out, summary = prepared
    (clip,) = load_clips(out, tmp_path)
    assert (clip.name, clip.identity) == ("anna__talk", "anna")
    assert clip.images.shape[1:] == (256, 256, 3)
    # 40 frames at 30 a second are 33 at 25; the empty rest is cut off.
    assert 31 <= len(clip.images) <= 35
    assert len(clip.usable) >= 31
    heights = [np.diff(face_box(clip.landmarks[i])[1::2])[0] / 256 for i in clip.usable]
    assert 0.4 < np.mean(heights) <= 0.62
    middles = np.array([np.mean(face_box(clip.landmarks[i])[::2]) for i in clip.usable])
    assert np.ptp(middles) > 15, "the square is fixed, and the head moves in it"
    assert summary.people == 3
    assert summary.frames >= 60 / 30 * 25


SLOWING_MS = [*range(0, 1000, 33), *range(1000, 3000, 100)]
PAUSING_MS = [*range(0, 800, 40), *range(9000, 9800, 40)]


@pytest.mark.parametrize(
    ("times_ms", "ending", "codec", "frames"),
    [
        (SLOWING_MS, ".mp4", "libx264", 75),
        (SLOWING_MS, ".webm", "libvpx-vp9", 75),
        (PAUSING_MS, ".mp4", "libx264", 60),
    ],
    ids=["slowing", "declared as 1000 a second", "pausing"],
)
def test_a_video_with_a_varying_rate_keeps_its_time(
    tmp_path: Path, times_ms: list[int], ending: str, codec: str, frames: int
) -> None:
    clip = tmp_path / f"talk{ending}"
    count = len(times_ms)
    # The file declares the encoder's rate as its own.
    write_clip(
        clip, count, fps=1000, picture=lambda i: swaying(i % 40), times_ms=times_ms, codec=codec
    )
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        (written,) = Extraction(tracker, 128, lambda: None).clips_of_video(clip, tmp_path, "out")
    assert abs(len(decode_clip(written)) - frames) <= 2


def test_shots_of_a_video_replace_no_other_video(tmp_path: Path) -> None:
    def cut(index: int) -> Image:
        picture = swaying(index % 20)
        return picture if index < 20 else np.ascontiguousarray(255 - picture[:, ::-1] // 2)

    (tmp_path / "anna").mkdir()
    write_clip(tmp_path / "anna" / "talk.mp4", frames=40, fps=25, picture=cut)
    write_clip(tmp_path / "anna" / "talk-01.mp4", frames=25, fps=25, picture=swaying)
    out = tmp_path / "out"
    summary = prepare(tmp_path, out, processes=1, size_px=128)
    lengths = {clip.stem: len(decode_clip(clip)) for clip in out.glob("*.mp4")}
    assert lengths == {"anna__talk+01": 20, "anna__talk+02": 20, "anna__talk-01": 25}
    assert (summary.written, summary.people) == (3, 1)


def test_landmarks_lie_on_the_face_in_the_crop(prepared: tuple[Path, Summary]) -> None:
    """The pupils are darker than the cheeks under them."""
    out, _ = prepared
    images = decode_clip(out / "anna__talk.mp4")
    landmarks = load_landmarks(out / "anna__talk.npz")
    for index in (0, 12, 24):
        grey = images[index].mean(axis=-1)
        for iris, cheek in ((468, 50), (473, 280)):
            (x, y), (u, v) = landmarks[index, iris, :2], landmarks[index, cheek, :2]
            assert grey[round(y), round(x)] < grey[round(v), round(u)] - 20


def test_a_photo_becomes_a_still_and_a_broken_file_is_named(
    prepared: tuple[Path, Summary],
) -> None:
    out, summary = prepared
    assert load_landmarks(out / STILLS / "bert__photo.npz").shape == (478, 3)
    assert cv2.imread(str(out / STILLS / "bert__photo.jpg")).shape == (256, 256, 3)
    assert summary.written == 2
    assert [name for name, _ in summary.left_out or []] == ["carl__broken"]
    assert "carl__broken" in summary.text()


def test_a_second_run_does_only_what_is_missing(
    source: Path, prepared: tuple[Path, Summary]
) -> None:
    out, _ = prepared
    stamp = (out / STILLS / "bert__photo.jpg").stat().st_mtime_ns
    (out / "anna__talk.mp4").unlink()
    again = prepare(source, out, processes=1)
    assert (again.written, again.earlier) == (1, 2)
    assert (out / "anna__talk.mp4").is_file()
    assert (out / STILLS / "bert__photo.jpg").stat().st_mtime_ns == stamp
    assert [name for name, _ in again.left_out or []] == ["carl__broken"]


def test_a_sequence_keeps_its_emotions_and_people_are_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    for person in ("S001", "S002", "S003"):
        folder = raw / person / "001"
        folder.mkdir(parents=True)
        for frame in (1, 2, 3):
            picture = np.roll(astronaut(), 2 * frame, axis=1)
            cv2.imwrite(str(folder / f"{person}_001_{frame:08d}.png"), picture)
    (raw / "S001_001_00000003_emotion.txt").write_text("5")
    words = ["train", "prepare", str(raw), str(tmp_path / "out"), "--val-share", "0.3"]
    words += ["--test-share", "0.3", "--grey", "--jobs", "1", "--size", "128"]
    assert main(words) == 0
    assert "3 people" in capsys.readouterr().out
    clips = sorted((tmp_path / "out").glob("*/S*.mp4"))
    assert {clip.parent.name for clip in clips} == {"train", "val", "test"}
    marks = [json.loads(m.read_text()) for m in (tmp_path / "out" / MARKS).iterdir()]
    assert {mark["name"] for mark in marks} == {f"S00{number}__001" for number in (1, 2, 3)}
    labelled = next((tmp_path / "out").glob("*/S001__001.npz"))
    with np.load(labelled) as stored:
        assert stored["emotions"].tolist() == [0, -1, 5]
        assert UNRELATED not in stored
        assert stored["landmarks"].shape == (3, 478, 3)
        assert stored["action_units"].shape == (3, 17)
        assert stored["emotion_weights"].argmax(axis=1).tolist() == [0, 0, 5]
        assert stored["intensity"][0] == pytest.approx(0.0, abs=1e-3)
    pictures = decode_clip(clips[0])
    assert pictures.shape == (3, 128, 128, 3)
    assert np.ptp(pictures.astype(int), axis=-1).max() <= 3, "it was to be grey"


def test_a_clip_of_another_source_is_kept_and_later_labels_are_read(tmp_path: Path) -> None:
    one, two, out = (tmp_path / name for name in ("one", "two", "out"))
    for folder, shift in ((one, 0), (two, 8)):
        folder.mkdir()
        write_jpeg(folder / "anna.jpg", np.roll(astronaut(), shift, axis=1))
    assert prepare(one, out, processes=1).written == 1
    before = (out / STILLS / "anna.jpg").read_bytes()
    other = prepare(two, out, processes=1)
    assert other.written == 0
    assert "made from" in other.left_out[0][1]
    assert (out / STILLS / "anna.jpg").read_bytes() == before
    job = Job(Item("anna", "photo", (one / "anna.jpg",)), out, "", 256)
    assert _done(job) is not None
    assert _done(replace(job, item=replace(job.item, emotions=(5,)))) is None


def test_a_set_of_pictures_is_no_sequence(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for emotion in ("neutral", "happy"):
        name = f"Rafd090_01_Caucasian_female_{emotion}_frontal.jpg"
        write_jpeg(tmp_path / "raw" / name, astronaut())
    summary = prepare(tmp_path / "raw", tmp_path / "out", processes=1, size_px=128)
    assert summary.written == 1
    assert read_clip(tmp_path / "out" / "rafd01__090_frontal.mp4").unrelated


def test_nothing_to_prepare_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no"):
        prepare(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("named", ["", "talk.mp4"], ids=["the folder", "a file in it"])
def test_the_source_is_never_replaced_by_its_clips(named: str, tmp_path: Path) -> None:
    video = write_clip(tmp_path / "talk.mp4", frames=30, picture=swaying)
    before = video.read_bytes()
    with pytest.raises(SinkError, match="would replace what is in"):
        prepare(tmp_path / named, tmp_path, processes=1)
    assert video.read_bytes() == before
    assert list(tmp_path.iterdir()) == [video]


def test_clips_inside_the_source_are_not_prepared_again(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "photo.jpg", astronaut())
    first = prepare(tmp_path, tmp_path / "clips", processes=1)
    again = prepare(tmp_path, tmp_path / "clips", processes=1)
    assert (first.written, again.written, again.earlier, again.people) == (1, 0, 1, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="has no process groups that are signalled")
def test_a_signal_to_all_processes_leaves_no_partial_file(tmp_path: Path) -> None:
    """As `timeout`, a closed terminal and a shutdown send it."""
    videos, clips = tmp_path / "videos", tmp_path / "clips"
    videos.mkdir()
    shutil.copy(DEMO_ACTOR, videos / "anna.mp4")
    words = [sys.executable, "-m", "reenact", "train", "prepare", str(videos), str(clips)]
    with subprocess.Popen([*words, "--jobs", "1"], start_new_session=True) as process:
        while process.poll() is None and not list(clips.glob("*.partial.mp4")):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 130
    assert not list(clips.glob("*.partial.mp4"))
