"""Whether pictures of a face agree in light, hair and surroundings."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import region_mask
from reenact.face.topology import OVAL
from reenact.types import Array, Image, Target

_MAX_COLOUR_CHANGE: Final = 24.0
"""Pictures whose faces, or whose surroundings, differ in their mean colour by more levels are not
alike. Frames of a clip differ by up to 23, three of four pairs of people by more than 30."""


def is_alike(target: Target) -> bool:
    """Return whether all references of a target have the light and surroundings of the first."""
    first, *others = _colours_of(target)
    return all(_colour_change(first, one) <= _MAX_COLOUR_CHANGE for one in others)


def is_like(picture: Image, points: Array, target: Target) -> bool:
    """Return whether a picture has the light and surroundings of one of a target's references.

    Args:
        picture: uint8 (S, S, 3) RGB, cut as the references are.
        points: (478, 3) px landmarks of its face.
        target: the target.
    """
    colours = _mean_colours(picture, points)
    changes = (_colour_change(colours, one) for one in _colours_of(target))
    return min(changes) <= _MAX_COLOUR_CHANGE


def _colours_of(target: Target) -> list[Array]:
    faces = zip(target.references, target.landmarks, strict=True)
    return [_mean_colours(picture, points) for picture, points in faces]


def _colour_change(one: Array, other: Array) -> float:
    """Return how much the mean colours of faces, or of what is around them, differ, levels."""
    return float(np.abs(one - other).mean(axis=1).max())


def _mean_colours(picture: Image, points: Array) -> Array:
    """Return the mean colours of the face and of what is around it, (2, 3) levels."""
    face = region_mask(points, OVAL, len(picture))
    return np.array([cv2.mean(picture, mask)[:3] for mask in (face, 255 - face)], np.float32)
