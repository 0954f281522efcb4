"""Training batches of the live generator."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE
from reenact.face.geometry import estimate_pose, region_mask, square_to_crop, transform_points
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_OUTER
from reenact.imaging import resized_square
from reenact.models.warp_unet_inputs import NETWORK_PX
from reenact.rendering.layers import follow_box, in_box, maps_in_box
from reenact.rendering.reference import Painter, Reference
from reenact.training.augmentation import Pair
from reenact.training.sampling import Batch
from reenact.types import Array

_UPPER_LIDS: Final = (
    (33, 247, 30, 29, 27, 28, 56, 190, 133, *reversed(RIGHT_EYE[0][1:-1])),
    (362, 414, 286, 258, 257, 259, 260, 467, 263, *reversed(LEFT_EYE[0][1:-1])),
)
"""Closed loops of landmarks: along an upper lid's crease and back along its edge."""


def collate(pairs: list[Pair]) -> Batch:
    """Compose the layers of pairs as the live path does, and stack the boxes to repair.

    With B = `REPAIR_CELLS` * `STEM` px:

    layered    (N, 3, B, B): the moved person over the background, RGB in -1 to 1
    truth      (N, 3, B, B): RGB in -1 to 1
    maps       (N, C, B/2, B/2): see `warp_unet_inputs`
    weight     (N, 1, B/2, B/2): `importance`
    """
    rows = [_row(pair) for pair in pairs]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _row(pair: Pair) -> Batch:
    to_network = square_to_crop((0, 0, len(pair.truth)), NETWORK_PX)
    points = transform_points(pair.reference_landmarks, to_network)
    driven = transform_points(pair.truth_landmarks, to_network)
    shown, truth = (
        resized_square(np.asarray(picture), NETWORK_PX) for picture in (pair.reference, pair.truth)
    )
    person = np.zeros((1, 1), np.uint8) if pair.person is None else pair.person
    painter = Painter(Reference.of(shown, person, points))
    layered, maps = painter.paint(driven, estimate_pose(driven))
    # In the live path a box stays in place until the face has left its middle.
    corner = follow_box(follow_box(None, points), driven)
    return {
        "layered": in_box(layered, corner, 1),
        "truth": in_box(truth, corner, 1),
        "maps": maps_in_box(maps, corner),
        "weight": maps_in_box(importance(driven, NETWORK_PX)[..., None], corner),
    }


def importance(points: Array, size_px: int) -> Array:
    """Return the loss weights, float32 (size/2, size/2), mean 1.

    They are proportional to 1 in the background, 2 around the face, 3 on the face, and 12 on mouth,
    eyes and upper lids.
    """
    side = size_px // 2
    small = points * np.float32(0.5)
    hull = cv2.convexHull(np.round(small[:468, :2]).astype(np.int32))
    face = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(face, hull, (1,))
    reach = round(float(np.ptp(small[:468, 1])) * 0.2) | 1
    around = cv2.dilate(face, np.ones((reach, reach), np.uint8))
    detail = np.zeros((side, side), np.uint8)
    for loop in (LIPS_OUTER, EYE_LEFT, EYE_RIGHT, *_UPPER_LIDS):
        detail |= region_mask(small, loop, side)
    detail = cv2.dilate(detail, np.ones((5, 5), np.uint8)).astype(np.uint8)
    weight = 1 + around.astype(np.float32) + face + 9 * (detail > 0)
    weight = cv2.blur(weight, (5, 5)).astype(np.float32)
    return np.asarray(weight / weight.mean(), dtype=np.float32)
