"""Moves landmarks of skin and lips to where a picture shows them.

The chin shrinks as the jaw drops, and the skin above a brow as the brow rises. If the target has
less of it than the actor, the moved landmarks pass its lip or brow. There the mesh would fold, and
draw a torn lip or brow with a dark, stepped line.

The tracker puts the edges of an open mouth behind the visible edges of the lips, by the same
distances in most people, and farther in wide mouths: the inside of a lip belongs to the mouth for
it. It also reports a narrow gap for many closed mouths. With its landmarks, mouths would open too
far, by a thinner lower lip.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.aperture import MOUTH
from reenact.face.geometry import Triangles, to_face_frame, to_image
from reenact.face.regions import lip_gaps
from reenact.face.topology import AROUND_LIPS, FOREHEAD
from reenact.types import Array, Pose

_MIN_IOD: Final = 1e-3
"""Minimum length of an edge; it prevents a division by zero."""

_UPPER_LIP: Final = MOUTH[0][1:-1], (183, 42, 41, 38, 12, 268, 271, 272, 407)
_LOWER_LIP: Final = (
    MOUTH[1][1:-1],
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
)
"""Landmarks of the lips without the corners, in rows from the inner edge to the middle."""

_UPPER_IOD, _LOWER_IOD = 0.005, 0.022
"""Distances of the inner edges of an open mouth, .3 and 1.4 mm, behind the visible ones."""

_LOWER_SHARE: Final = 0.1
"""Minimum distance of the lower edge, as a share of the gap: it matters in wide mouths."""


class LooseSkin:
    """Interpolates the deviations of loose skin between the landmarks around it. Immutable.

    The deviations are in equilibrium, as if each edge of the mesh were a spring whose stiffness is
    the inverse of its squared length in the reference. So short edges beside lips hardly change.

    Args:
        triangles: (T, 3) indices of the face's landmarks.
    """

    def __init__(self, triangles: Triangles) -> None:
        pairs = np.sort(np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]))
        edges = np.unique(pairs, axis=0)
        self.landmarks = np.union1d(AROUND_LIPS, FOREHEAD)
        ends = np.concatenate([edges, edges[:, ::-1]])
        self._loose, self._neighbour = ends[np.isin(ends[:, 0], self.landmarks)].T
        self._row = np.searchsorted(self.landmarks, self._loose)
        self._is_loose = np.isin(self._neighbour, self.landmarks)
        self._column = np.searchsorted(self.landmarks, self._neighbour[self._is_loose])

    def stretched(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return the driven landmarks with the loose skin interpolated; all are (478, 3) px."""
        start, end = map(to_face_frame, (reference, drive), poses)
        lengths = np.linalg.norm((start[self._loose] - start[self._neighbour])[:, :2], axis=1)
        stiffness = 1 / np.maximum(lengths, _MIN_IOD) ** 2
        count = len(self.landmarks)
        matrix = np.diag(np.bincount(self._row, stiffness, count))
        matrix[self._row[self._is_loose], self._column] -= stiffness[self._is_loose]
        fixed = ~self._is_loose
        forces = (end - start)[self._neighbour[fixed]] * stiffness[fixed, None]
        pull = np.stack([np.bincount(self._row[fixed], axis, count) for axis in forces.T], axis=1)
        _, deviation = cv2.solve(matrix, pull, flags=cv2.DECOMP_CHOLESKY)
        end[self.landmarks] = start[self.landmarks] + deviation
        result = drive.copy()
        result[self.landmarks] = to_image(end[self.landmarks], poses[1])
        return result


def visible_lips(face: Array, pose: Pose) -> Array:
    """Return the (478, 3) px landmarks of a face with the lips' inner edges where they are visible.

    The other rows of a lip move by a smaller share, so that it does not become thicker at its edge
    alone. Where the gap is too narrow to be visible, the lips meet.
    """
    gaps = np.maximum(lip_gaps(to_face_frame(face, pose)), 0)
    closed = np.minimum(gaps / (_UPPER_IOD + _LOWER_IOD), 1)[:, None]
    down = closed * pose.rotation[:, 1] * pose.scale
    up = -np.maximum(_LOWER_IOD, _LOWER_SHARE * gaps)[:, None] * down
    result = face.copy()
    for rows, moved in (_UPPER_LIP, _UPPER_IOD * down), (_LOWER_LIP, up):
        for number, row in enumerate(rows):
            result[list(row)] += moved * np.float32(1 - number / len(rows))
    return result
