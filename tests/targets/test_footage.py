"""A target's video, kept as a clip of its face."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.errors import SourceError, TargetError
from reenact.evaluation.clips import find_clips, read_clip
from reenact.targets import footage as footage_module
from reenact.targets.additions import add_videos
from reenact.targets.builder import create_target
from reenact.targets.footage import clip_names, read_footage, write_footage
from reenact.targets.store import FOOTAGE, TargetStore
from reenact.targets.video_scan import scan_video
from reenact.training.deformation_transfer import load_motions
from reenact.types import Frame, Image, Landmarks, Tracker
from support.clips import write_clip
from support.faces import portrait_target
from support.fakes import FakeTracker
from support.portraits import astronaut, turned, write_jpeg


def rolling(index: int) -> Image:
    return turned(astronaut(), 3.0 * (index - 5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tracker: Tracker) -> Path:
    """The footage of a target made of a video of 11 frames; beside it the target's references."""
    place = tmp_path_factory.mktemp("video")
    path = write_clip(place / "roll.mp4", 11, picture=rolling)
    target = create_target("x", [path], tracker, footage=place / "footage")
    np.savez(place / "target.npz", references=target.references, landmarks=target.landmarks)
    return place / "footage"


def test_the_clip_holds_every_frame_as_the_references_show_it(folder: Path) -> None:
    clips = read_footage(folder, 256)
    assert [len(clip) for clip in clips] == [11]
    assert clips[0].images.shape == (11, 256, 256, 3)
    with np.load(folder.parent / "target.npz") as stored:
        references, landmarks = stored["references"], stored["landmarks"]
    for reference, points in zip(references, landmarks, strict=True):
        errors = np.abs(clips[0].images.astype(int) - reference).mean(axis=(1, 2, 3))
        frame = int(errors.argmin())
        assert errors[frame] < 3
        assert np.abs(clips[0].landmarks[frame] - points)[:, :2].max() < 0.1


def test_footage_reads_as_training_data(folder: Path) -> None:
    clip = read_clip(folder / "roll.mp4")
    assert len(clip.usable) == 11
    with av.open(str(folder / "roll.mp4")) as container:
        assert "synthetic" not in container.metadata
        assert container.metadata["title"] == "Footage of a target"


def test_videos_of_one_name_each_keep_their_clip(tmp_path: Path, tracker: Tracker) -> None:
    paths = [tmp_path / "day 1" / "IMG_1.mov", tmp_path / "day 2" / "IMG_1.mp4"]
    for path, frames in zip(paths, (3, 5), strict=True):
        path.parent.mkdir()
        write_clip(path, frames, picture=rolling)
    create_target("x", paths, tracker, footage=tmp_path / "made")
    clips = {clip.stem: len(read_clip(clip).images) for clip in find_clips(tmp_path / "made")}
    assert clips == {"IMG_1": 3, "IMG_1-2": 5}
    store = TargetStore(tmp_path / "targets")
    store.create(replace(portrait_target(), name="me"))
    add_videos(store, "me", paths, tracker)
    stored = read_footage(store.folder_of("me") / FOOTAGE, 256)
    assert sorted(len(clip) for clip in stored) == [3, 5]


def test_clip_names_differ_even_where_case_is_ignored() -> None:
    paths = map(Path, ("a/x.mov", "b/X.mp4", "c/x-2.mp4", "y.mp4", "d/x.mp4"))
    assert clip_names(paths) == ["x", "X-2", "x-2-2", "y", "x-3"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such names")
def test_files_whose_names_are_not_text_make_a_target(tmp_path: Path, tracker: Tracker) -> None:
    store, footage = TargetStore(tmp_path / "targets"), tmp_path / "footage"
    video = tmp_path / os.fsdecode(b"b\xe4d.mp4")
    write_clip(tmp_path / "good.mp4", 2, size=(512, 512), picture=lambda index: astronaut())
    (tmp_path / "good.mp4").rename(video)
    store.create(create_target("x", [video], tracker, footage=footage), footage=footage)
    store.export_file("x", tmp_path / "exported")
    assert store.load("x").metadata["from"] == "b\N{REPLACEMENT CHARACTER}d.mp4"
    assert len(read_footage(footage, 256)) == 1


def test_resizing_footage_keeps_landmarks_on_the_face(folder: Path) -> None:
    whole, half = read_footage(folder, 256)[0], read_footage(folder, 128)[0]
    assert half.images.shape == (11, 128, 128, 3)
    assert np.allclose(half.landmarks[..., :2], (whole.landmarks[..., :2] + 0.5) / 2 - 0.5)


def test_all_clips_are_thinned_alike_if_there_are_too_many_frames(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        for suffix in (".mp4", ".npz"):
            shutil.copy(folder / f"roll{suffix}", tmp_path / f"{name}{suffix}")
    (whole,) = read_footage(folder, 128)
    monkeypatch.setattr(footage_module, "MAX_FRAMES", 8)
    clips = read_footage(tmp_path, 128)
    assert [len(clip) for clip in clips] == [4, 4]
    assert np.array_equal(clips[1].images, whole.images[::3])
    assert np.array_equal(clips[1].landmarks, whole.landmarks[::3])


def test_a_photo_leaves_no_footage(tmp_path: Path, tracker: Tracker) -> None:
    photo = write_jpeg(tmp_path / "photo.jpg", astronaut())
    create_target("x", [photo], tracker, footage=tmp_path / "footage")
    assert read_footage(tmp_path / "footage", 256) == []


def test_damaged_footage_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "roll.mp4").write_bytes((folder / "roll.mp4").read_bytes())
    with pytest.raises(TargetError, match=r"footage .* is damaged"):
        read_footage(tmp_path, 256)
    np.savez(tmp_path / "roll.npz", landmarks=np.zeros((5, 468, 3), np.float32))
    whole = (tmp_path / "roll.npz").read_bytes()
    for content in (whole, whole[:2000], b""):
        (tmp_path / "roll.npz").write_bytes(content)
        with pytest.raises(TargetError, match=r"footage .* is damaged"):
            read_footage(tmp_path, 256)


class InterruptedTracker(FakeTracker):
    """Ctrl-C comes while it looks at the fourth face."""

    def track(self, frame: Frame) -> Landmarks | None:
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().track(frame)


def test_an_interrupted_clip_leaves_those_before_as_they_were(
    folder: Path, tmp_path: Path, tracker: Tracker
) -> None:
    place = tmp_path / "footage"
    shutil.copytree(folder, place)
    faces = scan_video(folder.parent / "roll.mp4", tracker)
    for video in ("roll.mp4", "other.mp4"):
        again = replace(faces, path=Path(shutil.copy(faces.path, tmp_path / video)))
        with pytest.raises(KeyboardInterrupt):
            write_footage(again, place, again.path.stem, 256, InterruptedTracker(None))
        assert sorted(file.name for file in place.iterdir()) == ["roll.mp4", "roll.npz"]
        assert [len(clip) for clip in read_footage(place, 256)] == [11]


def test_unfinished_recordings_are_not_clips(folder: Path, tmp_path: Path) -> None:
    for ending in ("mp4", "npz"):
        shutil.copy(folder / f"roll.{ending}", tmp_path / f"cut.partial.{ending}")
    for left in ("roll.partial.mp4", "roll.partial-2.mp4"):
        (tmp_path / left).write_bytes(b"half a video")
    assert [len(clip) for clip in read_footage(tmp_path, 256)] == [11]
    assert [video.stem for video in find_clips(tmp_path)] == ["cut.partial"]


def test_a_locked_folder_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    for read in (find_clips, load_motions):
        with pytest.raises(SourceError, match=r"cannot be read: Permission denied\.$"):
            read(tmp_path)
