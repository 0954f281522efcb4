"""Raises the edge of a driven lower lip to where it is seen.

The tracker puts the edge of an open mouth's lower lip below the lip's visible edge, by the same
distance in most people: the inside of the lip, which a closed mouth hides, belongs to the mouth for
it. A mesh of the tracker's landmarks therefore opens a mouth too far, by a thinner lower lip.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import MOUTH
from reenact.face.geometry import to_face_frame
from reenact.types import Array, Pose

_ROWS: Final = (
    MOUTH[1][1:-1],
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
)
"""Landmarks of the lower lip without its corners, from its inner edge to the middle of the lip."""

_RAISED_IOD: Final = 0.022
"""Height by which the inner edge is raised, 1.4 mm; that of the other rows is less."""

_OPEN_IOD: Final = 0.16
"""Gap between the lips, 10 mm, from which on it is raised by all of that."""


def raise_lower_lip(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
    """Return driven landmarks whose lower lip ends at its visible edge, (478, 3) px.

    Args:
        reference: (478, 3) px landmarks of the picture; if it shows an open mouth, its own lip ends
            as far above its landmarks, and is not raised.
        drive: (478, 3) driven landmarks, px.
        poses: their poses.
    """
    openings = []
    for points, pose in zip((reference, drive), poses, strict=True):
        upper, lower = (
            to_face_frame(points[edge], pose)[:, 1] for edge in (MOUTH[0][1:-1], _ROWS[0])
        )
        openings.append(np.clip((lower - upper) / _OPEN_IOD, 0, 1))
    raised = np.maximum(openings[1] - openings[0], 0) * _RAISED_IOD
    down = poses[1].rotation[:, 1] * poses[1].scale
    result = drive.copy()
    for number, row in enumerate(_ROWS):
        share = 1 - number / len(_ROWS)
        result[list(row)] -= (share * raised)[:, None] * down
    return result.astype(np.float32)
