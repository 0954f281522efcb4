"""Draws a target's glasses as a rigid body in front of its face.

The mesh would bend them with the cheeks and brows, and as if they lay on the temples. So the photo
is warped without them, and they are drawn over it as they turn with the head: the rims on a curved
surface that rests on the nose, and each arm stretched from its rim to where it leaves the face.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import to_face_frame, to_image
from reenact.face.glasses import TEMPLES, Glasses
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM
from reenact.rendering.mesh_warp import grid_to_crop, whole_blocks
from reenact.types import Array, Image, Pose

_NOSE: Final = (168, 6)
"""Landmarks of the nose that glasses rest on."""

_BEHIND: Final = 0.02
"""Distance of the middle of the glasses behind them, iod."""

_CURVE: Final = 0.3
"""Distance behind their middle in which glasses are one iod aside of it, iod."""

_CURVED: Final = 1.1
"""Distance from the middle up to which they are curved, iod."""

_MIN_ARM: Final = 0.05
"""Minimum length of an arm, iod; it prevents a division by zero."""

_MAX_STRETCH: Final = 15.0
"""Factor by which an arm may be longer than in the photo."""

_SHORT_ARM: Final = 0.12
"""Length, iod, up to which the photo does not show an arm, which is drawn in the rims' colour."""

_FADE_IN: Final = 0.15
"""Length, iod, by which such an arm is longer than in the photo when it is drawn in full."""

_ARM_WIDTH: Final = 0.5
"""Width of an arm that the photo does not show, as a share of the rims'."""

_FRACTION: Final = 4
"""Bits of a coordinate behind the point, as OpenCV draws lines."""

_AWAY: Final = np.array([-1, 1], np.float32)
"""The direction away from the nose on the side of the right and of the left eye."""


class GlassesLayer:
    """The glasses of one picture.

    Args:
        picture: the picture, with the glasses, uint8 (S, S, 3) RGB.
        glasses: where they are in it.
        landmarks: (478, 3) of the picture, in the network's px.
        pose: their pose.
        side_px: the picture's side in the network's px.
    """

    def __init__(
        self, picture: Image, glasses: Glasses, landmarks: Array, pose: Pose, side_px: int
    ) -> None:
        self._picture, self._alpha = picture, glasses.alpha
        self._pose, self._side_px = pose, side_px
        self._nose = to_face_frame(landmarks[list(_NOSE)], pose)
        self._depth = float(self._nose[:, 2].mean()) + _BEHIND
        scale, shift = grid_to_crop(len(picture), side_px)
        x, y, width, height = cv2.boundingRect(glasses.alpha)
        corners = np.array([(a, b) for a in (x, x + width) for b in (y, y + height)], np.float32)
        self._corners, self._hinges = (
            self._on_glasses(places * np.float32(scale) + np.float32(shift), pose)
            for places in (corners, glasses.hinges)
        )
        self._colour = [*glasses.colour.tolist(), 255.0]
        self._arm_px = _ARM_WIDTH * glasses.width_px / len(picture)
        self._seen = np.maximum(self._lengths(landmarks[list(TEMPLES), :2], pose), 0)

    def draw(self, person: Image, maps: Array, drive: Array, pose: Pose) -> None:
        """Draw them over a warped person, uint8 (S, S, 4) RGBA; in place.

        Args:
            person: the person, of the picture's size.
            maps: of the same mesh, see `HeadMesh.maps`.
            drive: (478, 3) driven landmarks, in the network's px.
            pose: their pose.
        """
        shift = (drive[list(_NOSE)] - to_image(self._nose, pose))[:, :2].mean(axis=0)
        temples = drive[list(TEMPLES), :2] - shift
        ends = np.concatenate([to_image(self._corners, pose)[:, :2], temples]) + shift
        side = len(maps)
        low, high = ends.min(axis=0) / MAP_STEM - 1, ends.max(axis=0) / MAP_STEM + 1
        firsts, lasts = np.floor(low).astype(int).tolist(), np.ceil(high).astype(int).tolist()
        box_ends = [(firsts[axis], lasts[axis] - 1) for axis in (1, 0)]
        cells, pixels = whole_blocks(box_ends, side, len(person))
        box = person[pixels]
        if not box.size:
            return
        cell, offset = grid_to_crop(side, self._side_px)
        rows, columns = (np.arange(side)[part] * np.float32(cell) + offset for part in cells)
        places = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float32)
        at = self._on_glasses(places - shift, pose)
        source = to_image(at, self._pose)[..., :2]
        lengths = self._lengths(temples, pose)
        beyond = _AWAY * (at[..., :1] - self._hinges[:, 0])
        torn = lengths > _MAX_STRETCH * self._seen
        unseen = ((beyond > _MIN_ARM) & torn).any(axis=-1)
        shown = 1 - unseen.astype(np.float32)
        along = (beyond / np.maximum(lengths, _MIN_ARM)).max(axis=-1, keepdims=True)
        on_arm = np.clip(along, 0, 1)
        skin = places + maps[cells][..., FLOW] * np.float32(self._side_px / 2)
        source += on_arm * (skin - source)
        to_picture = np.float32(len(person) / self._side_px)
        corner = np.array([pixels[1].start, pixels[0].start])
        for number in np.flatnonzero((self._seen < _SHORT_ARM) & (lengths > self._seen)):
            ends = (self._arm(number, lengths[number], pose) + shift + 0.5) * to_picture - 0.5
            share = min((lengths[number] - self._seen[number]) / _FADE_IN, 1)
            self._draw_arm(box, ends - corner, float(share), len(person))
        fine = cv2.resize(
            (source + np.float32(0.5)) * to_picture - np.float32(0.5), box.shape[1::-1]
        )
        x, y = (np.ascontiguousarray(fine[..., axis]) for axis in (0, 1))
        colours = cv2.remap(self._picture, x, y, cv2.INTER_CUBIC)
        alpha = cv2.remap(self._alpha, x, y, cv2.INTER_LINEAR)  # 0 outside of the picture
        share = alpha * cv2.resize(shown, box.shape[1::-1]) * np.float32(1 / 255)
        drawn = cv2.merge([*cv2.split(colours), np.maximum(alpha, box[..., 3])])
        box[:] = cv2.blendLinear(drawn, box, share, 1 - share)

    def _lengths(self, temples: Array, pose: Pose) -> Array:
        """Return the lengths of the arms, (2,) iod, to the temples, (2, 2) px; or below 0."""
        edges = self._on_glasses(temples, pose)
        return np.asarray(_AWAY * (edges - self._hinges)[:, 0], np.float32)

    def _arm(self, number: int, length: float, pose: Pose) -> Array:
        """Return the ends of an arm of this length, iod, in a picture: (2, 2) px."""
        hinge = self._hinges[number]
        end = hinge + np.array([_AWAY[number] * length, 0, 0], np.float32)
        return to_image(np.stack([hinge, end]), pose)[:, :2]

    def _draw_arm(self, box: Image, ends: Array, share: float, size: int) -> None:
        """Draw an arm that the photo does not show, in the usual colour of the rims; in place."""
        drawn = box.copy()
        first, last = np.round(ends * 2**_FRACTION).astype(int).tolist()
        width = max(1, round(self._arm_px * size))
        cv2.line(drawn, first, last, self._colour, width, cv2.LINE_AA, _FRACTION)
        box[:] = cv2.addWeighted(drawn, share, box, 1 - share, 0)

    def _on_glasses(self, places: Array, pose: Pose) -> Array:
        """Return the points of the glasses, (..., 3) in the face frame, seen at (..., 2) px."""
        seen = (places - pose.translation[:2]) / np.float32(pose.scale)
        flat = np.linalg.inv(pose.rotation[:2, :2]).T
        depth = np.full(seen.shape[:-1], self._depth, np.float32)
        for _ in range(3):  # the depth depends on the place, but hardly
            plane = (seen - depth[..., None] * pose.rotation[:2, 2]) @ flat
            depth = self._depth_at(plane[..., 0])
        return np.asarray(np.concatenate([plane, depth[..., None]], axis=-1), np.float32)

    def _depth_at(self, across: Array) -> Array:
        """Return the depth of the glasses at distances from their middle; both are iod."""
        aside = np.clip(across, -_CURVED, _CURVED)
        return np.asarray(self._depth + _CURVE * np.square(aside), np.float32)
