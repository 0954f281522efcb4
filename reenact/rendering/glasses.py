"""Keeps a target's glasses rigid.

The mesh would bend glasses with the cheeks and brows, and as if they lay on the temples. So the
flow is rigid at their rims: that of a curved surface which rests on the nose and turns with the
head. Around the rims, and from the rims towards the eyes, it passes into the mesh's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import (
    filled_outline,
    square_to_crop,
    to_face_frame,
    to_image,
    yaw_sine,
)
from reenact.face.glasses import Rim
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM, MapChannel
from reenact.rendering.mesh_warp import grid_to_crop
from reenact.types import Array, Pose

_NOSE: Final = (168, 6)
"""Landmarks of the nose that glasses rest on."""

_BEHIND: Final = 0.02
"""Distance of the middle of the glasses behind them, iod."""

_CURVE: Final = 0.3
"""Distance behind their middle in which glasses are one iod aside of it, iod."""

_CURVED: Final = 1.1
"""Distance from the middle up to which they are curved, iod."""

_MARGIN: Final = 0.03
"""Distance around the rims that belongs to them, iod."""

_REACH: Final = 0.35
"""Distance around the rims in which the flow passes into the mesh's, iod."""

_PACE: Final = 0.7
"""Distance by which what a lens shows may leave its rigid place, as a share of that from the rim.
Below 1, the mesh can't draw the rim a second time."""


_AROUND_EYES: Final = (5, 5)
"""Kernel, in cells, that blurs the edge of the eyes, which keep still."""

_BOX: Final = np.array([(x, y, 0) for x in (-1.6, 1.6) for y in (-1.1, 1.1)], np.float32)
"""Corners of a box around all glasses and `_REACH`, from the nose, iod."""


@dataclass(frozen=True, slots=True)
class RigidGlasses:
    """The glasses of one picture.

    Attributes:
        cells: each cell's distance, iod, from the rims, and coverage, 0 to 1, by rims and lenses,
            float32 (side, side, 2).
        nose: (2, 3) landmarks that they rest on, in the face frame.
        pose: pose of the picture.
    """

    cells: Array
    nose: Array
    pose: Pose

    @classmethod
    def of(
        cls, rims: tuple[Rim, Rim], size: int, landmarks: Array, pose: Pose, side_px: int
    ) -> RigidGlasses:
        """Return those with these rims.

        Args:
            rims: in px of the picture.
            size: the picture's side.
            landmarks: (478, 3) of the picture, in the network's px.
            pose: their pose.
            side_px: the picture's side in the network's px.
        """
        side = side_px // MAP_STEM
        to_cells = square_to_crop((0, 0, size), side)
        inner, outer = (
            [edge @ to_cells[:, :2].T + to_cells[:, 2] for edge in edges]
            for edges in zip(*rims, strict=True)
        )
        lenses, within = (_filled(outlines, side) for outlines in (inner, outer))
        beside = (cv2.subtract(within, lenses) < 128).astype(np.uint8)
        distance = cv2.distanceTransform(beside, cv2.DIST_L2, 5) * (MAP_STEM / pose.scale)
        distance = np.maximum(distance - _MARGIN, 0)
        cells = np.stack([distance, within / 255], axis=-1).astype(np.float32)
        return cls(cells, to_face_frame(landmarks[list(_NOSE)], pose), pose)

    def mirrored(self, landmarks: Array, pose: Pose) -> RigidGlasses:
        """Return those of the mirror image, whose landmarks and pose these are."""
        nose = to_face_frame(landmarks[list(_NOSE)], pose)
        cells = np.ascontiguousarray(self.cells[:, ::-1])
        return replace(self, cells=cells, nose=nose, pose=pose)

    def hold(self, maps: Array, drive: Array, pose: Pose) -> None:
        """Let the flow of maps move them rigidly; in place.

        Where they reach beyond the far cheek, they belong to the face's skin, as in front of what
        is behind it.

        Args:
            maps: see `HeadMesh.maps`.
            drive: (478, 3) driven landmarks, in the network's px.
            pose: their pose.
        """
        scale, offset = (np.float32(value) for value in grid_to_crop(len(maps), self._side_px))
        shift = (drive[list(_NOSE)] - to_image(self.nose, pose))[:, :2].mean(axis=0)
        corners = (to_image(self.nose[:1] + _BOX, pose)[:, :2] + shift - offset) / scale
        first, last = np.clip([corners.min(axis=0), corners.max(axis=0)], 0, len(maps)).astype(int)
        maps = maps[first[1] : last[1], first[0] : last[0]]
        if not maps.size:
            return
        columns, rows = (
            np.arange(*ends, dtype=np.float32) for ends in zip(first, last, strict=True)
        )
        places = np.stack(np.meshgrid(columns, rows), axis=-1) * scale + offset
        at = self._on_glasses(places - shift, pose)
        source = to_image(at, self.pose)[..., :2]
        x, y = map(np.ascontiguousarray, np.moveaxis((source - offset) / scale, -1, 0))
        cells = cv2.remap(self.cells, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        from_rim, is_within = cells[..., 0], cells[..., 1] > 0.5
        flow, skin = maps[..., FLOW], maps[..., MapChannel.SKIN]
        change = source - places - flow * np.float32(self._side_px / 2)
        length = np.hypot(*np.moveaxis(change, -1, 0)) / np.float32(self.pose.scale)
        in_lens = 1 - np.float32(_PACE) * from_rim / np.maximum(length, 1e-3)
        share = np.maximum(np.where(is_within, in_lens, 1 - from_rim / np.float32(_REACH)), 0)
        share[~is_within] **= 2
        narrowed = at[..., 0] * (yaw_sine(pose.rotation) - yaw_sine(self.pose.rotation)) < 0
        beyond = narrowed & (skin < 0.5)
        share[beyond & ~is_within] = 0
        skin[beyond & is_within] = 1
        # The eyes are drawn where the mesh has them, over the rest.
        share *= 1 - cv2.blur(np.ascontiguousarray(maps[..., MapChannel.EYES]), _AROUND_EYES)
        flow += share[..., None] * change * np.float32(2 / self._side_px)

    @property
    def _side_px(self) -> int:
        return MAP_STEM * len(self.cells)

    @property
    def _depth(self) -> float:
        return float(self.nose[:, 2].mean()) + _BEHIND

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


def _filled(outlines: list[Array], side: int) -> NDArray[np.uint8]:
    """Return how far outlines, (N, 2) cells each, cover the cells: uint8 (side, side)."""
    first, second = (filled_outline(outline, (side, side)) for outline in outlines)
    return np.asarray(first | second, np.uint8)
