"""Six linear measures of the most visible parts of a face: lids, mouth opening and width, brows.

Each is a weighted sum of the coordinates of a face-frame shape, in iod, so that a measure can be
changed by an exact amount. Pure functions; any thread may call them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.action_units import BROWS, MIDDLES, mean_gap
from reenact.face.topology import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT, N_LANDMARKS
from reenact.types import Array

MEASURES: Final = (
    "lid_right",
    "lid_left",
    "mouth_open",
    "mouth_width",
    "brow_right",
    "brow_left",
)
"""Opening of each eye between the middles of its lids, gap of the inner lips, distance of the
mouth's corners, height of each brow above the corners of its eye; sides are the person's."""

LID_RIGHT, LID_LEFT, MOUTH_OPEN, MOUTH_WIDTH, BROW_RIGHT_UP, BROW_LEFT_UP = range(len(MEASURES))


@lru_cache(maxsize=1)
def measure_rows() -> Array:
    """Return float32 (6, 1434): maps a flattened (478, 3) shape to `MEASURES`."""
    rows = np.zeros((len(MEASURES), N_LANDMARKS, 3), np.float32)
    rows[[LID_RIGHT, LID_LEFT, MOUTH_OPEN]] = [mean_gap(pairs) for pairs in MIDDLES]
    rows[MOUTH_WIDTH, [291, 61], 0] = 1, -1
    for row, brow, corners in zip(
        rows[BROW_RIGHT_UP:], BROWS, (EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT), strict=True
    ):
        row[list(corners), 1] = 1 / len(corners)
        row[brow, 1] = -1 / len(brow)
    rows = rows.reshape(len(MEASURES), -1)
    rows.setflags(write=False)
    return rows


def measure(shapes: Array) -> Array:
    """Return the (..., 6) measures of (..., 478, 3) face-frame shapes, iod."""
    return np.asarray(shapes.reshape(*shapes.shape[:-2], -1) @ measure_rows().T)


def resting_shape(shapes: Array, angles: Array) -> Array:
    """Return the (478, 3) resting shape of a person, from the (F, 478, 3) shapes of a whole clip.

    It is the median of the calmest tenth of the frames: lips closed, lids as open as in the
    person's 65th percentile, mouth as wide as in the median. It serves as the ground truth for
    training and evaluation.

    Args:
        shapes: face frame, iod.
        angles: (F,) between face and camera, rad; the least frontal frames are left out.
    """
    seen = shapes[angles <= max(float(np.percentile(angles, 60)), 0.25)]
    measures = measure(seen)
    lids = measures[:, [LID_RIGHT, LID_LEFT]].mean(axis=1)
    width = measures[:, MOUTH_WIDTH]
    restless = (
        np.maximum(measures[:, MOUTH_OPEN], 0) / 0.05
        + np.abs(lids - np.percentile(lids, 65)) / 0.03
        + np.abs(width - np.median(width)) / 0.06
    )
    calm = np.argsort(restless)[: max(len(seen) // 10, 5)]
    return np.asarray(np.median(seen[calm], axis=0), dtype=np.float32)
