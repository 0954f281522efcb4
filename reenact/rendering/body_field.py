"""The flow of neck and shoulders that follow the torso's own motion."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.topology import CHIN
from reenact.imaging import smoothstep
from reenact.types import Array, Body, MovedPart

_NECK: Final = (0.2, 1.2)
"""Depth below the chin between which the neck passes from the head's motion to the torso's, iod."""

_SPREAD, _BESIDE = 0.5, 1.5
"""Beside the chin the torso begins higher by this factor of the distance, up to so far, iod."""


def moved_from(body: Body, start: Body) -> Body:
    """Return the body as seen from a reference in which it is not as the target's at rest."""
    return Body(_moved_from(body.torso, start.torso), _moved_from(body.hair, start.hair))


def _moved_from(part: MovedPart | None, start: MovedPart | None) -> MovedPart | None:
    if part is None or start is None:
        return part
    back = np.vstack([cv2.invertAffineTransform(start.motion.astype(np.float64)), (0, 0, 1)])
    return MovedPart((part.motion @ back).astype(np.float32), part.share)


def torso_flow(torso: MovedPart, landmarks: Array, iod_px: float, size_px: int, side: int) -> Array:
    """Return the flow of the torso and its weight, float32 (3, side, side).

    The flow is in halves of the crop's side, the weight 0 above to the torso's share below.
    `landmarks` are the driven ones, (478, 3) crop px; `iod_px` is theirs.
    """
    across = (np.arange(side, dtype=np.float32) + 0.5) / side
    down = across[:, None]
    back = cv2.invertAffineTransform(torso.motion.astype(np.float64)).astype(np.float32)
    x, y = (row[0] * across + row[1] * down + row[2] for row in back)
    chin, iod = (landmarks[CHIN, :2] + 0.5) / size_px, iod_px / size_px
    beside = np.minimum(np.abs(across - chin[0]), _BESIDE * iod)
    depth = (down - chin[1] + _SPREAD * beside) / np.float32(iod)
    first, last = _NECK
    weight = torso.share * smoothstep(np.clip((depth - first) / (last - first), 0, 1))
    return np.stack([2 * (x - across), 2 * (y - down), weight])
