"""Every renderer: its inputs, its output, and its declared capabilities."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.config import RendererSettings
from reenact.errors import ModelError, NoWeightsError, PluginError
from reenact.evaluation.clips import first_frame_target, read_clip
from reenact.face.geometry import canonical_face, crop_transform, to_image, transform_points
from reenact.live.drives import landmark_drive, still_expression
from reenact.targets.footage import Footage
from reenact.targets.target_training import TrainingOptions, target_trainer
from reenact.testing.moving_portrait import moving_portrait
from reenact.testing.weights import people, train_two_steps, untrained_weights
from reenact.types import Array, Drive, Pose, Renderer, Target

SIZE_PX = 256
SMALL_PX = 64
"""Side of the pictures that are trained on and exported."""

NAMES = registry.available("renderers")


def having(capability: str) -> list[str]:
    """Return the renderers whose spec declares a capability."""
    found = []
    for name in NAMES:
        with contextlib.suppress(PluginError):  # a broken one fails its own test, not all
            found += [name] if getattr(registry.load("renderers", name), capability) else []
    return found


@pytest.fixture(scope="session")
def target() -> Target:
    """A target with two references: a face's landmarks on smooth colours."""
    points = neutral_landmarks()
    across = np.linspace(40, 220, SIZE_PX)
    picture = np.stack(
        [
            np.broadcast_to(across, (SIZE_PX, SIZE_PX)),
            np.broadcast_to(across[:, None], (SIZE_PX, SIZE_PX)),
            np.full((SIZE_PX, SIZE_PX), 128.0),
        ],
        axis=-1,
    ).astype(np.uint8)
    turned = points + np.float32(3.0)
    return Target(
        name="contract",
        references=np.stack([picture, np.roll(picture, 3, axis=(0, 1))]),
        landmarks=np.stack([points, turned]),
        neutral=points,
        plate=picture.copy(),
        crop_to_plate=np.eye(2, 3, dtype=np.float32),
    )


def neutral_landmarks() -> Array:
    shape = canonical_face()
    points = to_image(shape, Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 60.0))
    return transform_points(points, crop_transform(points, SIZE_PX))


def drive_at(index: int, shift_px: float = 0.0) -> Drive:
    landmarks = neutral_landmarks() + np.array([shift_px, shift_px / 2, 0.0], np.float32)
    return Drive(landmarks, still_expression(), time_s=index / 25.0, dt_s=0.04 if index else 0.0)


def opened(name: str, target: Target) -> Renderer:
    """Return a renderer that can draw; one without weights gets untrained ones of its recipe."""
    spec = registry.load("renderers", name)
    settings = RendererSettings(name=name, size=SIZE_PX, device="cpu", threads=1)
    renderer = spec.make(settings)
    assert isinstance(renderer, Renderer)
    try:
        renderer.prepare(target)
    except NoWeightsError:
        assert not spec.from_photo, "it declares that it can draw without training"
        assert spec.recipe, "it needs weights, but no recipe makes them"
        weights = str(untrained_weights(name))
        renderer = spec.make(settings.model_copy(update={"weights": weights, "engine": "torch"}))
        renderer.prepare(target)
    return renderer


@pytest.fixture
def renderer(request: pytest.FixtureRequest, target: Target) -> Renderer:
    """A renderer that can draw."""
    return opened(request.param, target)


every_renderer = pytest.mark.parametrize("renderer", NAMES, indirect=True)


@every_renderer
def test_renderer_draws_and_leaves_its_inputs_alone(renderer: Renderer, target: Target) -> None:
    references, points = target.references.copy(), target.landmarks.copy()
    renderer.prepare(target)
    drive = drive_at(0, shift_px=4.0)
    landmarks = drive.landmarks.copy()
    image = renderer.render(drive)
    assert image.dtype == np.uint8
    assert image.shape == (SIZE_PX, SIZE_PX, 3)
    assert image.flags.c_contiguous
    assert renderer.device == "cpu"
    assert np.array_equal(drive.landmarks, landmarks)
    assert np.array_equal(target.references, references)
    assert np.array_equal(target.landmarks, points)
    kept = image.copy()
    renderer.render(drive_at(1, shift_px=-8.0))
    assert np.array_equal(image, kept), "the next frame overwrote a picture that was returned"


@every_renderer
def test_renderer_forgets_earlier_frames_when_reset(renderer: Renderer, target: Target) -> None:
    renderer.prepare(target)
    first = renderer.render(drive_at(0))
    for index in range(1, 4):
        renderer.render(drive_at(index, shift_px=6.0 * index))
    renderer.reset()
    again = renderer.render(drive_at(0))
    assert np.abs(again.astype(int) - first.astype(int)).max() <= 2


@pytest.mark.parametrize("name", NAMES)
def test_renderer_takes_another_target(name: str, target: Target) -> None:
    """It draws like one that never saw the first; untrained networks hardly distinguish them."""
    inverted = (255 - target.references).astype(np.uint8)
    other = replace(target, name="other", references=inverted)
    renderer = opened(name, target)
    first = renderer.render(drive_at(0))
    renderer.prepare(other)
    changed = renderer.render(drive_at(0)).astype(int)
    alone = opened(name, other).render(drive_at(0))
    assert np.abs(changed - alone).max() <= 2
    assert (changed != first).any()


@pytest.mark.parametrize("name", having("recipe"))
def test_missing_weights_are_named(name: str, target: Target, tmp_path: Path) -> None:
    path = str(tmp_path / "none.safetensors")
    settings = RendererSettings(name=name, size=SIZE_PX, device="cpu", weights=path)
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        registry.load("renderers", name).make(settings).prepare(target)


@pytest.mark.slow
@pytest.mark.parametrize("name", having("recipe"))
def test_recipe_trains_weights_that_the_renderer_draws_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # caches are made in the working folder
    weights = train_two_steps(name, tmp_path)
    settings = RendererSettings(name=name, device="cpu", engine="torch", weights=str(weights))
    renderer = registry.load("renderers", name).make(settings)
    clip = read_clip(people() / "val" / "other_portrait__01.mp4")
    renderer.prepare(first_frame_target(clip, name))
    assert renderer.render(landmark_drive(clip.landmarks[8])).shape == (SIZE_PX, SIZE_PX, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", having("target_training"))
def test_target_training_ends_with_weights_or_without(name: str, tmp_path: Path) -> None:
    images, landmarks = moving_portrait()
    footage = Footage(images, landmarks).resized(SMALL_PX)
    options = TrainingOptions(tmp_path / "training", steps=2, size_px=SMALL_PX)
    outcome = target_trainer(name)([footage], None, options)
    assert not outcome.stopped
    assert outcome.before
    assert outcome.before.keys() == outcome.after.keys()
    assert np.isfinite([*outcome.before.values(), *outcome.after.values()]).all()
    assert outcome.weights is None or outcome.weights.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", having("export"))
def test_export_describes_the_files_that_it_writes(name: str, tmp_path: Path) -> None:
    spec = registry.load("renderers", name)
    assert spec.export is not None
    weights = None if spec.from_photo else untrained_weights(name)
    lines = list(registry.import_object(spec.export)(tmp_path, "openvino", SMALL_PX, weights))
    told = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert lines
    assert told["networks"]
    for file, network in told["networks"].items():
        assert (tmp_path / file).stat().st_size > 0
        for value in (*network["inputs"].values(), *network["outputs"].values()):
            assert value["shape"]
            assert value["meaning"]
