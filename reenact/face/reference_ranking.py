"""Distances of a driven face from the references, to choose the one to draw from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, mean_gap
from reenact.face.geometry import estimate_pose, rotation_vector, to_face_frame
from reenact.types import HEAD_ALONE, Array, Body

_TURN: Final = 0.1
_SHIFT: Final = 0.02
"""Weights of a radian of rotation and an iod of translation, relative to an iod of change in shape.
A warp translates a face easily, but cannot open a mouth or turn a cheek well."""

_SHUT: Final = 0.4
"""Weight of an iod by which a reference's eyes are less open than the driven ones: a warp cannot
open a shut eye, but shuts an open one well."""

_RISE: Final = 0.05
"""Weight of an iod by which the torso is higher than in a reference: what is below a picture is not
known, so a warp stretches a body that rises, but a body that sinks leaves the picture."""

_SHOULDERS: Final = np.array([[0, 1], [1, 1]], np.float32)
"""Where the torso is looked at: the lower corners of the crop, in its sides."""

_LIDS: Final = np.stack([mean_gap(LID_PAIRS_RIGHT), mean_gap(LID_PAIRS_LEFT)])[..., 1]
"""(2, 478) weights of the landmarks' heights, whose sum is the opening of each eye."""


class SeenFaces:
    """The faces of K references.

    Args:
        landmarks: (K, 478, 3) px.
        bodies: of each reference, see `body_placement.reference_bodies`; none: unknown.
        side_px: side of the crop.
    """

    def __init__(self, landmarks: Array, bodies: Sequence[Body] = (), side_px: int = 1) -> None:
        poses = [estimate_pose(points) for points in landmarks]
        shapes = [to_face_frame(*face)[:, :2] for face in zip(landmarks, poses, strict=True)]
        self._shapes = np.stack(shapes)
        self._lids = self._shapes[..., 1] @ _LIDS.T
        turns = np.stack([rotation_vector(pose.rotation) for pose in poses])
        shifts = np.stack([pose.translation[:2] / pose.scale for pose in poses])
        self._poses = np.concatenate([_TURN * turns, _SHIFT * shifts], axis=1)
        self._scale, self._side_px = poses[0].scale, side_px
        self._at_rest = np.stack([_at_rest(body) for body in bodies]) if bodies else None

    def __len__(self) -> int:
        return len(self._shapes)

    def distances(self, landmarks: Array, body: Body = HEAD_ALONE) -> Array:
        """Return the distances of a driven face from the K faces, (K,) iod.

        Args:
            landmarks: (478, 3) px.
            body: where its torso is.
        """
        driven = SeenFaces(landmarks[None])
        changed = np.linalg.norm(self._shapes - driven._shapes, axis=-1).mean(axis=1)
        moved = np.linalg.norm(self._poses - driven._poses, axis=-1)
        shut = np.maximum(driven._lids - self._lids, 0).mean(axis=1)
        risen = self._risen(body) * np.float32(self._side_px / driven._scale)
        total = changed + moved + _SHUT * shut + _RISE * risen
        return np.asarray(total, dtype=np.float32)

    def _risen(self, body: Body) -> Array:
        """Return how much higher a torso is than in the references, (K,) sides of the crop."""
        if body.torso is None or self._at_rest is None:
            return np.zeros(len(self), np.float32)
        (a, b, shift) = body.torso.motion[1]
        rise = _SHOULDERS[:, 1] - self._at_rest @ np.array([a, b], np.float32) - shift
        share = np.float32(body.torso.share)
        return np.asarray(share * np.maximum(rise, 0).mean(axis=1), np.float32)


def _at_rest(body: Body) -> Array:
    """Return where, at rest, is what a reference shows at `_SHOULDERS`, (2, 2)."""
    if body.torso is None:
        return _SHOULDERS
    back = cv2.invertAffineTransform(body.torso.motion.astype(np.float64))
    return np.asarray(_SHOULDERS @ back[:, :2].T + back[:, 2], np.float32)
