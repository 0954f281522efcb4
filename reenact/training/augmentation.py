"""Winks made of blinks: one eye of a near frame in which both are shut.

People in clips blink, they hardly ever wink, and a generator that never saw one eye shut beside an
open one draws both half shut. Between two frames that are a third of a second apart the head
hardly moves, so an eye of one fits the other.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import transform_points
from reenact.face.regions import lid_gaps
from reenact.face.topology import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, RIGID
from reenact.imaging import crop_image
from reenact.types import Array, Image

REACH_FRAMES: Final = 8
"""Frames between open and shut eyes at most."""

SHUT: Final = 0.35
OPEN: Final = 0.8
"""Lid gaps that count as shut and as open, as shares of the person's median gap."""

STILL_IOD: Final = 0.03
"""Motion of the head between the two frames at most, iod."""

_SOFT: Final = 0.3
"""Width of the soft edge, as a share of the patch's radius."""


def wink_frames(landmarks: Array, usable: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find frames with open eyes that have a frame with shut eyes near them.

    Args:
        landmarks: (F, 478, 3) px of a clip.
        usable: (n,) indices of its frames with a face.

    Returns:
        (m, 2): frame with open eyes, nearest frame with shut eyes.
    """
    points = landmarks[usable]
    iod = np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)
    gaps = np.stack([lid_gaps(one) for one in points]).reshape(len(points), 2, -1).mean(axis=2)
    gaps = gaps / iod[:, None]
    usual = np.median(gaps, axis=0)
    shut = np.flatnonzero((gaps < SHUT * usual).all(axis=1))
    found = []
    for here in np.flatnonzero((gaps > OPEN * usual).all(axis=1)).tolist():
        near = shut[np.abs(usable[shut] - usable[here]) <= REACH_FRAMES]
        if not len(near):
            continue
        there = int(near[np.abs(near - here).argmin()])
        moved = np.linalg.norm((points[there] - points[here])[list(RIGID), :2], axis=-1).mean()
        if moved < STILL_IOD * iod[here]:
            found.append((usable[here], usable[there]))
    return np.array(found, np.intp).reshape(-1, 2)


def wink(
    image: Image, points: Array, shut_image: Image, shut_points: Array, right: bool
) -> tuple[Image, Array]:
    """Give a face one shut eye of another frame.

    Args:
        image: uint8 (S, S, 3) RGB, eyes open.
        points: (478, 3) its landmarks, px.
        shut_image: the frame with shut eyes.
        shut_points: its landmarks.
        right: the person's right eye (on the image's left), else the left one.

    Returns:
        The picture and its landmarks.
    """
    eye, brow, other = (
        (EYE_RIGHT, BROW_RIGHT, EYE_LEFT) if right else (EYE_LEFT, BROW_LEFT, EYE_RIGHT)
    )
    rigid = list(RIGID)
    affine, _ = cv2.estimateAffinePartial2D(shut_points[rigid, :2], points[rigid, :2])
    placed: Array = np.asarray(affine, np.float32)
    moved = transform_points(shut_points, placed)
    middle = points[list(eye), :2].mean(axis=0)
    iod = float(np.linalg.norm(points[33] - points[263]))
    across = float(np.linalg.norm(points[list(other), :2].mean(axis=0) - middle)) * 0.42
    up = max(float(middle[1] - points[list(brow), 1].min()) + 0.05 * iod, 0.25 * iod)

    def share(x: Array, y: Array) -> Array:
        distance = np.hypot((x - middle[0]) / across, (y - middle[1]) / up)
        return np.asarray(np.clip((1 - distance) / _SOFT, 0, 1)[..., None], np.float32)

    size = image.shape[0]
    rows, columns = np.indices((size, size), np.float32)
    patch = crop_image(shut_image, placed, size).astype(np.float32)
    picture = image + share(columns, rows) * (patch - image)
    taken = share(points[:, 0], points[:, 1])
    return picture.astype(np.uint8), np.asarray(points + taken * (moved - points), np.float32)
