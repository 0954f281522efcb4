"""Faces of clips drawn with acted emotions, so that every person shows each emotion.

Clips of people who talk rarely show fear, contempt or sadness, and their frames also differ by
light and pose. Here the live generator draws a frame, without its network, at the person's resting
shape plus the motion of an acted emotion (`emotions.acted_deviations`). So a mouth that opens has
drawn teeth. The picture beside the face is unchanged, so that a pair of frame and result differs by
the expression alone (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.evaluation.recognition import ClipExpressions
from reenact.expression.emotions import EMOTIONS, acted_deviations, acted_units
from reenact.face.geometry import estimate_pose, square_to_crop, to_image, transform_points
from reenact.face.regions import apply_contact
from reenact.face.topology import OVAL
from reenact.imaging import crop_image, resized_square
from reenact.models.warp_unet_inputs import NETWORK_PX
from reenact.rendering.aligned_face import soft_region, to_frame
from reenact.rendering.layers import Reference
from reenact.rendering.painter import Painter
from reenact.rendering.warp_unet import person_coverage
from reenact.types import Array

EXAGGERATION: Final = 1.3
"""Factor on the motion: a network reproduces less of it than it was trained with."""

LEVELS: Final = (0.4, 0.7, 1.0, 1.0)
"""Range of the emotions' intensity, drawn at random."""


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
    """Draw one frame of a clip with the seven emotions.

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
    """Draw one frame of a clip with the seven emotions, as strongly as `levels`, (8,), says.

    The first level is neutral's, 0; the other arguments are those of `act`.
    """
    smaller = square_to_crop((0, 0, images.shape[1]), NETWORK_PX)
    picture = resized_square(images[found.frames[row]], NETWORK_PX)
    points = transform_points(found.points[row], smaller)
    pose, affine = estimate_pose(points), to_frame(points, size_px)
    (coverage,) = person_coverage([picture], [points])
    painter = Painter(Reference.of(picture, coverage, points))
    pictures, shapes = [crop_image(picture, affine, size_px)], [points]
    for number, level in enumerate(levels[1:].tolist(), start=1):
        motion = np.float32(EXAGGERATION * level) * acted_deviations()[number]
        wanted = to_image(apply_contact(found.rest + motion, found.rest, None), pose)
        bent, _ = painter.paint(wanted, pose)
        face = np.maximum(
            soft_region(points, OVAL, NETWORK_PX, grown=2),
            soft_region(wanted, OVAL, NETWORK_PX, grown=2),
        )
        mixed = picture + face * (bent.astype(np.float32) - picture)
        pictures.append(crop_image(np.asarray(np.round(mixed), np.uint8), affine, size_px))
        shapes.append(wanted)
    shown = levels[:, None] * np.eye(len(EMOTIONS), dtype=np.float32)
    shown[:, 0] = 1 - levels
    units = levels[:, None] * acted_units()
    units[0], shown[0] = found.units[row], found.weights[row]
    aligned = transform_points(np.stack(shapes), affine)
    return ActedFaces(np.stack(pictures), units, shown, levels, aligned)
