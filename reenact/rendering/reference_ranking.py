"""Distances between a driven face and each reference, to choose the reference to draw from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.face.regions import REGIONS, region_weights
from reenact.types import Array

DIFFERENCES: Final = (
    *REGIONS, "rest", "pitch", "yaw", "roll", "across", "along", "size",
)  # fmt: skip
"""Ways in which two faces differ: mean distance of each region's landmarks, and of the rest, seen
from the front, iod; head angles, radians; head position, iod; logarithm of the head's size."""

DECIBELS: Final = np.array([4.8, 21.3, 17.1, 13.6, 2.7, 4.4, 4.9, 1.6, 2.1, 7.0], np.float32)
"""PSNR lost per unit of each of `DIFFERENCES`, as measured by `tools.reference_weights`."""


@dataclass(frozen=True, slots=True)
class SeenFaces:
    """The features of K faces that are compared.

    Attributes:
        shapes: float32 (K, 478, 2), seen from the front, iod.
        turns: float32 (K, 3) rotation vectors, radians.
        places: float32 (K, 2) px.
        sizes: float32 (K,) px of an iod.
    """

    shapes: Array
    turns: Array
    places: Array
    sizes: Array

    @classmethod
    def of(cls, landmarks: Array) -> SeenFaces:
        """Compute them from (K, 478, 3) landmarks, px."""
        poses = [estimate_pose(points) for points in landmarks]
        return cls(
            np.stack([to_face_frame(*face) for face in zip(landmarks, poses, strict=True)])[
                ..., :2
            ],
            np.stack([rotation_vector(pose.rotation) for pose in poses]),
            np.stack([pose.translation[:2] for pose in poses]),
            np.array([pose.scale for pose in poses], np.float32),
        )


def differences(references: SeenFaces, landmarks: Array) -> Array:
    """Return float32 (K, 10) `DIFFERENCES` of references and (478, 3) driven landmarks, px."""
    pose = estimate_pose(landmarks)
    shape = to_face_frame(landmarks, pose)[:, :2]
    regions = np.linalg.norm(references.shapes - shape, axis=-1) @ _means().T
    turns = np.abs(references.turns - rotation_vector(pose.rotation))
    places = np.abs(references.places - pose.translation[:2]) / np.float32(pose.scale)
    sizes = np.abs(np.log(references.sizes / np.float32(pose.scale)))
    result = np.concatenate([regions, turns, places, sizes[:, None]], axis=1)
    return np.asarray(result, dtype=np.float32)


def reference_distances(references: SeenFaces, landmarks: Array) -> NDArray[np.float32]:
    """Return the (K,) distances, dB, between references and (478, 3) driven landmarks, px.

    Translation and scale cost a warp little, but it cannot open a mouth or turn a cheek.
    """
    return np.asarray(differences(references, landmarks) @ DECIBELS, dtype=np.float32)


@lru_cache(maxsize=1)
def _means() -> Array:
    """Return float32 (4, 478) weights of each region's landmarks and the rest; rows sum to 1."""
    regions = region_weights()
    weights = np.concatenate([regions, 1 - regions.sum(axis=0, keepdims=True)])
    weights = np.maximum(weights, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
