"""`reenact target train` on a stored target, with a narrow network."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from reenact.cli.main import main
from reenact.models.warp_unet import WarpUNet, WarpUNetConfig
from reenact.models.weights import read_header, save_model
from reenact.targets.store import TargetStore
from reenact.targets.target_training import (
    TrainingOutcome,
    preview_path,
    summary,
    train_target,
    training_folder,
)
from reenact.testing.moving_portrait import moving_portrait, write_clip
from support.faces import portrait_target

NARROW = (8, 8, 8, 8)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TargetStore:
    """Two targets: `me` has footage and narrow weights of its own, `photo` has neither."""
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))
    footage = tmp_path / "footage"
    footage.mkdir()
    write_clip(footage, "talk", *moving_portrait())
    config = WarpUNetConfig(8, NARROW, NARROW, NARROW)
    torch.manual_seed(1)
    weights = tmp_path / "narrow.safetensors"
    facts = {"architecture": "warp_unet", "config": json.dumps(asdict(config)), "data": "nobody"}
    save_model(weights, WarpUNet(config).state_dict(), facts)
    made = TargetStore()
    made.create(replace(portrait_target(), name="me"), weights, footage)
    made.create(replace(portrait_target(), name="photo"))
    return made


def test_weights_of_another_version_are_left_for_the_shipped_ones(
    store: TargetStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    weights = store.weights_path("me")
    assert weights is not None
    shipped = tmp_path / "shipped.safetensors"
    shutil.copy(weights, shipped)
    monkeypatch.setattr("reenact.training.fine_tuning.shipped_weights", lambda: shipped)
    facts = {"architecture": "warp_unet", "config": '{"max_residual_flow": 0.25}'}
    save_model(weights, {"bias": torch.zeros(1)}, facts)
    outcome = train_target(store, "me", minutes=10, device="cpu", steps=2)
    assert "cannot be used any more" in caplog.text
    assert np.isfinite(outcome.before["score"])


def test_trained_weights_are_kept_with_the_target(store: TargetStore) -> None:
    before = store.weights_path("me")
    assert before is not None
    old = before.read_bytes()
    outcome = train_target(store, "me", minutes=10, device="cpu", steps=6)
    weights = Path(store.load("me").weights or "")
    assert (outcome.weights is not None) == (weights.read_bytes() != old)
    if outcome.weights is not None:
        assert "frames of one target" in read_header(weights)["data"]
        assert outcome.after["score"] > outcome.before["score"]
    assert cv2.imread(str(preview_path(training_folder(store, "me")))) is not None


def test_ctrl_c_ends_it_with_130_and_a_target_that_is_whole(store: TargetStore) -> None:
    """In a process of its own, interrupted as soon as the preview is there."""
    arguments = ["target", "train", "me", "--minutes", "30", "--device", "cpu"]
    command = f"from reenact.cli.main import main; raise SystemExit(main({arguments}))"
    preview = preview_path(training_folder(store, "me"))
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        while not preview.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        text, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    assert "preview.png" in text
    assert "stopped before it got better" in text or "in use from now on" in text
    assert store.load("me").weights is not None
    assert np.array_equal(store.load("me").references, portrait_target().references)
    assert (training_folder(store, "me") / "state.safetensors").exists()


def test_a_photo_alone_is_told_what_helps(
    store: TargetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["target", "train", "photo"]) == 2
    told = capsys.readouterr()
    assert "a video of half a minute" in told.err
    assert not told.out, "told of a training that never began"
    assert main(["target", "train", "nobody"]) == 2
    assert "no target 'nobody'" in capsys.readouterr().err
    assert main(["target", "train", "astronaut"]) == 2
    assert "built in" in capsys.readouterr().err


def test_each_outcome_is_told() -> None:
    start = {"score": 30.0, "picture_face_psnr": 22.0, "picture_sharpness": 0.9}
    better = {"score": 32.0, "picture_face_psnr": 23.5, "picture_sharpness": 0.95}
    kept = summary("me", TrainingOutcome(start, better, Path("best.safetensors"), False))
    assert "22.00 -> 23.50" in kept
    assert "in use from now on" in kept
    assert "did not get better" in summary("me", TrainingOutcome(start, dict(start), None, False))
    assert "--resume" in summary("me", TrainingOutcome(start, start, None, True))
