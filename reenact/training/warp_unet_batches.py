"""Batches that the live generator learns from."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE
from reenact.face.geometry import estimate_pose, region_mask
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER
from reenact.models.warp_unet_inputs import MAP_CHANNELS, UNKNOWN_PERSON
from reenact.rendering.background import layers_of
from reenact.rendering.head_mesh import head_mesh
from reenact.training.augmentation import Pair
from reenact.training.sampling import Batch
from reenact.types import Array, Image

_WINDOWS: Final = ((LIPS_OUTER, 0.65), (EYE_RIGHT, 0.45), (EYE_LEFT, 0.45))
"""Windows of the discriminator: landmarks, and half the side of the square around them, iod."""

_UPPER_LIDS: Final = (
    (33, 247, 30, 29, 27, 28, 56, 190, 133, *reversed(RIGHT_EYE[0][1:-1])),
    (362, 414, 286, 258, 257, 259, 260, 467, 263, *reversed(LEFT_EYE[0][1:-1])),
)
"""Loops of landmarks: an upper lid's crease, and back along its edge."""


def collate(pairs: list[Pair]) -> Batch:
    """Stack pairs of side S, warped by the mesh.

    reference          uint8 (N, S, S, 4) RGB and the person's share
    truth              uint8 (N, S, S, 3) RGB
    scene              uint8 (N, S, S, 3), the references with their people painted over
    maps               (N, S/2, S/2, C), see `warp_unet_inputs`
    weight             (N, S/2, S/2) of `importance`
    person             (N, S/2, S/2) mask of the person in the truth, 0 to 1; unknown: 1
    reference_person   the same in the reference; unknown: `UNKNOWN_PERSON`
    windows            (N, 3, 3) of `local_windows` on the truth
    """
    size = pairs[0].truth.shape[0]
    maps = np.empty((len(pairs), size // 2, size // 2, MAP_CHANNELS), np.float32)
    for number, pair in enumerate(pairs):
        reference, truth = pair.reference_landmarks, pair.truth_landmarks
        maps[number] = head_mesh().maps(reference, truth, size, size // 2)
    scenes, shares = zip(*map(_layers, pairs), strict=True)
    pictures = np.stack([pair.reference for pair in pairs])
    return {
        "person": np.stack([_halved(pair.person, size, 1) for pair in pairs]),
        "reference_person": np.stack(
            [_halved(pair.reference_person, size, UNKNOWN_PERSON) for pair in pairs]
        ),
        "reference": np.concatenate([pictures, np.stack(shares)[..., None]], axis=-1),
        "scene": np.stack(scenes),
        "truth": np.stack([pair.truth for pair in pairs]),
        "maps": maps,
        "windows": np.stack([local_windows(pair.truth_landmarks, size) for pair in pairs]),
        "weight": np.stack([importance(pair.truth_landmarks, size) for pair in pairs]),
    }


def _layers(pair: Pair) -> tuple[Image, NDArray[np.uint8]]:
    size = len(pair.reference)
    person = pair.reference_person
    whole = np.zeros((size, size)) if person is None else cv2.resize(person, (size, size))
    return layers_of(np.asarray(pair.reference), whole.astype(np.uint8), pair.reference_landmarks)


def local_windows(points: Array, size_px: int) -> Array:
    """Return squares around mouth, right and left eye: x, y and half the side, float32 (3, 3).

    The units are those of grid_sample, -1 to 1 from edge to edge of the picture.
    """
    scale = estimate_pose(points).scale
    rows = []
    for loop, reach_iod in _WINDOWS:
        part = points[list(loop), :2]
        middle = (part.min(axis=0) + part.max(axis=0)) / 2
        rows.append([*((middle + 0.5) * 2 / size_px - 1), reach_iod * scale * 2 / size_px])
    return np.array(rows, np.float32)


def _halved(person: NDArray[np.uint8] | None, size_px: int, unknown: float) -> Array:
    """Return a mask at half the size, float32, 0 to 1."""
    side = size_px // 2
    if person is None:
        return np.full((side, side), unknown, np.float32)
    small = cv2.resize(person, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) * np.float32(1 / 255), dtype=np.float32)


def importance(points: Array, size_px: int) -> Array:
    """Return the weights of the losses, float32 (size/2, size/2), mean 1.

    They are proportional to 1 in the background, 2 around the face, 3 on the face, 12 on lips, eyes
    and upper lids, and 28 inside the mouth, which no warp can bring.
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
    inside = region_mask(small, LIPS_INNER, side)
    weight = 1 + around.astype(np.float32) + face + 9 * (detail > 0) + 16 * (inside > 127)
    weight = cv2.blur(weight, (5, 5)).astype(np.float32)
    return np.asarray(weight / weight.mean(), dtype=np.float32)
