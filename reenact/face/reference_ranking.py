"""Distances of a driven face from the references, to choose the one to draw from."""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, mean_gap
from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.types import Array

_TURN: Final = 0.1
_SHIFT: Final = 0.02
"""Weights of a radian of rotation and an iod of translation, relative to an iod of change in shape.
A warp translates a face easily, but cannot open a mouth or turn a cheek well."""

_SHUT: Final = 0.4
"""Weight of an iod by which a reference's eyes are less open than the driven ones: a warp cannot
open a shut eye, but shuts an open one well."""

_LIDS: Final = np.stack([mean_gap(LID_PAIRS_RIGHT), mean_gap(LID_PAIRS_LEFT)])[..., 1]
"""(2, 478) weights of the landmarks' heights, whose sum is the opening of each eye."""


class SeenFaces:
    """The faces of K references.

    Args:
        landmarks: (K, 478, 3) px.
    """

    def __init__(self, landmarks: Array) -> None:
        poses = [estimate_pose(points) for points in landmarks]
        shapes = [to_face_frame(*face)[:, :2] for face in zip(landmarks, poses, strict=True)]
        self._shapes = np.stack(shapes)
        self._lids = self._shapes[..., 1] @ _LIDS.T
        turns = np.stack([rotation_vector(pose.rotation) for pose in poses])
        shifts = np.stack([pose.translation[:2] / pose.scale for pose in poses])
        self._poses = np.concatenate([_TURN * turns, _SHIFT * shifts], axis=1)

    def __len__(self) -> int:
        return len(self._shapes)

    def distances(self, landmarks: Array) -> Array:
        """Return the distances of driven landmarks, (478, 3) px, from the K faces, (K,) iod."""
        driven = SeenFaces(landmarks[None])
        changed = np.linalg.norm(self._shapes - driven._shapes, axis=-1).mean(axis=1)
        moved = np.linalg.norm(self._poses - driven._poses, axis=-1)
        shut = np.maximum(driven._lids - self._lids, 0).mean(axis=1)
        return np.asarray(changed + moved + _SHUT * shut, dtype=np.float32)
