"""The common frame of all faces: a thin-plate spline through landmarks maps a face into it.

Akram 2020 crops faces to 128 × 128 "with faces in the center" and leaves the rest open. A
regression per pixel needs aligned faces, so here the neutral face is warped to the canonical one,
and a face with an expression to the canonical one with the mean motion of that expression (ours).
Otherwise lips, which open differently for everyone, would average to a blur.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import canonical_face
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    N_SKIN,
    NOSE,
    OVAL,
)
from reenact.types import Array, Image
from reenact_pixel_regression.portable import aligned

SIZE_PX: Final = 128
"""Side of the model's frame, as in the paper."""

_FACE_SHARE: Final = 0.78
"""Height of the canonical face, as a share of that side."""

_CHEEKS: Final = (50, 205, 187, 280, 425, 411)

INDEX: Final = (
    *OVAL[::2], *BROW_RIGHT[:5], *BROW_LEFT[:5], *EYE_RIGHT[::2], *EYE_LEFT[::2], *NOSE[::2],
    *LIPS_OUTER, *LIPS_INNER[::2], *_CHEEKS, IRIS_RIGHT[0], IRIS_LEFT[0],
)  # fmt: skip
"""The landmarks that the spline goes through."""


@lru_cache(maxsize=1)
def scale_px() -> float:
    """Return the px per inter-ocular distance of the model's frame."""
    return SIZE_PX * _FACE_SHARE / float(np.ptp(canonical_face()[:N_SKIN, 1]))


def frame_points(deviation: Array | None = None) -> Array:
    """Return the (K, 2) landmarks `INDEX` of the canonical face in the frame, px.

    Args:
        deviation: (478, 3) iod, the expression that is added; None: neutral.
    """
    face = canonical_face()
    low, high = face[:N_SKIN, :2].min(axis=0), face[:N_SKIN, :2].max(axis=0)
    shape = face if deviation is None else face + deviation
    placed = (shape[:, :2] - (low + high) / 2) * scale_px() + (SIZE_PX - 1) / 2
    return np.asarray(placed[list(INDEX)], np.float32)


def to_frame(picture: Image, points: Array, deviation: Array | None = None) -> Image:
    """Bring a face into the frame, uint8 (S, S, 3).

    Args:
        picture: uint8 (H, W, 3) RGB.
        points: (478, 3) px landmarks of its face.
        deviation: (478, 3) iod, the expression that the result has; None: neutral.
    """
    frame = frame_points(deviation).astype(np.float64)
    face: Image = aligned(picture, chosen(points), frame, SIZE_PX)
    return face


def chosen(points: Array) -> NDArray[np.float64]:
    """Return the (K, 2) landmarks `INDEX` of (478, 3) ones."""
    return points[list(INDEX), :2].astype(np.float64)
