"""What the plugins that are driven by emotions have in common in their tests."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.config import RendererSettings
from reenact.evaluation.clips import first_frame_target, read_clip
from reenact.evaluation.emotions import emotion_drive
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.evaluation.recognition import shipped_recogniser
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.registry import import_object, load
from reenact.targets.library import (
    built_in_portrait,
    resize_target,
    still_tracker,
    target_from_image,
)
from reenact.testing.portrait import drive, portrait_target
from reenact.testing.weights import people, train_two_steps
from reenact.training.faces.material import FaceMaterial
from reenact.training.recipes import run_config
from reenact.types import Array, Drive, Image


def face_batch(material: FaceMaterial, count: int) -> dict[str, Tensor]:
    """Return a batch of faces."""
    drawn = material.draw(np.random.default_rng(0), count)
    return {name: torch.from_numpy(values) for name, values in drawn.items()}


def emotional(name: str, intensity: float = 1.0) -> Drive:
    """Return the drive of a still face that shows an emotion."""
    shown = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index(name)]
    still = drive(portrait_target().neutral)
    return Drive(still.landmarks, still.expression, shown, intensity)


def check_it_resumes_and_shows_emotions(name: str, settings: str, folder: Path) -> Path:
    """Train two steps and a third, ask the renderer for emotions, and return the weights."""
    weights = train_two_steps(name, folder, settings)
    assert run_config(folder / f"{name}.toml", True, ["steps=3"]).step == 3
    made = RendererSettings(name=name, weights=str(weights), engine="torch")
    renderer = load("renderers", name).make(made)
    target = first_frame_target(read_clip(people() / "val" / "other_portrait__01.mp4"), "")
    renderer.prepare(target)

    def change(emotion: str, intensity: float = 1.0) -> Image:
        drawn = renderer.render(emotional(emotion, intensity))
        return np.asarray(cv2.absdiff(drawn, target.references[0]), np.uint8)

    assert not change("neutral").any()
    assert not change("happy", 0.0).any()
    # So faint that every renderer holds most of its change back: of a network that has learned
    # nothing, half of the motion may change a picture as much as all of it.
    faint = change("happy", 0.02)
    assert faint.any()
    assert faint.sum() < change("happy").sum() / 2
    assert (change("happy") != change("sad")).any()
    assert not change("happy")[:4].any()  # beside the face the photo stays
    check_export(name, weights, folder)
    return weights


def check_shipped_weights(name: str) -> None:
    """Check that most emotions are believed more where they are asked for, of the demo's calm face.

    Which ones are not differs with the precision that is fastest on a machine.
    """
    renderer = load("renderers", name).make(RendererSettings(name=name))
    with closing(still_tracker()) as tracker:
        target = target_from_image("robin", built_in_portrait("robin"), tracker)
    target = resize_target(target, 256)
    renderer.prepare(target)
    assert np.array_equal(renderer.render(emotional("neutral")), target.references[0])
    with FaceReader() as reader:
        rest: Array | None = None
        believed = []
        for emotion in EMOTIONS:
            points = reader.track(renderer.render(emotion_drive(target, emotion, 1.0)))
            assert points is not None
            if rest is None:
                rest = to_face_frame(points, estimate_pose(points))
            deviation = own_shape(points, rest) - rest
            believed.append(shipped_recogniser().probabilities(deviation[None])[0])
    more = (np.array(believed) - believed[0]).diagonal()[1:]
    assert (more > 0).sum() > len(more) / 2, more
    assert more.mean() > 0.03, more  # of a copy it would be 0


def check_export(name: str, weights: Path, folder: Path) -> None:
    """Export a generator, which reads its file back and compares, and look at its description."""
    exporter = load("renderers", name).export
    assert exporter is not None
    lines = list(import_object(exporter)(folder / "exported", "openvino", 256, weights))
    assert "differs from torch by at most" in lines[0]
    told = json.loads((folder / "exported" / "export.json").read_text(encoding="utf-8"))
    (network,) = told["networks"].values()
    conditions = network["inputs"]["condition"]
    assert len(conditions["meaning"].split(", ")) == conditions["shape"][1]
    assert network["inputs"]["face"]["shape"] == network["outputs"]["drawn"]["shape"]
