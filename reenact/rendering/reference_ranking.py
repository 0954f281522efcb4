"""How far a driven face is from each reference, to choose the one to draw from."""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.types import Array, Pose

_TURN: Final = 0.1
_SHIFT: Final = 0.02
"""Iod of a changed shape that a radian of turn and an iod of shift count as: a shift costs a warp
little, but it cannot open a mouth or turn a cheek."""


class SeenFaces:
    """The faces of K references.

    Args:
        landmarks: (K, 478, 3) px.
    """

    def __init__(self, landmarks: Array) -> None:
        poses = [estimate_pose(points) for points in landmarks]
        fronts = [to_face_frame(*face)[:, :2] for face in zip(landmarks, poses, strict=True)]
        self._shapes = np.stack(fronts)
        self._poses = np.stack([_weighted(pose) for pose in poses])

    def __len__(self) -> int:
        return len(self._shapes)

    def distances(self, landmarks: Array) -> Array:
        """Return the (K,) distances of (478, 3) driven landmarks, px, from the faces, iod."""
        driven = SeenFaces(landmarks[None])
        changed = np.linalg.norm(self._shapes - driven._shapes, axis=-1).mean(axis=1)
        moved = np.linalg.norm(self._poses - driven._poses, axis=-1)
        return np.asarray(changed + moved, dtype=np.float32)


def _weighted(pose: Pose) -> Array:
    """Return turn and place, (5,), in what they count as."""
    place = pose.translation[:2] / pose.scale
    return np.concatenate([_TURN * rotation_vector(pose.rotation), _SHIFT * place])
