"""Composes pictures of driven heads from one reference."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.body_field import moved_from
from reenact.face.geometry import face_box
from reenact.imaging import blend_in
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM, MapChannel
from reenact.rendering.driven_skin import visible_lips
from reenact.rendering.far_side import (
    behind_face,
    covered_cheek,
    drawn_cheek,
    far_share,
    is_turned,
    mirror_image,
    own_hair,
    photographed_face,
    stray_cheek,
    turns_back,
)
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import (
    Reference,
    behind_person,
    blur_edges,
    enlarged,
    lay_over,
    move_person,
    reduced,
    walls_of,
)
from reenact.rendering.mesh_warp import enlarged_box, warp_image
from reenact.rendering.tongue import draw_tongue
from reenact.types import HEAD_ALONE, Array, Body, Image, Pose

Inside = tuple[slice, slice]
"""Rows and columns of cells."""

_ALL: Final = slice(None), slice(None)

_LIFTED_SHARE: Final = 0.15
"""Minimum height of the strip at a photo's lower edge that is stretched if the body rises, as a
share of the side."""

_STEEPNESS: Final = 4.0
"""Factor by which outlines pass into those of the mirror image in a shorter distance than
pictures."""


class Painter:
    """Composes pictures of driven heads from one reference; if it is turned, also from its mirror.

    Args:
        reference: the picture to draw from.
        edge_fade: factors on the motion, (side, side, 1), see `compositing.edge_fade`.
        inside: rows and columns of cells that show the photo, see `compositing.within_plate`.

    Attributes:
        grey: True for a face in grey.
    """

    def __init__(
        self, reference: Reference, edge_fade: Array | float = 1.0, inside: Inside = _ALL
    ) -> None:
        self._reference, self._edge_fade, self._inside = reference, edge_fade, inside
        self.grey = reference.grey
        self._fine = enlarged(reference.person)
        self._walls = walls_of(reference)
        self._mirror: tuple[Reference, Image, NDArray[np.uint8]] | None = None
        self._behind_face: Image | None = None
        self._stray: tuple[tuple[slice, ...], Array] | None = None
        if is_turned(reference.pose):
            mirror = mirror_image(reference)
            face, beyond = photographed_face(reference)
            self._mirror = mirror, enlarged(mirror.person), face
            self._covered = covered_cheek(reference, mirror)
            if beyond:
                self._behind = behind_face(face, len(reference.person))
                self._behind_face = self._without_face(reference.person)

    def paint(
        self,
        drive: Array,
        pose: Pose,
        *,
        follows: Pose | None = None,
        body: Body = HEAD_ALONE,
        tongue: float = 0.0,
    ) -> tuple[Image, Array]:
        """Compose one picture.

        Args:
            drive: (478, 3) driven landmarks, in the network's px.
            pose: their pose.
            follows: pose that hair and body follow, see `HeadMesh.maps`.
            body: motions of torso and hair.
            tongue: how far it is out, 0 to 1.

        Returns:
            The picture, uint8 (S, S, 3) RGB, and the maps of its mesh.
        """
        reference = self._reference
        drive = visible_lips(drive, pose)
        maps = _maps(reference, drive, pose, follows, moved_from(body, reference.body))
        maps[..., FLOW] *= self._edge_fade
        _stretch_to_edges(maps, self._inside, reference.landmarks / MAP_STEM)
        person, source, torn = move_person(self._fine, reference, maps, drive, pose)
        self._sources, self._torn, self._stray = [source], torn, None
        if self._mirror is not None and turns_back(reference.pose, pose):
            mirror, fine, face = self._mirror
            mirror_maps = _maps(mirror, drive, pose, follows, HEAD_ALONE)
            poses = reference.pose, pose
            covered = drawn_cheek(maps, self._covered)
            share = far_share(maps, mirror_maps, drive, poses, covered)
            share *= np.squeeze(self._edge_fade)
            alpha = np.asarray(cv2.extractChannel(person, 3), np.uint8)
            cheek = drawn_cheek(maps, face)
            if self._behind_face is not None:
                moved = self._behind_face, source
                box, behind, stray = stray_cheek(maps, cheek, drive, poses, moved)
                blend_in(person[box], behind, stray)
                self._stray = box, stray
            if share.any():
                share *= 1 - own_hair(maps, cheek, alpha)
                cells, self._far = enlarged_box(share, person)
                mirrored, source, _ = move_person(fine, mirror, mirror_maps, drive, pose)
                self._sources.append(source)
                part = person[self._far]
                share = np.asarray(cv2.resize(share[cells], part.shape[1::-1]), np.float32)
                part[:], self._share = _joined(mirrored[self._far], part, share)
        if tongue > 0:
            zoom = len(person) / reference.side_px
            draw_tongue(person, drive, pose, colours=reference.mouth, zoom=zoom, out=tongue)
        return lay_over(person, behind_person(reference, self._walls, maps)), maps

    def moved(self, alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Move an alpha of the reference like the person in the last picture; both uint8 (S, S).

        None: the reference's own.
        """
        if alpha is None:
            alpha = np.ascontiguousarray(self._reference.person[..., 3])
        source, *others = map(reduced, self._sources)
        result = warp_image(alpha, source)
        if self._stray is not None:
            box, share = self._stray
            blend_in(result[box], warp_image(self._without_face(alpha), source[box]), share)
        blur_edges(result, self._torn)
        if others:
            mirrored = warp_image(np.ascontiguousarray(alpha[:, ::-1]), others[0][self._far])
            blend_in(result[self._far], mirrored, self._share)
        return result

    def _without_face(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture or alpha of the reference with what is beside the face in its place."""
        return picture.reshape(-1, *picture.shape[2:])[self._behind]


def _joined(mirrored: Image, photo: Image, share: Array) -> tuple[Image, Array]:
    """Blend a person of the mirrored reference into that of the photo, both uint8 (S, S, 4).

    The mirror image adds hair and ear, and takes nothing of the person away: beside the near cheek
    there may be wall where hair hangs beside the far one.

    Returns:
        The person, and the share, (S, S), that its alpha has of the mirror image's.
    """
    alphas = cv2.extractChannel(mirrored, 3), cv2.extractChannel(photo, 3)
    share = share * (1 - cv2.subtract(alphas[1], alphas[0]) / np.float32(255))
    # Where only one of both shows the person, a wide blend would be a half transparent halo, and
    # the wall in the other's colours one, too.
    steep = np.clip(_STEEPNESS * (share - np.float32(0.5)) + np.float32(0.5), 0, 1)
    weights = share * alphas[0], (1 - share) * np.maximum(alphas[1], np.float32(1e-3))
    person = np.asarray(cv2.blendLinear(mirrored, photo, *weights), np.uint8)
    alpha = cv2.blendLinear(*alphas, steep, 1 - steep)
    return np.asarray(cv2.insertChannel(alpha, person, 3), np.uint8), steep


def _maps(
    reference: Reference, drive: Array, pose: Pose, follows: Pose | None, body: Body
) -> Array:
    """Return the maps of a driven head; the arguments are those of `Painter.paint`."""
    start, side, poses = reference.landmarks, reference.side_px, (reference.pose, pose)
    maps = head_mesh().maps(
        start,
        drive,
        side,
        side // MAP_STEM,
        poses=poses,
        follows=follows,
        body=body,
        teeth_end=reference.teeth_end,
    )
    if reference.glasses is not None:
        reference.glasses.hold(maps, drive, poses[1])
    return maps


def _stretch_to_edges(maps: Array, inside: Inside, landmarks: Array) -> None:
    """Keep every cell from sampling beyond the photo's lower edge and its sides; in place.

    Otherwise a body that rises or moves aside would end in streaks or in its mirror image. As much
    of it beside the edge as is missing is stretched to twice its width instead, below at least
    `_LIFTED_SHARE`, but not the face, whose landmarks, (478, 3), are in cells.
    """
    end = len(maps) - 1
    rows, columns = (part.indices(end + 1) for part in inside)
    left, _, right, chin = face_box(landmarks)
    down, across = maps[..., MapChannel.FLOW_Y], maps[..., MapChannel.FLOW_X].T
    _end_in(down, rows[1] - 1, chin, least=_LIFTED_SHARE * len(maps))
    _end_in(across, columns[1] - 1, right)
    _end_in(across[::-1], end - columns[0], end - left, direction=-1)


def _end_in(
    flow: Array, last: int, face: float, *, least: float = 1.0, direction: float = 1.0
) -> None:
    """Change a flow along the rows, (side, side), so that it ends in a row; in place.

    Args:
        flow: in halves of the side.
        last: the row.
        face: the row in which the face ends.
        least: minimum height of what is stretched, unless the face is nearer.
        direction: -1 if the flow is positive towards the first row.
    """
    half = np.float32(direction * len(flow) / 2)
    excess = np.maximum(flow[last] * half, 0)
    if not excess.any():
        return
    rows = np.arange(len(flow), dtype=np.float32)[:, None]
    strip = np.minimum(np.maximum(excess, least), max(last - face, 1))
    depth = np.maximum(rows + flow * half - (last - strip), 0)
    flow -= depth * (excess / (strip + excess)) / half
