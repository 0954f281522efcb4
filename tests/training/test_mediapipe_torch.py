"""The tracker's landmark network in torch."""

from __future__ import annotations

from contextlib import closing

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from reenact.config import TrackingSettings
from reenact.face.geometry import transform_points
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.topology import (
    BROW_LEFT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
)
from reenact.imaging import crop_image
from reenact.training.losses import landmark_distance
from reenact.training.mediapipe_torch import FaceMeshNetwork, face_crop
from reenact.types import Array, Frame, Image
from support.faces import portrait_target


@pytest.fixture(scope="module")
def network() -> FaceMeshNetwork:
    return FaceMeshNetwork()


@pytest.fixture(scope="module")
def portrait() -> tuple[Image, Array]:
    """A photo's crop and the landmarks that MediaPipe itself reads in it."""
    picture = portrait_target().references[0]
    with closing(MediaPipeTracker(TrackingSettings(), static=True)) as tracker:
        found = tracker.track(Frame(picture, 0.0, 0))
    assert found is not None
    return picture, found.points


def unit(picture: Image) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def read(network: FaceMeshNetwork, picture: Image, points: Array) -> Array:
    """Return (478, 2) px."""
    with torch.no_grad():
        found = network(unit(picture), torch.from_numpy(face_crop(points, len(picture)))[None])
    return np.asarray((found[0].numpy() + 1) * (len(picture) / 2), np.float32)


def iod(points: Array) -> float:
    return float(np.linalg.norm(points[33, :2] - points[263, :2]))


def test_it_reads_what_mediapipe_reads(
    network: FaceMeshNetwork, portrait: tuple[Image, Array]
) -> None:
    picture, points = portrait
    found = read(network, picture, points)
    away = np.linalg.norm(found - points[:, :2], axis=1) / iod(points)
    for part in (EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, LIPS_OUTER, BROW_LEFT):
        assert away[list(part)].max() < 0.03
    assert np.median(away) < 0.015


def test_a_turned_face_is_read_upright(
    network: FaceMeshNetwork, portrait: tuple[Image, Array]
) -> None:
    picture, points = portrait
    side = len(picture)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 25, 0.9).astype(np.float32)
    there = read(network, crop_image(picture, turn, side), transform_points(points, turn))
    here = read(network, picture, points)
    away = np.linalg.norm(there - here @ turn[:, :2].T - turn[:, 2], axis=1)
    assert np.median(away) < 0.02 * iod(points)


def test_a_lowered_chin_is_read_with_a_gradient_at_the_mouth(
    network: FaceMeshNetwork, portrait: tuple[Image, Array]
) -> None:
    picture, points = portrait
    crop = torch.from_numpy(face_crop(points, len(picture)))[None]
    top, bottom = points[0, 1], points[17, 1]
    rows = np.arange(len(picture), dtype=np.float32)
    pull = np.clip((rows - top) / (bottom - top), 0, 2)  # everything below the nose moves down
    map_y = np.repeat((rows - 0.08 * iod(points) * pull)[:, None], len(picture), 1)
    map_x = np.repeat(rows[None], len(picture), 0)
    moved = cv2.remap(picture, map_x, map_y.astype(np.float32), cv2.INTER_LINEAR)
    with torch.no_grad():
        wanted = network(unit(picture), crop)
    drawn = unit(np.asarray(moved, np.uint8)).requires_grad_()
    error = landmark_distance(network(drawn, crop), wanted)
    assert error > 5 * landmark_distance(wanted, wanted)
    error.backward()  # type: ignore[no-untyped-call]
    assert drawn.grad is not None
    slope = drawn.grad.abs().sum((0, 1))
    assert torch.isfinite(slope).all()
    mouth = slope[int(top) - 5 : int(bottom) + 5, int(points[61, 0]) : int(points[291, 0])]
    assert mouth.mean() > 3 * slope.mean()


def test_its_weights_are_constants(network: FaceMeshNetwork) -> None:
    assert not list(network.parameters())
    assert not network.state_dict()
