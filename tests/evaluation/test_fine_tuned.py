"""Training on the first part of a clip and measuring on the rest."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.evaluation import fine_tuned, self_reenactment
from reenact.evaluation import runner as evaluation
from reenact.evaluation.clips import find_clips, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.targets.clip_files import load_landmarks
from reenact.testing.moving_portrait import FRAMES, moving_portrait, write_clip
from support.plugins import install
from support.program import repository

SHARE = 0.6


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The moving portrait, twice over: 62 frames, of which 37 are trained on."""
    images, landmarks = moving_portrait()
    folder = tmp_path_factory.mktemp("clips")
    twice = np.concatenate([images, images[::-1]])
    write_clip(folder, "portrait__01", twice, np.concatenate([landmarks, landmarks[::-1]]))
    return folder


@pytest.fixture(autouse=True)
def _short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    short_run = functools.partial(fine_tuned.run, steps=2, min_clip_s=2.0)
    monkeypatch.setattr(fine_tuned, "run", short_run)


@pytest.mark.slow
def test_all_rows_are_measured_on_the_rest(clip_folder: Path, tmp_path: Path) -> None:
    reports = evaluation.evaluate(
        ["warp_unet"],
        clip_folder,
        evaluation.EvaluationOptions(
            json_path=tmp_path / "personal.json",
            sheet=tmp_path / "sheet.png",
            frames=2,
            target_training=SHARE,
            training_minutes=1.0,
        ),
    )
    rows = ["copy", "warp", "warp_unet", "warp_unet (trained)"]
    assert [report["renderer"] for report in reports] == rows
    assert {report["protocol"] for report in reports} == {
        "self-reenactment, trained on the first 60%"
    }
    stored = json.loads((tmp_path / "personal.json").read_text())
    assert list(stored) == ["renderer", "data", "protocol", "clips", "mean", "beside"]
    assert stored["renderer"] == "warp_unet (trained)"
    assert set(stored["mean"]) == set(stored["beside"]["warp"]["mean"])
    # Two steps bring nothing, and the references are the same.
    assert stored["mean"] == stored["beside"]["warp_unet"]["mean"]
    # The references of the first part show the second, which is its mirror in time.
    assert stored["mean"]["face_psnr"] > stored["beside"]["copy"]["mean"]["face_psnr"] + 3
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_a_generator_from_outside_is_trained_and_measured_alike(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(repository() / "examples" / "tint", tmp_path / "site", monkeypatch)
    reports = evaluation.evaluate(
        ["tint"],
        clip_folder,
        evaluation.EvaluationOptions(frames=2, target_training=SHARE, training_minutes=1.0),
    )
    assert [report["renderer"] for report in reports] == ["copy", "warp", "tint", "tint (trained)"]
    copy, warp, untrained, trained = (report["mean"]["face_psnr"] for report in reports)
    assert untrained == pytest.approx(warp, abs=0.02), "it warps until it has learned colours"
    assert 0 < abs(trained - untrained) < 1, "its own colours"
    assert trained > copy + 3


def test_the_frames_compared_lie_behind_the_cut(clip_folder: Path) -> None:
    clip = read_clip(clip_folder / "portrait__01.mp4")
    cut = round(SHARE * 2 * FRAMES)
    with FaceReader() as reader:
        shot = self_reenactment.prepare_clip(clip, reader, first=cut)
    assert shot.reference == 0
    assert shot.scored == tuple(range(cut, 2 * FRAMES, 5))
    assert shot.run == tuple(range(cut, 2 * FRAMES))


@pytest.mark.parametrize("faces", [slice(0, 37), slice(20, None)])
def test_a_clip_is_left_out_if_one_of_its_parts_shows_no_face(
    faces: slice, clip_folder: Path, tmp_path: Path
) -> None:
    """Nothing is measured on frames that were trained on, nor trained on too few."""
    folder = shutil.copytree(clip_folder, tmp_path / "clips")
    landmarks = load_landmarks(folder / "portrait__01.npz")
    seen = np.full_like(landmarks, np.nan)
    seen[faces] = landmarks[faces]
    np.savez(folder / "portrait__01.npz", landmarks=seen)
    with FaceReader() as reader, pytest.raises(SourceError, match="with a face in 24 frames"):
        fine_tuned.run(["copy"], find_clips(folder), Settings(), reader, share=SHARE, minutes=1.0)


def test_clips_that_are_too_short_are_told(clip_folder: Path) -> None:
    with FaceReader() as reader, pytest.raises(SourceError, match="No clip is 6 s long"):
        fine_tuned.run(
            ["warp"],
            find_clips(clip_folder),
            Settings(),
            reader,
            share=SHARE,
            minutes=1.0,
            min_clip_s=fine_tuned.MIN_CLIP_S,
        )
