"""Expressions from one person to another, against the other's own picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact.errors import ConfigError, SourceError
from reenact.evaluation.clips import read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.recognition import read_expressions
from reenact.evaluation.runner import EvaluationOptions, evaluate
from reenact.evaluation.self_reenactment import prepare_clip
from reenact.evaluation.transfer import fused_drive
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import mirrored
from reenact.models.fusion_network import shipped_network
from reenact.testing.moving_portrait import SIZE_PX, moving_portrait, write_clip

SURPRISED = EMOTIONS.index("surprised")
NEUTRAL_FRAME, PEAK_FRAME = 0, 8


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people as a set of pictures each: neutral, and surprised at the peak."""
    folder = tmp_path_factory.mktemp("people")
    images, landmarks = moving_portrait()
    images, landmarks = images[[NEUTRAL_FRAME, PEAK_FRAME]], landmarks[[NEUTRAL_FRAME, PEAK_FRAME]]
    known = {"emotions": np.array([0, SURPRISED], np.int8), "unrelated": np.array(True)}
    write_clip(folder, "a__090_frontal", images, landmarks, **known)
    other = np.ascontiguousarray(images[:, :, ::-1, [1, 0, 2]])
    write_clip(folder, "b__090_frontal", other, mirrored(landmarks, SIZE_PX), **known)
    write_clip(folder, "b__045_left", other, mirrored(landmarks, SIZE_PX), **known)
    return folder


def test_the_fused_face_is_the_targets_neutral_plus_phi(people: Path) -> None:
    own = read_expressions(people / "a__090_frontal.npz")
    assert own is not None
    still = fused_drive(shipped_network(), own.rest, np.zeros((478, 3), np.float32), own, 0)
    np.testing.assert_allclose(still.landmarks[:, :2], own.points[0, :, :2], atol=0.6)
    acted = fused_drive(shipped_network(), own.rest, own.deviations[1], own, 1)
    apart = np.abs(acted.landmarks - own.points[1])[:, :2].mean()
    assert apart < 0.25 * np.abs(own.points[1] - own.points[0])[:, :2].mean()


def test_the_others_own_picture_is_the_truth(people: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(
        protocol="transfer", clips="*__090_frontal", sheet=tmp_path / "grid.png"
    )
    copy, warp = evaluate(["warp"], people, options)
    assert list(warp["clips"]) == ["a__090_frontal", "b__090_frontal"]
    assert warp["mean"]["face_psnr"] > copy["mean"]["face_psnr"] + 2
    assert warp["mean"]["fused_px"] < 2
    assert (tmp_path / "grid.png").is_file()
    with pytest.raises(SourceError, match="same emotion"):
        evaluate(["warp"], people, EvaluationOptions(protocol="transfer", clips="a*"))
    with pytest.raises(ConfigError, match="--target-training"):
        evaluate(["warp"], people, EvaluationOptions(protocol="transfer", target_training=0.5))


def test_clips_without_labels_are_compared_by_their_action_units(tmp_path: Path) -> None:
    images, landmarks = moving_portrait()
    write_clip(tmp_path, "a__01", images, landmarks)
    write_clip(tmp_path, "b__01", images[:, :, ::-1], mirrored(landmarks, SIZE_PX))
    options = EvaluationOptions(protocol="transfer", size_px=128)
    copy, warp = evaluate(["warp"], tmp_path, options)
    assert warp["mean"]["akd_px"] < copy["mean"]["akd_px"]


def test_every_single_picture_is_scored_once_and_no_run(people: Path) -> None:
    with FaceReader() as reader:
        prepared = prepare_clip(read_clip(people / "a__090_frontal.mp4"), reader)
    assert (prepared.reference, prepared.scored, prepared.run) == (0, (1,), ())
