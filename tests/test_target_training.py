"""`reenact target train` on a stored target, with a narrow network."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from faces import portrait_target
from moving_portrait import moving_portrait, write_clip

from reenact.cli import main
from reenact.models.files import read_header, save_model
from reenact.models.warp_unet import WarpUNet, WarpUNetConfig
from reenact.target_store import TargetStore
from reenact.target_training import preview_path, summary, train_target, training_folder
from reenact.training.personal import Outcome

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


@pytest.fixture
def interrupted_at_the_first_preview(store: TargetStore) -> Iterator[None]:
    """Press Ctrl-C as soon as the preview is there."""
    preview = preview_path(training_folder(store, "me"))
    ended = threading.Event()

    def press() -> None:
        while not ended.is_set():
            if preview.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=press)
    thread.start()
    yield
    ended.set()
    thread.join()


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


def test_ctrl_c_ends_it_with_130_and_a_target_that_is_whole(
    store: TargetStore,
    interrupted_at_the_first_preview: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["target", "train", "me", "--minutes", "30", "--device", "cpu"]) == 130
    signal.signal(signal.SIGINT, before)
    text = capsys.readouterr().out
    assert "preview.png" in text
    assert "stopped before it got better" in text or "in use from now on" in text
    assert store.load("me").weights is not None
    assert np.array_equal(store.load("me").references, portrait_target().references)
    assert (training_folder(store, "me") / "state.safetensors").exists()


def test_a_photo_alone_is_told_what_helps(
    store: TargetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["target", "train", "photo"]) == 2
    assert "a video of half a minute" in capsys.readouterr().err
    assert main(["target", "train", "nobody"]) == 2
    assert "no target 'nobody'" in capsys.readouterr().err
    assert main(["target", "train", "astronaut"]) == 2
    assert "built in" in capsys.readouterr().err


def test_each_outcome_is_told() -> None:
    start = {"score": 30.0, "picture_face_psnr": 22.0, "picture_sharpness": 0.9}
    better = {"score": 32.0, "picture_face_psnr": 23.5, "picture_sharpness": 0.95}
    kept = summary("me", Outcome(start, better, Path("best.safetensors"), False))
    assert "22.00 -> 23.50 dB" in kept
    assert "in use from now on" in kept
    assert "did not get better" in summary("me", Outcome(start, dict(start), None, False))
    assert "--resume" in summary("me", Outcome(start, start, None, True))
