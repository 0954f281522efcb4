"""`reenact target train` on a stored target, with a narrow network."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from reenact.cli.main import main
from reenact.errors import TargetError
from reenact.models.weights import read_header, save_model
from reenact.targets import target_training
from reenact.targets.additions import add_videos
from reenact.targets.store import TargetStore
from reenact.targets.target_training import (
    TrainingOutcome,
    preview_path,
    summary,
    train_target,
    training_folder,
)
from reenact.testing.moving_portrait import moving_portrait, write_clip
from reenact.training import fine_tuning
from support.faces import portrait_target
from support.fakes import FakeTracker
from support.targets import write_narrow_weights


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    write_clip(folder, "talk", *moving_portrait())
    return folder


@pytest.fixture(scope="module")
def narrow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_narrow_weights(tmp_path_factory.mktemp("weights") / "narrow.safetensors")


@pytest.fixture
def store(footage: Path, narrow_weights: Path) -> TargetStore:
    """Two targets: `me` has footage and narrow weights of its own, `photo` has neither."""
    made = TargetStore()
    made.create(replace(portrait_target(), name="me"), narrow_weights, footage)
    made.create(replace(portrait_target(), name="photo"))
    return made


def train_briefly(
    store: TargetStore,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    rate: float = 3e-3,
    begun: Callable[[Path], None] = lambda preview: None,
) -> TrainingOutcome:
    """Train on small pictures with a high rate: seconds."""
    for name, value in (("BATCH_SIZE", 4), ("LEARNING_RATE", rate), ("VALIDATE_EVERY", 20)):
        monkeypatch.setattr(fine_tuning, f"_{name}", value)
    monkeypatch.setattr(target_training, "SIZE_PX", 64)
    return train_target(store, "me", minutes=10, device="cpu", steps=steps, begun=begun)


def weights_of(store: TargetStore) -> bytes:
    weights = store.weights_path("me")
    assert weights is not None
    return weights.read_bytes()


def test_better_weights_are_kept_with_the_target(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights_of(store)
    previews: list[Path] = []
    outcome = train_briefly(store, monkeypatch, steps=40, begun=previews.append)
    assert outcome.weights is not None
    assert outcome.after["score"] > outcome.before["score"] + 0.05
    assert outcome.after["picture_face_psnr"] > outcome.before["picture_face_psnr"]
    assert weights_of(store) == outcome.weights.read_bytes() != before
    kept = store.load("me")
    assert kept.renderer == "warp_unet"
    facts = read_header(Path(kept.weights or ""))
    assert "frames of one target, from weights of: nobody" in facts["data"]
    assert previews == [preview_path(training_folder(store, "me"))]
    assert cv2.imread(str(previews[0])) is not None


def test_weights_that_did_not_get_better_are_not_kept(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights_of(store)
    outcome = train_briefly(store, monkeypatch, steps=2, rate=0.0)
    assert outcome.weights is None
    assert not outcome.stopped
    assert weights_of(store) == before


def test_a_target_is_trained_once_at_a_time(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a second process, which is killed; then by this one, which tries again meanwhile."""
    code = (
        "import sys, time\n"
        "from reenact.targets.store import TargetStore\n"
        "from reenact.targets.target_training import train_target\n"
        "wait = lambda preview: (print('begun', flush=True), time.sleep(600))\n"
        "train_target(TargetStore(), 'me', minutes=1, device='cpu', begun=wait)\n"
    )
    refused = pytest.raises(TargetError, match="me is being trained; wait")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        with refused:
            train_briefly(store, monkeypatch, steps=1)
        with refused:
            store.remove("me")
        with refused:
            store.rename("me", "you")
        other.kill()

    def train_again(preview: Path) -> None:
        with refused:
            add_videos(store, "me", [], FakeTracker(None))

    train_briefly(store, monkeypatch, steps=1, begun=train_again)


@pytest.mark.slow
@pytest.mark.parametrize("config", ['{"max_residual_flow": 0.25}', "{}"])
def test_weights_of_another_version_give_way_to_the_shipped_ones(
    config: str,
    store: TargetStore,
    narrow_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    weights = store.weights_path("me")
    assert weights is not None
    monkeypatch.setattr(fine_tuning, "SHIPPED_WEIGHTS", narrow_weights)
    facts = {"architecture": "warp_unet", "config": config}
    save_model(weights, {"bias": torch.zeros(1)}, facts)
    train_briefly(store, monkeypatch, steps=2)
    assert "is of another version" in caplog.text
    start = training_folder(store, "me") / "start.safetensors"
    assert start.read_bytes() == narrow_weights.read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130_and_leaves_the_target_whole(store: TargetStore) -> None:
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
    assert str(preview) in text
    assert "Stopped after" in errors[errors.index("Stopping and saving ...") :]
    assert "me was stopped before it got better" in text
    assert store.load("me").weights is not None
    assert np.array_equal(store.load("me").references, portrait_target().references)
    assert (training_folder(store, "me") / "state.safetensors").exists()


def test_what_cannot_be_trained_is_told_what_helps(
    store: TargetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["target", "train", "photo"]) == 2
    told = capsys.readouterr()
    assert "add one of half a minute with `reenact target add photo --from VIDEO`" in told.err
    assert not told.out, "announces a training that never started"
    images, landmarks = moving_portrait()
    write_clip(tmp_path, "short", images[:9], landmarks[:9])
    store.create(replace(portrait_target(), name="short"), footage=tmp_path)
    assert main(["target", "train", "short"]) == 2
    told = capsys.readouterr()
    assert "fewer than 24 frames" in told.err
    assert "`reenact target add NAME --from VIDEO`" in told.err
    assert not told.out, "announces a training that never started"
    weights = store.weights_path("me")
    assert weights is not None
    store.attach_weights("me", weights, "tint")
    assert main(["target", "train", "me", "--renderer", "warp_unet"]) == 2
    told = capsys.readouterr()
    assert "me has weights that were trained for tint" in told.err
    assert not told.out, "announces a training that never started"
    assert main(["target", "train", "me", "--renderer", "warp_unte"]) == 2
    assert "Did you mean warp_unet?" in capsys.readouterr().err
    assert main(["target", "train", "nobody"]) == 2
    assert "no target 'nobody'" in capsys.readouterr().err
    assert main(["target", "train", "astronaut"]) == 2
    assert "built in" in capsys.readouterr().err


def test_each_outcome_is_summarised() -> None:
    start = {"score": 30.0, "picture_face_psnr": 22.0, "picture_sharpness": 0.9}
    better = {"score": 32.0, "picture_face_psnr": 23.5, "picture_sharpness": 0.95}
    kept = summary("me", TrainingOutcome(start, better, Path("best.safetensors"), False))
    assert "22.00 -> 23.50" in kept
    assert "in use from now on" in kept
    unchanged = TrainingOutcome(start, dict(start), None, False)
    assert "did not make me visibly better (PSNR" in summary("me", unchanged)
    for outcome in (unchanged, replace(unchanged, after=better, weights=Path("best.safetensors"))):
        assert "Train it again to go on." in summary("me", replace(outcome, stopped=True))
        assert "Train it again" not in summary("me", outcome)
