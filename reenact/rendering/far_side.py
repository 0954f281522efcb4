"""The far side of a face that was photographed turned away, drawn from the photo's mirror image.

When such a head turns back, its far cheek is enlarged from the few px that the photo has of it, or
from what is behind it. The near cheek shows almost the same, mirrored.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import canonical_face, estimate_pose, mirror_index, mirrored
from reenact.face.topology import CHIN
from reenact.imaging import resized_square
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM, MapChannel
from reenact.rendering.layers import Reference
from reenact.types import HEAD_ALONE, Array, Image, Pose

_TURNED: Final = 0.17
"""Sine of the angle from which a photo shows one side of the face better than the other."""

_TURNED_BACK: Final = 0.05
"""How much of that sine a head turns back before its far side is drawn."""

_STRETCHED: Final = (0.1, 0.3)
"""Px of the photo for each px of the picture: below the first the mirror image shows the skin,
above the second the photo itself."""

_BETTER: Final = 0.1
"""By how much more px the mirror image has to show it."""

_EDGE: Final = np.ones((5, 5), np.uint8)
"""Cells around what is stretched that the mirror image draws as well."""

_HAIR: Final = np.ones((21, 21), np.uint8)
"""Cells beyond the face's outline that are drawn as the skin beside them is."""

_NECK_CELLS: Final = 10
"""Cells below the chin in which the mirror image fades out: shoulders stay where they are."""

_SOFT: Final = (13, 13)
"""Cells over which one passes into the other."""

_CHEEK: Final = (0.15, 0.7)
"""Distances from the middle of a face between which its two sides are compared, iod."""

_LIT: Final = (0.7, 1.4)
"""Bounds of the ratio of light on the far side to that on the near one."""


def is_turned(pose: Pose) -> bool:
    """Return whether a photo in that pose shows one side of the face better than the other."""
    return abs(float(pose.rotation[0, 2])) > _TURNED


def turns_back(reference: Pose, pose: Pose) -> bool:
    """Return whether a head shows more of the side that was the far one in the reference."""
    away, now = float(reference.rotation[0, 2]), float(pose.rotation[0, 2])
    return math.copysign(1, away) * (away - now) > _TURNED_BACK


def mirror_image(reference: Reference) -> Reference:
    """Return the mirror image of a reference, lit as its far side is; its body is unknown."""
    soft = cv2.blur(resized_square(reference.person[..., :3], reference.side_px), (9, 9))
    light = np.append(_light(np.asarray(soft, np.uint8), reference.landmarks, reference.pose), 1.0)
    person, shut = (
        np.clip(one[:, ::-1] * light, 0, 255).astype(np.uint8)
        for one in (reference.person, reference.shut)
    )
    points = mirrored(reference.landmarks, reference.side_px)
    return replace(
        reference,
        person=person,
        shut=shut,
        rimless=np.ascontiguousarray(reference.rimless[:, ::-1]),
        landmarks=points,
        pose=estimate_pose(points),
        body=HEAD_ALONE,
    )


def _light(soft: Image, landmarks: Array, pose: Pose) -> Array:
    """Return the ratio of light on the far side of a face to that on its near side, RGB (3,)."""
    column, row = np.clip(np.round(landmarks[:, :2]), 0, len(soft) - 1).astype(int).T
    beyond = canonical_face()[:, 0] * -np.sign(pose.rotation[0, 2])
    far = np.flatnonzero((beyond > _CHEEK[0]) & (beyond < _CHEEK[1]))
    near = mirror_index()[far]
    there, here = (soft[row[side], column[side]].mean(axis=0) for side in (far, near))
    return np.asarray(np.clip(there / np.maximum(here, 1), *_LIT), np.float32)


def far_share(maps: Array, mirror: Array, landmarks: Array) -> Array:
    """Return how much of each cell the mirror image draws, float32 (side, side), 0 to 1.

    Args:
        maps: of the photo, see `HeadMesh.maps`.
        mirror: the same of its mirror image.
        landmarks: (478, 3) driven ones, in the network's px.
    """
    density, other = _density(maps), _density(mirror)
    least, enough = _STRETCHED
    stretched = np.clip((enough - density) / (enough - least), 0, 1)
    skin = maps[..., MapChannel.SKIN]
    share = stretched * np.clip((other - density) / _BETTER, 0, 1) * skin
    rows = np.arange(len(share), dtype=np.float32)[:, None]
    above = np.clip((landmarks[CHIN, 1] / MAP_STEM - rows) / _NECK_CELLS + 1, 0, 1)
    share = np.maximum(cv2.dilate(share, _EDGE), cv2.dilate(share, _HAIR) * (1 - skin))
    return np.asarray(cv2.blur(share * above, _SOFT), np.float32)


def _density(maps: Array) -> Array:
    """Return the px of a reference for each px of the picture, (side, side); negative if flipped.

    It is the determinant of the flow's Jacobian.
    """
    flow = cv2.blur(np.ascontiguousarray(maps[..., FLOW]), (3, 3)) * np.float32(len(maps) / 2)
    across, down = (
        cv2.Sobel(flow, cv2.CV_32F, *way, ksize=3, scale=1 / 8) for way in ((1, 0), (0, 1))
    )
    grown = (across[..., 0] + 1) * (down[..., 1] + 1)
    return np.asarray(grown - across[..., 1] * down[..., 0], np.float32)
