"""Stretches the skin around the mouth and of the forehead between what lies on its sides.

An actor's skin below the lip shrinks as a jaw drops, and that above a brow as it is raised. Added
to a face that has less of it, it ends beyond its own lip or brow, and the mesh folds there: a torn
lip or brow with a dark, stepped line.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import Triangles, to_face_frame, to_image
from reenact.face.topology import AROUND_LIPS, FOREHEAD
from reenact.types import Array, Pose

_MIN_IOD: Final = 1e-3
"""Shorter edges count as this long."""


class LooseSkin:
    """Places the landmarks of the loose skin by those on both sides of them. Immutable.

    Their deviations from the reference are in balance, as if each edge of the mesh were a spring
    whose stiffness falls with its length in the reference.

    Args:
        triangles: (T, 3) of the face's landmarks.
    """

    def __init__(self, triangles: Triangles) -> None:
        pairs = np.sort(np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]))
        edges = np.unique(pairs, axis=0)
        self.landmarks = np.union1d(AROUND_LIPS, FOREHEAD)
        ends = np.concatenate([edges, edges[:, ::-1]])
        self._own, self._other = ends[np.isin(ends[:, 0], self.landmarks)].T
        self._row = np.searchsorted(self.landmarks, self._own)
        self._is_free = np.isin(self._other, self.landmarks)
        self._column = np.searchsorted(self.landmarks, self._other[self._is_free])

    def stretched(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return driven landmarks with those of the loose skin stretched, all (478, 3) px."""
        start, end = (to_face_frame(*one) for one in zip((reference, drive), poses, strict=True))
        apart = np.linalg.norm((start[self._own] - start[self._other])[:, :2], axis=1)
        stiffness = 1 / np.maximum(apart, _MIN_IOD)
        count = len(self.landmarks)
        matrix = np.diag(np.bincount(self._row, stiffness, count))
        matrix[self._row[self._is_free], self._column] -= stiffness[self._is_free]
        held = ~self._is_free
        changed = (end - start)[self._other[held]] * stiffness[held, None]
        pull = np.stack([np.bincount(self._row[held], one, count) for one in changed.T], axis=1)
        _, change = cv2.solve(matrix, pull, flags=cv2.DECOMP_CHOLESKY)
        end[self.landmarks] = start[self.landmarks] + change
        result = drive.copy()
        result[self.landmarks] = to_image(end[self.landmarks], poses[1])
        return result
