"""Faces of clips warped to acted emotions, so that every person shows each emotion.

Clips of people who talk rarely show fear, contempt or sadness, and their frames also differ by
light and pose. Here a frame is warped to the person's resting shape plus the motion of an acted
emotion (`emotions.acted_deviations`). If this opens the lips, the mouth is copied from a frame of
the clip with a similar lip gap. The rest of the picture is unchanged, so that a pair of frame and
result differs by the expression alone (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.evaluation.recognition import ClipExpressions
from reenact.expression.emotions import EMOTIONS, acted_deviations, acted_units
from reenact.face.geometry import (
    estimate_pose,
    square_to_crop,
    to_image,
    transform_points,
)
from reenact.face.regions import apply_contact, lip_gaps
from reenact.face.topology import LIPS_OUTER, OVAL
from reenact.imaging import crop_image, resized_square
from reenact.rendering.aligned_face import soft_region, to_frame
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.types import Array, Image

EXAGGERATION: Final = 1.3
"""Factor on the motion: a network reproduces less of it than it was trained with."""

LEVELS: Final = (0.4, 0.7, 1.0, 1.0)
"""Range of the emotions' intensity, drawn at random."""

_OPEN: Final = 0.06
"""Lip gap, iod, above which the mouth is copied from another frame."""

_ALIKE: Final = 0.08
"""Maximum difference of the lip gap of that frame, iod."""

_MAX_TURN: Final = 10.0
"""Maximum rotation between the heads of both frames, degrees."""


@dataclass(frozen=True, slots=True)
class ActedFaces:
    """A frame and its copies with the emotions.

    Attributes:
        pictures: uint8 (8, S, S, 3) RGB aligned faces; the first is the unchanged frame.
        units: float32 (8, 17) action units, as measured and as acted.
        emotions: float32 (8, 8) weights of sum 1; the remainder of an emotion is neutral.
        intensity: float32 (8,).
        points: float32 (8, 478, 3) px of the pictures.
    """

    pictures: NDArray[np.uint8]
    units: Array
    emotions: Array
    intensity: Array
    points: Array


def act(
    images: NDArray[np.uint8],
    found: ClipExpressions,
    row: int,
    size_px: int,
    rng: np.random.Generator,
) -> ActedFaces:
    """Warp one frame of a clip to the seven emotions.

    Args:
        images: (F, H, H, 3) RGB frames of the clip.
        found: the clip's expressions.
        row: index of the frame in the rows of `found`.
        size_px: S, side of the aligned faces.
        rng: draws the intensity of each emotion.
    """
    levels = np.array([0.0, *rng.choice(LEVELS, len(EMOTIONS) - 1)], np.float32)
    return act_at(images, found, row, size_px, levels)


def act_at(
    images: NDArray[np.uint8], found: ClipExpressions, row: int, size_px: int, levels: Array
) -> ActedFaces:
    """Bend one frame of a clip to the seven emotions, as strongly as `levels`, (8,), says.

    The first level is neutral's, 0; the other arguments are those of `act`.
    """
    side = min(2 * size_px, images.shape[1])
    smaller = square_to_crop((0, 0, images.shape[1]), side)

    def frame(number: int) -> tuple[Image, Array]:
        picture = resized_square(images[found.frames[number]], side)
        return picture, transform_points(found.points[number], smaller)

    picture, points = frame(row)
    pose = estimate_pose(points, found.rest)
    affine = to_frame(points, size_px)
    pictures, shapes = [crop_image(picture, affine, size_px)], [points]
    for number, level in enumerate(levels[1:].tolist(), start=1):
        motion = np.float32(EXAGGERATION * level) * acted_deviations()[number]
        shape = apply_contact(found.rest + motion, found.rest, None)
        wanted = to_image(shape, pose)
        bent = _warped(picture, points, wanted)
        mouth = _mouth_like(found, row, float(lip_gaps(shape)[3:6].mean()))
        if mouth is not None:
            other = _warped(*frame(mouth), wanted)
            bent = _blended(bent, other, soft_region(wanted, LIPS_OUTER, len(bent), grown=0.5))
        face = np.maximum(
            soft_region(points, OVAL, len(bent), grown=2),
            soft_region(wanted, OVAL, len(bent), grown=2),
        )
        pictures.append(crop_image(_blended(picture, bent, face), affine, size_px))
        shapes.append(wanted)
    shown = levels[:, None] * np.eye(len(EMOTIONS), dtype=np.float32)
    shown[:, 0] = 1 - levels
    units = levels[:, None] * acted_units()
    units[0], shown[0] = found.units[row], found.weights[row]
    aligned = transform_points(np.stack(shapes), affine)
    return ActedFaces(np.stack(pictures), units, shown, levels, aligned)


def _mouth_like(found: ClipExpressions, row: int, gap: float) -> int | None:
    """Return the row with lip gap `gap` and a similar head pose; None if no copy is needed."""
    if gap < _OPEN:
        return None
    gaps = np.array([lip_gaps(found.rest + one)[3:6].mean() for one in found.deviations])
    turned = np.linalg.norm(found.turns - found.turns[row], axis=1) / _MAX_TURN
    away = np.abs(gaps - gap) / _ALIKE
    away[turned > 1] = np.inf
    best = int(away.argmin())
    return best if away[best] < 1 and best != row else None


def _warped(picture: Image, points: Array, wanted: Array) -> Image:
    side = len(picture)
    return warp_image(picture, source_map(head_mesh().maps(points, wanted, side, side // 2), side))


def _blended(picture: Image, other: Image, share: Array) -> Image:
    mixed = picture + share * (other.astype(np.float32) - picture)
    return np.asarray(np.round(mixed), np.uint8)
