"""How far a driven face is from each reference, to choose the one to draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.types import Array, Pose

_TURN: Final = 0.1
_SHIFT: Final = 0.02
"""Iod of a changed shape that a radian of turn and an iod of shift count as: a shift costs a warp
little, but it cannot open a mouth or turn a cheek."""


@dataclass(frozen=True, slots=True)
class SeenFaces:
    """K faces to compare with.

    Attributes:
        shapes: float32 (K, 478, 2), seen from the front, iod.
        poses: float32 (K, 5) turns and places, weighted.
    """

    shapes: Array
    poses: Array

    @classmethod
    def of(cls, landmarks: Array) -> SeenFaces:
        """Compute them from (K, 478, 3) landmarks, px."""
        poses = [estimate_pose(points) for points in landmarks]
        fronts = [to_face_frame(*face)[:, :2] for face in zip(landmarks, poses, strict=True)]
        return cls(np.stack(fronts), np.stack([_weighted(pose) for pose in poses]))

    def distances(self, landmarks: Array) -> Array:
        """Return the (K,) distances of (478, 3) driven landmarks, px, from the faces, iod."""
        driven = SeenFaces.of(landmarks[None])
        changed = np.linalg.norm(self.shapes - driven.shapes, axis=-1).mean(axis=1)
        moved = np.linalg.norm(self.poses - driven.poses, axis=-1)
        return np.asarray(changed + moved, dtype=np.float32)


def _weighted(pose: Pose) -> Array:
    place = pose.translation[:2] / pose.scale
    return np.concatenate([_TURN * rotation_vector(pose.rotation), _SHIFT * place])
