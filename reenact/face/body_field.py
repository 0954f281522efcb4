"""The flow of neck and shoulders, which follow the torso's own motion."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.topology import CHIN
from reenact.imaging import smoothstep
from reenact.types import Array, Body, MovedPart

_NECK: Final = (0.2, 1.2)
"""Depths below the chin, iod, between which the motion changes from the head's to the torso's."""

_SLOPE, _SLOPE_REACH = 0.5, 1.5
"""Beside the chin the torso begins higher: by this factor of the distance, up to this distance,
iod."""

_SKIN_RIM: Final = 1.5
"""Cells at the skin's edge that the torso may show."""


def moved_from(body: Body, start: Body) -> Body:
    """Return a body whose motions start from a reference's body instead of the target at rest."""
    return Body(_moved_from(body.torso, start.torso), _moved_from(body.hair, start.hair))


def _moved_from(part: MovedPart | None, start: MovedPart | None) -> MovedPart | None:
    if part is None or start is None:
        return part
    inverse = np.vstack([cv2.invertAffineTransform(start.motion.astype(np.float64)), (0, 0, 1)])
    return MovedPart((part.motion @ inverse).astype(np.float32), part.share)


def torso_flow(
    torso: MovedPart, landmarks: Array, iod_px: float, size_px: int, side: int
) -> tuple[Array, Array]:
    """Return the flow of the torso, (2, rows, side), and its weight, (rows, side), float32.

    Only the lowest rows of the map are returned, above which the weight is 0. The flow is in halves
    of the crop's side. The weight rises from 0 above the neck to the torso's share below it.
    `landmarks` are the driven ones, (478, 3) crop px; `iod_px` is theirs.
    """
    chin, iod = (landmarks[CHIN, :2] + 0.5) / size_px, iod_px / size_px
    first, last = _NECK
    top = float(chin[1] + (first - _SLOPE * _SLOPE_REACH) * iod) * side
    x = (np.arange(side, dtype=np.float32) + 0.5) / side
    y = x[int(min(max(top - 1, 0), side - 1)) :, None]
    inverse = cv2.invertAffineTransform(torso.motion.astype(np.float64)).astype(np.float32)
    source_x, source_y = (row[0] * x + row[1] * y + row[2] for row in inverse)
    beside = np.minimum(np.abs(x - chin[0]), _SLOPE_REACH * iod)
    depth = (y - chin[1] + _SLOPE * beside) / np.float32(iod)
    weight = torso.share * smoothstep(np.clip((depth - first) / (last - first), 0, 1))
    return np.array([2 * (source_x - x), 2 * (source_y - y)]), weight


def out_of_skin(skin: NDArray[np.uint8], flow: Array) -> Array:
    """Return a torso's flow whose sources in the face's skin are moved to the skin's edge.

    Below a chin that has risen, the torso would show the reference's chin a second time.

    Args:
        skin: mask of the face's skin in the reference, uint8 (side, side).
        flow: from `torso_flow`.
    """
    side = len(skin)
    _, inside = cv2.threshold(skin, 127, 255, cv2.THRESH_BINARY)
    depth = cv2.distanceTransform(np.asarray(inside, np.uint8), cv2.DIST_L2, 5)
    way = np.minimum(_SKIN_RIM - depth, 0)
    axis = np.arange(side, dtype=np.float32)
    x, y = flow * np.float32(side / 2)
    x, y = x + axis, y + axis[-len(y) :, None]
    moved = [
        cv2.remap(way * cv2.Sobel(depth, cv2.CV_32F, *order, scale=1 / 8), x, y, cv2.INTER_LINEAR)
        for order in ((1, 0), (0, 1))
    ]
    return flow + np.array(moved) * np.float32(2 / side)
