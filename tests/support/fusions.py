"""Fusions whose actor and target are two invented faces."""

from __future__ import annotations

import numpy as np

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.expression.fusion import Fusion
from reenact.expression.neutral_store import NeutralStore
from reenact.face.geometry import (
    canonical_face,
    crop_transform,
    rotation_matrix,
    to_image,
    transform_points,
)
from reenact.types import Array, Landmarks, Pose

FPS = 30.0
FRONT = Pose(np.eye(3, dtype=np.float32), np.array([320, 240, 0], np.float32), 90.0)


def another_face() -> Array:
    """Return a person with a wider mouth, narrower eyes and a longer face than the canonical."""
    face = canonical_face() * np.array([1.0, 1.06, 0.97], np.float32)
    around = np.exp(-(((face - face[14]) / 0.5) ** 2).sum(axis=1, keepdims=True))
    face = face + 0.15 * around * np.array([1, 0, 0], np.float32) * face
    upper = [159, 158, 160, 157, 161, 386, 385, 387, 384, 388]
    face[upper, 1] += 0.03
    return np.asarray(face, dtype=np.float32)


def target_points() -> Array:
    """Return `another_face` in its crop of 256 px, turned a little."""
    turn = rotation_matrix(np.array([0.05, -0.12, 0.04], np.float32))
    points = to_image(another_face(), Pose(turn, np.array([300, 200, 0], np.float32), 100.0))
    return transform_points(points, crop_transform(points, 256))


def in_picture(shape: Array, pose: Pose = FRONT) -> Landmarks:
    return Landmarks(to_image(shape, pose), 1.0, (640, 480))


def start(
    settings: FusionSettings | None = None,
    target: Array | None = None,
    neutral: Array | None = None,
    smooth: bool = False,
) -> Fusion:
    """Return a fusion whose actor rests and has said so, at 4 s."""
    fusion = Fusion(
        settings or FusionSettings(),
        SmoothingSettings(enabled=smooth),
        target_points() if target is None else target,
        ActorSettings(),
        neutrals=NeutralStore(),
    )
    rest = canonical_face() if neutral is None else neutral
    for number in range(60):
        if number == 15:
            fusion.set_neutral()
        fusion.express(in_picture(rest), 2 + number / FPS)
    return fusion
