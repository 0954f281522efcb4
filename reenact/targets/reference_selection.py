"""Chooses a target's reference pictures: the calmest face, then those that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    crop_transform,
    estimate_pose,
    farthest_points,
    rotation_vector,
    to_face_frame,
)
from reenact.imaging import crop_image
from reenact.types import Array, Image

MAX_REFERENCES: Final = 16

MIN_DIFFERENCE: Final = 0.4
"""Minimum distance, in `Look.features`, of a new reference to those already chosen."""

_USUAL_EYES: Final = 65
"""Percentile of the opening of a person's eyes that is usual: people blink and squint more often
than they open their eyes wide."""

_SHARPNESS_SIDE_PX: Final = 256
_BLURRED: Final = 0.6
"""A frame below this fraction of the median sharpness is not used as a reference."""

_HEAD_UNIT_RAD: Final = float(np.radians(12))
_FEATURE_UNITS: Final = np.array(
    [_HEAD_UNIT_RAD, _HEAD_UNIT_RAD, _HEAD_UNIT_RAD, 0.12, 0.10, 0.06], np.float32
)
"""The unit of each feature, a clear difference: head angles in radians, then opening and width of
the mouth and opening of the eyes in iod."""


@dataclass(frozen=True, slots=True)
class Look:
    """The measurements of a face on which the choice is based.

    Attributes:
        features: float32 (6,): pitch, yaw, roll of the head, opening and width of the mouth,
            opening of the eyes, each divided by its unit.
        sharpness: mean gradient magnitude of the luma in the face's crop, levels per px.
    """

    features: Array
    sharpness: float


def measure_look(image: Image, points: Array) -> Look:
    """Measure a face with (478, 3) px landmarks in a picture, uint8 (H, W, 3) RGB."""
    pose = estimate_pose(points)
    shape = to_face_frame(points, pose)

    def gap(first: int, second: int) -> float:
        return float(np.linalg.norm(shape[first] - shape[second]))

    values = [
        *rotation_vector(pose.rotation),
        gap(13, 14),
        gap(61, 291),
        (gap(159, 145) + gap(386, 374)) / 2,
    ]
    features = np.array(values, np.float32) / _FEATURE_UNITS
    return Look(features, _sharpness(image, points))


def calmest(looks: Sequence[Look]) -> int:
    """Return the index of the calmest, most frontal and sharpest face.

    A calm face has a closed mouth of the median width, and eyes that are open as usual.
    """
    features = np.stack([look.features for look in looks])
    sharpness = _relative_sharpness(looks)
    usual_width = np.median(features[:, 4])
    usual_eyes = np.percentile(features[:, 5], _USUAL_EYES)
    unrest = (
        np.linalg.norm(features[:, :3], axis=1)
        + 2 * features[:, 3]
        + np.abs(features[:, 4] - usual_width)
        + 2 * np.maximum(usual_eyes - features[:, 5], 0)
        + np.maximum(features[:, 5] - usual_eyes, 0)
        + 2 * np.maximum(1 - sharpness, 0)
    )
    return int(unrest.argmin())


def choose_references(
    looks: Sequence[Look],
    count: int = MAX_REFERENCES,
    min_difference: float = MIN_DIFFERENCE,
) -> list[int]:
    """Return at most `count` indices: the calmest, then always the one farthest from those chosen.

    Greedy farthest-point sampling (Gonzalez 1985) in `Look.features`. Blurred frames are left out.
    It stops early if all others are closer than `min_difference`.
    """
    first = calmest(looks)
    return [
        first,
        *farthest_points(
            np.stack([look.features for look in looks]),
            [first],
            count - 1,
            min_distance=min_difference,
            allowed=_relative_sharpness(looks) >= _BLURRED,
        ),
    ]


def choose_more(known: Sequence[Look], looks: Sequence[Look]) -> list[int]:
    """Return indices of the looks that show most of what a target's references do not.

    At most so many that there are `MAX_REFERENCES` with those known, each the farthest from all
    before it. Blurred ones are left out, also if all are, compared with the first reference.
    """
    everyone = [*known, *looks]
    bound = _BLURRED * known[0].sharpness
    sharp = [look.sharpness >= bound for look in everyone]
    chosen = farthest_points(
        np.stack([look.features for look in everyone]),
        range(len(known)),
        MAX_REFERENCES - len(known),
        min_distance=MIN_DIFFERENCE,
        allowed=np.array(sharp) & (_relative_sharpness(everyone) >= _BLURRED),
    )
    return [index - len(known) for index in chosen]


def _relative_sharpness(looks: Sequence[Look]) -> NDArray[np.float32]:
    values = np.array([look.sharpness for look in looks], np.float32)
    return np.asarray(values / max(float(np.median(values)), 1e-6), dtype=np.float32)


def _sharpness(image: Image, points: Array) -> float:
    side = _SHARPNESS_SIDE_PX
    crop = crop_image(image, crop_transform(points, side), side)
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.hypot(np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]).mean())
