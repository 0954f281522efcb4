"""Pictures of plain faces that wear glasses."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.topology import EYE_LEFT, EYE_RIGHT
from reenact.types import Array, Image

SKIN, RIM, EYE = (205, 160, 135), (40, 30, 30), (90, 60, 50)


def bare_face(points: Array, side: int) -> Image:
    """Return a plain face, uint8 (side, side, 3), with the eyes of (N, 3) px landmarks."""
    rows = np.linspace(1.05, 0.9, side, dtype=np.float32)[:, None, None]
    shaded = np.clip(rows * np.array(SKIN, np.float32), 0, 255)
    picture: Image = shaded.repeat(side, axis=1).astype(np.uint8)
    for eye in (EYE_RIGHT, EYE_LEFT):
        cv2.fillPoly(picture, [np.round(points[list(eye), :2]).astype(np.int32)], EYE)
    return picture


def rims(
    points: Array, side: int, iod: float, *, bridge: bool = True, half: float = 0.42
) -> NDArray[np.uint8]:
    """Return the coverage by glasses, uint8 (side, side), on a level face of (N, 3) px landmarks.

    Their arms are not drawn. `half` is half the width of a lens, iod.
    """
    coverage: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
    middles = [points[list(pair), :2].mean(axis=0) for pair in ((33, 133), (263, 362))]
    width = max(2, round(0.05 * iod))
    axes = (round(half * iod), round(0.36 * iod))
    inner = []
    for (x, y), way in zip(middles, (-1, 1), strict=True):
        centre = round(float(x) + way * 0.04 * iod), round(float(y) + 0.05 * iod)
        cv2.ellipse(coverage, centre, axes, 0, 0, 360, (255,), width, cv2.LINE_AA)
        inner.append((centre[0] - way * axes[0], centre[1]))
    if bridge:
        cv2.line(coverage, inner[0], inner[1], (255,), width, cv2.LINE_AA)
    return coverage


def put_on(picture: Image, coverage: NDArray[np.uint8]) -> Image:
    """Return a picture with glasses drawn into it."""
    share = coverage[..., None] / np.float32(255)
    return np.asarray(np.round(picture + share * (np.array(RIM, np.float32) - picture)), np.uint8)
