"""Moves driven landmarks of skin and lips to where a picture should show them.

The skin below a lip shrinks as the jaw drops, and the skin above a brow as the brow rises. If the
target has less of it than the actor, the moved landmarks pass its lip or brow. There the mesh would
fold, and draw a torn lip or brow with a dark, stepped line.

The tracker puts the edge of an open mouth's lower lip below the lip's visible edge, by the same
distance in most people: the inside of the lip, which a closed mouth hides, belongs to the mouth for
it. A mesh of the tracker's landmarks would therefore open a mouth too far, by a thinner lower lip.
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

_LOWER_LIP: Final = (
    MOUTH[1][1:-1],
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
)
"""Landmarks of the lower lip without its corners, from its inner edge to the middle of the lip."""

_RAISED_IOD: Final = 0.022
"""Height by which the inner edge is raised, 1.4 mm; that of the other rows is less."""

_OPEN_IOD: Final = 0.16
"""Gap between the lips, 10 mm, from which on it is raised by all of that."""


class LooseSkin:
    """Interpolates the deviations of loose skin between the landmarks around it. Immutable.

    The deviations are in equilibrium, as if each edge of the mesh were a spring whose stiffness is
    the inverse of its length in the reference.

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
        stiffness = 1 / np.maximum(lengths, _MIN_IOD)
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


def raise_lower_lip(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
    """Return driven landmarks whose lower lip ends at its visible edge, (478, 3) px.

    Args:
        reference: (478, 3) px landmarks of the picture; if it shows an open mouth, its own lip ends
            as far above its landmarks, and is not raised.
        drive: (478, 3) driven landmarks, px.
        poses: their poses.
    """
    shapes = map(to_face_frame, (reference, drive), poses)
    shown, driven = (np.clip(lip_gaps(shape) / _OPEN_IOD, 0, 1) for shape in shapes)
    raised = np.maximum(driven - shown, 0) * _RAISED_IOD
    down = poses[1].rotation[:, 1] * poses[1].scale
    result = drive.copy()
    for number, row in enumerate(_LOWER_LIP):
        share = 1 - number / len(_LOWER_LIP)
        result[list(row)] -= (share * raised)[:, None] * down
    return result
