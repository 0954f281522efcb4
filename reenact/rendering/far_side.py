"""Draws the far side of a face that is turned in the photo from the photo's mirror image.

When such a head turns back, the warp would stretch the few px that the photo has of the far cheek.
The mirrored near cheek looks almost the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    axis_in_image,
    canonical_face,
    estimate_pose,
    mirror_index,
    mirrored,
    region_mask,
    yaw_sine,
)
from reenact.face.topology import CHIN, LOWER_LIP, NOSE_BASE, NOSE_BRIDGE, OVAL
from reenact.imaging import ramp, resized_square
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM, MapChannel
from reenact.rendering.eye_copies import mirrored_picture
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import Reference, reduced
from reenact.rendering.mesh_warp import (
    enlarged_box,
    grid_to_crop,
    rasterise,
    sources,
    warp_image,
)
from reenact.types import HEAD_ALONE, Array, Image, Pose

_TURNED: Final = 0.07
"""Sine of the angle from which a photo shows one side of the face better than the other."""

_TURNED_BACK: Final = 0.05
"""Decrease of that sine from which the far side is drawn."""

_STRETCHED: Final = (0.1, 0.3)
"""Px of the photo for each px of the picture: below the first value the skin is drawn from the
mirror image, above the second from the photo."""

_MIN_GAIN: Final = 0.1
"""The mirror image is used in full only if it has this many more px for each px of the picture."""

_STRETCHED_DILATION: Final = np.ones((5, 5), np.uint8)
"""Kernel, in cells, that dilates the stretched skin."""

_HAIR_DILATION: Final = np.ones((21, 21), np.uint8)
"""Kernel, in cells, that extends the mirror image beyond the face's outline, into the hair."""

_COVERED: Final = (0.2, 0.5)
"""By how much more than the mirror image a photo differs from skin, as a logarithm, where hair or
wall may be in front of it, and where it is."""

_DARK: Final = 8.0
"""Grey levels that are added to colours, because ratios of dark ones are noise."""

_COVERED_RIM: Final = np.ones((1, 9), np.uint8)
"""Kernel, in cells, that erodes the face to where something dark is a shadow rather than hair."""

_COVERED_DILATION: Final = np.ones((5, 5), np.uint8)
"""Kernel, in cells, that dilates what is in front of the skin."""

_COVERED_TURN: Final = (2 * _TURNED_BACK, 4 * _TURNED_BACK)
"""Sine of the angle by which a face has turned back, from which the mirror image begins to replace
that, and from which it does."""

_HIDING_TURN: Final = (0.05, 0.2)
"""Sine of the yaw, towards the photo's side, from which hair and ear of the far side begin to be
hidden behind the face, and from which they are."""

_FADE_CELLS: Final = 10
"""Cells in which the mirror image fades out below the chin, and beside the face below the nose,
where ears end: collars and shoulders are not mirrored."""

_BLUR: Final = (13, 13)
"""Kernel, in cells, that blurs the transition."""

_EDGE: Final = np.ones((2, 2), np.uint8)
"""Kernel, in cells, that erodes what is beyond a face's outline: that edge is exact to a cell."""

_HAIR_EDGE: Final = np.ones((5, 5), np.uint8)
"""Kernel, in cells, that erodes hair: the wall shines through its edge."""

_AROUND_CHEEK: Final = np.ones((3, 3), np.uint8)
"""Kernel, in cells, that dilates a photographed cheek to where hair or ear begins."""

_HAIR_BLUR: Final = (5, 5)
"""Kernel, in cells, that blurs it, beside the cheek as well: or it would end in steps there."""

_RIM: Final = np.ones((5, 5), np.uint8)
"""Kernel, in px, that erodes a person: the px around it are mixed with the wall."""

_BESIDE_FACE: Final = np.ones((5, 5), np.uint8)
"""Kernel, in cells, that dilates a face to where its colours end."""

_STRAY_TURN: Final = (_TURNED_BACK, 2 * _TURNED_BACK)
"""Sine of the angle by which a face has turned back, from which its photographed cheek begins to be
hidden beside the driven one, and from which it is."""

_STRAY_DILATION: Final = np.ones((7, 7), np.uint8)
"""Kernel, in cells, that dilates the photographed cheek beside the driven one."""

_OUTLINE_BLUR: Final = (7, 7)
_OUTLINE_SLOPE: Final = 8.0
"""Kernel that smooths the driven outline, in cells, and the slope of the edge that is drawn."""

_CHEEK: Final = (0.15, 0.7)
"""Range of distances from a face's middle, iod, in which the light on its sides is compared."""

_LIGHT_BOUNDS: Final = (0.7, 1.4)
"""Bounds of the ratio of the light on the far side to that on the near side."""


def is_turned(pose: Pose) -> bool:
    """Return whether a photo in that pose shows one side of the face better than the other."""
    return abs(yaw_sine(pose.rotation)) > _TURNED


def turns_back(reference: Pose, pose: Pose) -> bool:
    """Return whether a head shows more of the reference's far side than the reference does."""
    return _turned_back(reference, pose) > _TURNED_BACK


def _turned_back(reference: Pose, pose: Pose) -> float:
    """Return by how much the sine of a head's yaw is smaller than the reference's."""
    return abs(yaw_sine(reference.rotation)) - remaining_turn(reference, pose)


def remaining_turn(reference: Pose, pose: Pose) -> float:
    """Return the sine of a head's yaw, positive if it is turned to the reference's side."""
    side = math.copysign(1, yaw_sine(reference.rotation))
    return side * yaw_sine(pose.rotation)


def mirror_image(reference: Reference) -> Reference:
    """Return the mirror image of a reference, lit like its far side; its body is unknown."""
    blurred = cv2.blur(resized_square(reference.person[..., :3], reference.side_px), (9, 9))
    light = _light_ratio(np.asarray(blurred, np.uint8), reference.landmarks, reference.pose)
    gains = np.append(light, 1.0)  # the alpha channel keeps its values
    person, shut = (
        mirrored_picture(picture, gains) for picture in (reference.person, reference.shut)
    )
    nearest = _nearest(np.asarray(cv2.erode(person[..., 3], _RIM) == 255))
    for picture in (person, shut):
        picture[..., :3] = picture.reshape(-1, 4)[nearest, :3]
    points = mirrored(reference.landmarks, reference.side_px)
    pose = estimate_pose(points)
    return replace(
        reference,
        person=person,
        shut=shut,
        eyes=reference.eyes and reference.eyes.mirrored(len(person), gains),
        landmarks=points,
        pose=pose,
        body=HEAD_ALONE,
        glasses=reference.glasses and reference.glasses.mirrored(points, pose),
    )


def _nearest(within: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the flat index of the px nearest to each that is within a region, (H, W)."""
    if not within.any():
        return np.arange(within.size).reshape(within.shape)
    outside = np.asarray(~within, np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(int(labels.max()) + 1, np.int64)
    places[labels[within]] = np.flatnonzero(within)
    return np.asarray(places[labels])


def _light_ratio(picture: Image, landmarks: Array, pose: Pose) -> Array:
    """Return the ratio of the light on a face's far side to that on its near side, RGB (3,)."""
    column, row = np.clip(np.round(landmarks[:, :2]), 0, len(picture) - 1).astype(int).T
    far_side = -np.sign(yaw_sine(pose.rotation))
    distance = canonical_face()[:, 0] * far_side
    far = np.flatnonzero((distance > _CHEEK[0]) & (distance < _CHEEK[1]))
    near = mirror_index()[far]
    far_light, near_light = (picture[row[at], column[at]].mean(axis=0) for at in (far, near))
    return np.asarray(np.clip(far_light / np.maximum(near_light, 1), *_LIGHT_BOUNDS), np.float32)


def covered_cheek(reference: Reference, mirror: Reference) -> NDArray[np.uint8]:
    """Return which cells of a photo show hair or wall at the rim of its far cheek, (side, side).

    The landmarks of that rim are guessed. A head that turns back would stretch what is there.

    Args:
        reference: the photo.
        mirror: its `mirror_image`.
    """
    side, poses = reference.side_px // MAP_STEM, (mirror.pose, reference.pose)
    points = mirror.landmarks, reference.landmarks
    maps = head_mesh().maps(*points, reference.side_px, side, poses=poses)
    flow = sources(np.ascontiguousarray(maps[..., FLOW]))
    photo, flipped = (
        np.asarray(cv2.resize(one.person, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        for one in (reference, mirror)
    )
    skin = _far_skin(maps, reference.pose)
    rim = skin * (cv2.erode(maps[..., MapChannel.SKIN], _COVERED_RIM) == 0)
    rim *= maps[..., MapChannel.ATLAS_Y] > 0  # a fringe stays
    odd, mirror_odd = (_unlike_skin(one, skin) for one in (photo, warp_image(flipped, flow)))
    low, high = _COVERED
    covered = rim * np.clip((odd - mirror_odd - low) / (high - low), 0, 1)
    return np.asarray(cv2.dilate(covered * 255, _COVERED_DILATION), np.uint8)


def _unlike_skin(picture: Image, skin: Array) -> Array:
    """Return by what factor cells of a picture differ from most of its skin, as its logarithm."""
    colours = np.log(picture[..., :3] + np.float32(_DARK))
    if skin.any():
        colours -= np.median(colours[skin > 0], axis=0)
    return np.asarray(np.abs(colours).mean(axis=-1), np.float32)


def _far_skin(maps: Array, reference: Pose) -> Array:
    """Return which cells show skin of a reference's far side, float32 (side, side), 0 or 1."""
    is_far = maps[..., MapChannel.ATLAS_X] * yaw_sine(reference.rotation) < 0
    return np.asarray(maps[..., MapChannel.SKIN] * is_far)


def far_share(
    maps: Array, mirror: Array, landmarks: Array, poses: tuple[Pose, Pose], covered: Array
) -> Array:
    """Return the share of the mirror image in each cell, float32 (side, side), 0 to 1.

    Args:
        maps: the photo's, see `HeadMesh.maps`.
        mirror: those of its mirror image.
        landmarks: driven ones, (478, 3), in the network's px.
        poses: poses of the photo and the drive.
        covered: where its `covered_cheek` is drawn.
    """
    density, mirror_density = _density(maps), _density(mirror)
    # Px of hair or wall are none of the cheek's.
    gone = covered * np.float32(ramp(_turned_back(*poses), *_COVERED_TURN))
    density = np.minimum(density, density * (1 - gone))
    low, high = _STRETCHED
    stretched = np.clip((high - density) / (high - low), 0, 1) * _far_skin(maps, poses[0])
    share = stretched * np.clip((mirror_density - density) / _MIN_GAIN, 0, 1)
    above_chin, above_lobes = (
        _above(landmarks[at, :2], poses[1], len(share)) for at in (CHIN, NOSE_BASE)
    )
    hair = above_lobes * np.float32(1 - ramp(remaining_turn(*poses), *_HIDING_TURN))
    hair_share = hair * cv2.dilate(share, _HAIR_DILATION) * (1 - maps[..., MapChannel.SKIN])
    spread = np.maximum(cv2.dilate(share, _STRETCHED_DILATION), hair_share)
    return np.asarray(cv2.blur(spread * above_chin, _BLUR), np.float32)


def _above(point: Array, pose: Pose, side: int) -> Array:
    """Return the share, 0 to 1, of what is above a point, px (2,), along the head's axis."""
    down = axis_in_image(pose.rotation, 1)
    steps = np.arange(side, dtype=np.float32)
    x, y = point / MAP_STEM
    height = (x - steps) * down[0] + (y - steps[:, None]) * down[1]
    return np.asarray(np.clip(height / _FADE_CELLS + 1, 0, 1), np.float32)


def photographed_face(reference: Reference) -> tuple[NDArray[np.uint8], bool]:
    """Find which cells of a reference show its face.

    Returns:
        The cells, uint8 (side, side), 255: they do; and whether it is turned so far that it hides
        the outline of its far side, and reaches beyond that.
    """
    side = reference.side_px // MAP_STEM
    scale, shift = grid_to_crop(side, reference.side_px)
    points = (reference.landmarks - shift) / np.float32(scale)
    shown = rasterise(points[:, :2], head_mesh().face_triangles, side, points[:, 2]) >= 0
    beyond = np.asarray(shown & (region_mask(points, OVAL, side) < 128), np.uint8)
    return np.asarray(shown * np.uint8(255)), bool(cv2.erode(beyond, _EDGE).any())


def behind_face(face: NDArray[np.uint8], side_px: int) -> NDArray[np.int64]:
    """Return for each px of a reference the nearest one beside its face, as a flat index, (S, S).

    Args:
        face: from `photographed_face`.
        side_px: side of the reference, S.
    """
    shown = cv2.resize(cv2.dilate(face, _BESIDE_FACE), (side_px, side_px))
    return _nearest(np.asarray(shown == 0))


def drawn_cheek(maps: Array, face: NDArray[np.uint8]) -> Array:
    """Return where the face of a photo is drawn, float32 (side, side), 0 to 1.

    Args:
        maps: the photo's.
        face: from `photographed_face` or `covered_cheek`.
    """
    moved = warp_image(face, sources(np.ascontiguousarray(maps[..., FLOW])))
    return np.asarray(moved * np.float32(1 / 255))


def stray_cheek(
    maps: Array,
    cheek: Array,
    drive: Array,
    poses: tuple[Pose, Pose],
    person: tuple[Image, Array],
) -> tuple[tuple[slice, ...], Image, Array]:
    """Find where the photographed cheek would be drawn beside the driven one.

    A turned face reaches beyond its landmarks, so that what is beside them is still its cheek.
    While it has hardly turned back, that is as it is in the photo. Below the lips, where neck or
    collar would take its place, the cheek stays.

    Args:
        maps: the photo's.
        cheek: from `drawn_cheek`.
        drive: (478, 3) driven landmarks, in the network's px.
        poses: poses of the photo and the drive.
        person: the person without the face, uint8 (S, S, 4) RGBA, and where it is moved from, px
            of the `enlarged` picture, (S, S, 2).

    Returns:
        A box of the picture; what is behind the cheek there, uint8 (H, W, 4); and the share of
        that, (H, W), 0 to 1.
    """
    side = len(maps)
    skin = maps[..., MapChannel.SKIN]
    above_chin, above_lip, above_eyes = (
        _above(drive[point, :2], poses[1], side) for point in (CHIN, LOWER_LIP, NOSE_BRIDGE)
    )
    spread = cv2.blur(cv2.dilate(cheek * (1 - skin), _STRAY_DILATION), (5, 5))
    stray = np.asarray(spread * above_chin * (1 - above_eyes), np.float32)
    without_face, source = person
    cells, pixels = enlarged_box(stray, without_face)
    behind = warp_image(without_face, reduced(source[pixels]))
    size = behind.shape[1::-1]
    stray = np.asarray(cv2.resize(stray[cells], size), np.float32)
    beside = cv2.resize(cv2.blur(skin, _OUTLINE_BLUR)[cells], size)
    beside = np.clip(_OUTLINE_SLOPE * (np.float32(0.46) - beside), 0, 1)
    wall = np.maximum(cv2.resize(above_lip[cells], size), 1 - behind[..., 3] * np.float32(1 / 255))
    share = stray * beside * wall * np.float32(ramp(_turned_back(*poses), *_STRAY_TURN))
    return pixels, behind, np.asarray(share, np.float32)


def own_hair(maps: Array, cheek: Array, alpha: NDArray[np.uint8]) -> Array:
    """Return how far the photo itself has hair in each cell, float32 (side, side), 0 to 1.

    Args:
        maps: the photo's.
        cheek: from `drawn_cheek`: it is no hair.
        alpha: of the person in the picture, (S, S).
    """
    small = cv2.resize(alpha, cheek.shape[::-1], interpolation=cv2.INTER_AREA)
    beside = 1 - np.maximum(cv2.dilate(cheek, _AROUND_CHEEK), maps[..., MapChannel.SKIN])
    hair = cv2.erode(small, _HAIR_EDGE) * (beside * np.float32(1 / 255))
    return np.asarray(cv2.blur(hair, _HAIR_BLUR), np.float32)


def _density(maps: Array) -> Array:
    """Return the px of a reference for each px of the picture, (side, side).

    It is the determinant of the warp's Jacobian; it is negative where the warp flips the picture.
    """
    flow = cv2.blur(np.ascontiguousarray(maps[..., FLOW]), (3, 3)) * np.float32(len(maps) / 2)
    by_x, by_y = (
        cv2.Sobel(flow, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1))
    )
    stretch = (by_x[..., 0] + 1) * (by_y[..., 1] + 1)
    return np.asarray(stretch - by_x[..., 1] * by_y[..., 0], np.float32)
