"""Fine-tuning on one target, with a small network on a clip made from the portrait."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file

from reenact.config import RendererSettings
from reenact.errors import ModelError, TargetError
from reenact.evaluation.clips import crop_target
from reenact.face.geometry import region_mask
from reenact.face.topology import LIPS_INNER
from reenact.models.weights import load_arrays, read_header, save_model
from reenact.rendering.warp_unet import WarpUNetRenderer, person_coverage
from reenact.targets.footage import Footage
from reenact.targets.target_training import TrainingOptions, TrainingOutcome, preview_path
from reenact.testing.moving_portrait import moving_portrait
from reenact.training import fine_tuning
from reenact.training.augmentation import Pair
from reenact.training.fine_tuning import (
    is_better,
    train_on_target,
)
from reenact.training.target_pairs import TargetClip
from reenact.training.warp_unet import collate
from support.faces import drive
from support.targets import write_narrow_weights

SIZE_PX = 64


@pytest.fixture(scope="module")
def footage() -> Footage:
    """The portrait, with a red tongue that only an open mouth shows."""
    images, landmarks = moving_portrait()
    for image, points in zip(images, landmarks, strict=True):
        image[region_mask(points, LIPS_INNER, image.shape[0]) > 128] = (230, 30, 30)
    return Footage(images, landmarks).resized(SIZE_PX)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_narrow_weights(tmp_path_factory.mktemp("start") / "start.safetensors")


@pytest.fixture(scope="module", autouse=True)
def small_steps() -> Iterator[None]:
    """Let trainings learn in a few steps."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fine_tuning, "_BATCH_SIZE", 4)
        patched.setattr(fine_tuning, "_LEARNING_RATE", 3e-3)
        patched.setattr(fine_tuning, "_VALIDATE_EVERY", 8)
        yield


def options_in(folder: Path, steps: int) -> TrainingOptions:
    return TrainingOptions(folder / "training", steps=steps, size_px=SIZE_PX)


@dataclass
class Tuning:
    """What a test trains with; `run` changes options."""

    footage: Footage
    start: Path
    options: TrainingOptions

    def run(
        self,
        *,
        steps: int = 16,
        stop: Callable[[], bool] = lambda: False,
    ) -> TrainingOutcome:
        options = replace(self.options, steps=steps)
        return train_on_target([self.footage], self.start, options, stop=stop)

    def steps(self) -> list[int]:
        """Return the steps of the validations."""
        lines = (self.options.folder / "history.jsonl").read_text().splitlines()
        return [json.loads(line)["step"] for line in lines]


@pytest.fixture
def tuning(footage: Footage, start: Path, tmp_path: Path) -> Tuning:
    return Tuning(footage, start, options_in(tmp_path, 16))


def stopping_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= steps


@pytest.fixture(scope="module")
def trained(
    footage: Footage, start: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingOutcome, TrainingOptions]:
    options = options_in(tmp_path_factory.mktemp("trained"), 80)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fine_tuning, "_VALIDATE_EVERY", 40)
        return train_on_target([footage], start, options), options


def test_the_row_of_a_frame_is_composed_as_the_general_training_does(tuning: Tuning) -> None:
    clip = TargetClip(tuning.footage)
    reference = clip.nearest_reference(9)
    picture, points = clip.images[reference], clip.landmarks[reference]
    (person,) = person_coverage([picture], points[None])
    assert 0 < person.mean() < 0.9 * 255, "without it the wall would move with the head"
    expected = collate([Pair(picture, points, clip.images[9], clip.landmarks[9], person)])
    for name, value in clip.row(9).items():
        assert np.array_equal(value, expected[name][0]), name
    noisy = clip.row(9, noise=np.full((478, 3), 0.5, np.float32))
    assert np.array_equal(noisy["truth"], expected["truth"][0])
    assert not np.array_equal(noisy["maps"], expected["maps"][0])


def test_it_ends_once_each_frame_was_drawn_often_enough(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "_MAX_PASSES", 2)
    monkeypatch.setattr(fine_tuning, "_VALIDATE_EVERY", 100)
    outcome = tuning.run(steps=1000)
    assert not outcome.stopped
    assert 1 <= tuning.steps()[-1] <= 2 * len(tuning.footage) / 4


def test_training_helps_on_held_out_frames(
    trained: tuple[TrainingOutcome, TrainingOptions],
) -> None:
    outcome, options = trained
    assert not outcome.stopped
    assert outcome.weights == options.folder / "best.safetensors"
    assert outcome.after["score"] > outcome.before["score"] + 0.05
    assert outcome.after["picture_face_psnr"] > outcome.before["picture_face_psnr"] + 0.2
    header = read_header(options.folder / "best.safetensors")
    assert "frames of one target, from weights of: nobody" in header["data"]


def test_what_is_kept_lies_between_the_start_and_what_was_learned(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "_VALIDATE_EVERY", 16)
    outcome = tuning.run(steps=17, stop=stopping_after(16))
    assert outcome.weights is not None
    begun, kept = (load_arrays(path, "warp_unet") for path in (tuning.start, outcome.weights))
    state = load_file(tuning.options.folder / "state.safetensors")
    moved = 0.0
    for name, value in kept.items():
        if not name.endswith("num_batches_tracked"):
            learned = state[f"network/averaged/module.{name}"].numpy()
            between = begun[name] + fine_tuning._LEARNED_SHARE * (learned - begun[name])
            np.testing.assert_allclose(value, between, atol=2e-3, rtol=2e-3)
            moved = max(moved, float(np.abs(learned - begun[name]).max()))
    assert moved > 0.02, "something must have been learned"


def test_the_preview_shows_truth_start_and_now(
    trained: tuple[TrainingOutcome, TrainingOptions],
) -> None:
    sheet = cv2.imread(str(preview_path(trained[1].folder)))
    assert sheet.shape[1] == 3 * (256 + 4) + 4
    assert sheet.shape[0] > 2 * 256
    start, now = (sheet[60:240, 4 + i * 260 : 260 + i * 260].astype(int) for i in (1, 2))
    assert np.abs(start - now).mean() > 0.2


def drawn_by(weights: Path, footage: Footage) -> NDArray[np.uint8]:
    """Let the renderer draw two late frames from the first one."""
    target = crop_target("me", footage.images[0], footage.landmarks[0], "auto")
    renderer = WarpUNetRenderer(RendererSettings(engine="torch", device="cpu"))
    renderer.prepare(replace(target, weights=str(weights)))
    return np.stack([renderer.render(drive(points)) for points in footage.landmarks[29:31]])


def test_the_renderer_draws_by_the_trained_weights(
    trained: tuple[TrainingOutcome, TrainingOptions], footage: Footage, start: Path
) -> None:
    errors = []
    assert trained[0].weights is not None
    for weights in (start, trained[0].weights):
        error = drawn_by(weights, footage) - footage.images[29:31].astype(int)
        errors.append(float(np.abs(error).mean()))
    assert errors[1] < errors[0]


def test_the_start_is_kept_where_training_harms(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "_LEARNING_RATE", 0.0)
    outcome = tuning.run(steps=4)
    assert outcome.weights is None
    assert outcome.after["score"] == pytest.approx(outcome.before["score"], abs=0.05)
    monkeypatch.setattr(fine_tuning, "_LEARNED_SHARE", 3.0)  # far beyond what was learned
    monkeypatch.setattr(fine_tuning, "_LEARNING_RATE", 0.03)
    wild = tuning.run(steps=8)
    assert wild.after["score"] < wild.before["score"]
    assert wild.weights is None


def test_a_stopped_training_goes_on(tuning: Tuning) -> None:
    stopped = tuning.run(stop=stopping_after(10))
    assert stopped.stopped
    assert tuning.steps()[0] == 8
    assert max(tuning.steps()) <= 10
    ended = tuning.run()
    assert not ended.stopped
    assert tuning.steps() == [8, 10, 16]
    assert ended.before == pytest.approx(stopped.before)
    assert ended.after["score"] >= stopped.after["score"]


def test_a_training_that_goes_on_compares_with_its_own_start(
    tuning: Tuning, tmp_path: Path
) -> None:
    """By then the target has the better weights, which lie between start and learned ones."""
    stopped = tuning.run(stop=stopping_after(10))
    better = Path(shutil.copy(tuning.options.folder / "best.safetensors", tmp_path))
    ended = replace(tuning, start=better).run()
    assert ended.before == pytest.approx(stopped.before)
    anew = replace(tuning, start=better).run(steps=1)
    assert anew.before["score"] == pytest.approx(stopped.after["score"], abs=1e-3)
    assert anew.before != pytest.approx(stopped.before)


def test_a_training_on_other_footage_begins_anew(tuning: Tuning) -> None:
    tuning.run(stop=stopping_after(10))
    moved = Footage(tuning.footage.images, tuning.footage.landmarks + 1)
    replace(tuning, footage=moved).run(steps=4)
    assert tuning.steps() == [4]


@pytest.mark.parametrize("damaged", ["start.safetensors", "state.safetensors"])
def test_a_training_whose_files_are_damaged_begins_anew(tuning: Tuning, damaged: str) -> None:
    tuning.run(stop=stopping_after(10))
    path = tuning.options.folder / damaged
    path.write_bytes(path.read_bytes()[:-1])
    tuning.run(steps=4)
    assert tuning.steps() == [4]


def test_weights_that_were_kept_before_the_first_state_are_no_obstacle(tuning: Tuning) -> None:
    """As after a kill between the two."""
    tuning.run(stop=stopping_after(10))
    (tuning.options.folder / "state.safetensors").unlink()
    tuning.run(steps=4)
    assert tuning.steps() == [4]


def test_a_training_stopped_before_its_first_step_changes_nothing(tuning: Tuning) -> None:
    outcome = tuning.run(stop=stopping_after(0))
    assert outcome.stopped
    assert outcome.weights is None
    assert preview_path(tuning.options.folder).exists()


def test_a_new_training_removes_the_earlier_one(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    for steps in (2, 4):
        monkeypatch.setattr(fine_tuning, "_VALIDATE_EVERY", steps)
        tuning.run(steps=4)
    assert tuning.steps() == [4]


def test_what_cannot_be_trained_is_reported(tuning: Tuning) -> None:
    short = Footage(tuning.footage.images[:9], tuning.footage.landmarks[:9])
    for clips in ([], [short]):
        with pytest.raises(TargetError, match="half a minute of video"):
            train_on_target(clips, tuning.start, tuning.options)
    other = tuning.start.with_name("other.safetensors")
    save_model(other, {}, {"architecture": "other"})
    with pytest.raises(ModelError, match="warp_unet"):
        replace(tuning, start=other).run()


def test_what_is_refused_leaves_the_earlier_training(tuning: Tuning) -> None:
    tuning.run(stop=stopping_after(1))
    short = Footage(tuning.footage.images[:9], tuning.footage.landmarks[:9])
    with pytest.raises(TargetError):
        replace(tuning, footage=short).run()
    assert (tuning.options.folder / "state.safetensors").exists()


def test_better_means_a_score_that_is_seen_and_no_lower_psnr() -> None:
    start = {"score": 30.0, "picture_face_psnr": 21.0}
    assert is_better(start, {"score": 30.4, "picture_face_psnr": 21.1})
    assert not is_better(start, {"score": 30.2, "picture_face_psnr": 21.1})
    assert not is_better(start, {"score": 31.0, "picture_face_psnr": 20.9})
