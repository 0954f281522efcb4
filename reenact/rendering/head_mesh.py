"""The mesh that moves the whole head, and the maps that a generator gets from it.

Its vertices are the face's landmarks, three rings around the face for hair and neck, a border
around the crop, and the inner edge of what surrounds the face.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.body_field import out_of_skin, torso_flow
from reenact.face.geometry import (
    FACE_MIDDLE,
    FACE_SHARE,
    Triangles,
    canonical_face,
    estimate_pose,
    further_turn,
    region_mask,
    rotation_matrix,
    rotation_vector,
    triangulate,
)
from reenact.face.skin_flow import SkinFlow, shipped_skin_flow
from reenact.face.skin_shading import sampled, shipped_skin_shading
from reenact.face.skull import (
    RING,
    behind_jaw,
    move_rigidly,
    neck_joint,
    on_skull,
    rings,
    turn_skull,
)
from reenact.face.topology import (
    CHIN,
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    N_LANDMARKS,
    N_SKIN,
    OVAL,
)
from reenact.models.warp_unet_inputs import ATLAS, FLOW, IRIS_FLOW, WHITES_FLOW, MapChannel
from reenact.rendering.driven_skin import LooseSkin
from reenact.rendering.mesh_warp import grid_to_crop, interpolate, rasterise
from reenact.rendering.openings import LID_LOOPS, DrivenEye, mouth_sources, on_iris
from reenact.types import HEAD_ALONE, Array, Body, MovedPart, Pose

_SHARES: Final = ((0.95, 0.8), (0.82, 0.75), (0.7, 0.7))
"""For each ring: its share of the head's motion above the chin, and of the body's below it."""

_OF_HEAD, _OF_BODY = np.repeat(np.array(_SHARES, np.float32), len(RING), axis=0).T[..., None]
"""`_SHARES` for each vertex of the rings, (N, 1)."""

_OVAL_PUSH: Final = 0.08
"""Share by which the oval is widened while the mesh is triangulated, so that its edges become edges
of the mesh."""

_FLOOR_SHARE: Final = 0.5
"""Share of the body's motion that moves the crop's lower border."""

_HALVED: Final = np.array([0.03, 0.03, 0.05])
"""Changes of a pose that are halved for hair and body: translation, iod; rotation, radians;
logarithm of the scale. Smaller changes of the landmarks are mostly noise and expression."""

_HALVED_PER_FRAME: Final = 0.5 * _HALVED
"""Changes from one frame to the next that are halved for hair and body."""

_AROUND_LIPS: Final = np.ones((3, 1), np.uint8)
"""Kernel, in cells, by which lips that meet cover more than the mouth."""

_AROUND_EYE: Final = np.ones((5, 5), np.uint8)
"""Kernel, in cells, that includes an eye's rim."""

_AROUND_LIDS: Final = np.ones((7, 7), np.uint8)
"""Kernel, in cells, that dilates an eye to the region where meeting lids change the flow."""

_HAIR_BLUR: Final = (13, 13)
"""Kernel, in cells, that smooths the flow beside the face, twice."""

_WIDENING_TURN: Final = 0.15
"""Increase of the sine of the yaw from which the outer part of a cheek, over which hair may lie, is
smoothed in full."""

_MIN_COVER: Final = 0.6
"""Share of a kernel beside the face below which the flow is not smoothed."""

_BORDER: Final = np.array(
    [
        (x, y, 1)
        for x in (-0.35, 0.15, 0.5, 0.85, 1.35)
        for y in (-0.35, 0.15, 0.5, 0.85, 1.35)
        if x in (-0.35, 1.35) or y in (-0.35, 1.35)
    ]
)
"""Positions of the border's vertices, as shares of the crop's side, and their depth, (N, 3)."""


class HeadMesh:
    """The mesh of the whole head.

    Everybody has the triangles of the canonical face, so that a turned head folds consistently.
    Above the chin the rings follow the head's rigid motion, below it the body's; small changes from
    the reference are damped. Only the lower side of the border moves. What surrounds the face ends
    at the face's edge, except where a jaw hides it (`behind_jaw`).

    Args:
        skin_flow: corrects the landmarks' sliding over the skin; None: the shipped one.
    """

    def __init__(self, skin_flow: SkinFlow | None = None) -> None:
        self._skin_flow = skin_flow or shipped_skin_flow()
        shape = canonical_face()
        side = float(np.ptp(shape[:N_SKIN, 1])) / FACE_SHARE
        middle = shape[:N_SKIN, :2].min(0) + np.ptp(shape[:N_SKIN, :2], axis=0) / 2
        border = middle + (_BORDER[:, :2] - [0.5, FACE_MIDDLE]) * side
        vertices = np.concatenate([shape, rings(shape), np.insert(border, 2, 1.0, axis=1)])
        edge = shape[list(OVAL)]
        self._atlas = np.asarray(np.concatenate([vertices, edge]) / 2, dtype=np.float32)
        """Position of each vertex on the canonical head, about -1 to 1, (V, 3)."""
        plane = vertices[:, :2].copy()
        # Seen from the front, cheek and jaw lie almost on the oval, and triangles would cross it.
        plane[list(OVAL)] += _OVAL_PUSH * (plane[list(OVAL)] - middle)
        # Irises reach under the lids, and would fold the skin above closing eyes.
        used = np.setdiff1d(np.arange(len(plane)), IRIS_RIGHT + IRIS_LEFT)
        self.triangles: Triangles = used[triangulate(plane[used])].astype(np.int32)
        self._is_face = self.triangles.max(axis=1) < N_LANDMARKS
        self.face_triangles: Triangles = self.triangles[self._is_face]
        """The triangles whose corners are all landmarks."""
        # What surrounds the face has an inner edge of its own, which the jaw may hide.
        inner = np.arange(len(vertices))
        inner[list(OVAL)] = len(vertices) + np.arange(len(OVAL))
        self.triangles[~self._is_face] = inner[self.triangles[~self._is_face]]
        self._loose_skin = LooseSkin(self.face_triangles)

    def vertices(
        self,
        reference: Array,
        drive: Array,
        poses: tuple[Pose, Pose],
        size_px: int,
        *,
        follows: Pose | None = None,
        body: Body = HEAD_ALONE,
    ) -> tuple[Array, Array]:
        """Return the vertices on the reference and on the driven face, (V, 3) px; see `maps`."""
        start, end = poses
        damped = _damped_pose(start, follows or end, _HALVED)
        pivot = neck_joint(reference, start)
        shoulders = move_rigidly(pivot, start, damped) - pivot
        ring = on_skull(rings(reference)[:, :2], start)
        below_chin = np.clip((ring[:, 1:2] - reference[CHIN, 1]) / (start.scale * 0.5), 0, 1)
        head = _OF_HEAD * (turn_skull(ring, start, damped) - ring)
        if body.hair is not None:
            hair = turn_skull(ring, start, end)
            hair[:, :2] = _moved(hair[:, :2], body.hair, size_px)
            head += np.float32(body.hair.share) * (hair - ring - head)
        moved_ring = ring + (1 - below_chin) * head + below_chin * _OF_BODY * shoulders
        moved_ring[:, 2] += size_px  # behind the face at every turn
        border = _BORDER.astype(np.float32) * size_px
        moved_border = border.copy()
        moved_border[border[:, 1] > size_px, :2] += _FLOOR_SHARE * shoulders[:2]
        edges = reference[list(OVAL)], drive[list(OVAL)]
        behind = behind_jaw(*edges, (moved_ring - ring)[: len(RING)])
        before = np.concatenate([reference, ring, border, edges[0]])
        after = np.concatenate([drive, moved_ring, moved_border, behind])
        return before.astype(np.float32), after.astype(np.float32)

    def maps(
        self,
        reference: Array,
        drive: Array,
        size_px: int,
        side: int,
        *,
        poses: tuple[Pose, Pose] | None = None,
        follows: Pose | None = None,
        body: Body = HEAD_ALONE,
        teeth_end: float | None = None,
    ) -> Array:
        """Rasterise the driven head: float32 (side, side, C), see `MapChannel`.

        Args:
            reference: (478, 3) landmarks of the reference, crop px.
            drive: (478, 3) driven landmarks, crop px.
            size_px: side of the crop.
            side: side of the maps in cells.
            poses: poses of reference and drive; None: they are estimated here.
            follows: pose that hair and body follow, from `steadied`; None: the driven pose.
            body: motions of torso and hair.
            teeth_end: where the reference's upper teeth end, see `teeth_end_of`.
        """
        poses = poses or (estimate_pose(reference), estimate_pose(drive))
        shading = shipped_skin_shading().change(reference, drive, poses)
        drive = self._loose_skin.stretched(reference, drive, poses)
        reference = self._skin_flow.moved(reference, drive, poses)
        start, end = self.vertices(reference, drive, poses, size_px, follows=follows, body=body)
        scale, shift = grid_to_crop(side, size_px)
        points = (end[:, :2] - shift) / scale
        cells = rasterise(points, self.triangles, side, end[:, 2])
        displacement = (start[:, :2] - end[:, :2]) * np.float32(2 / size_px)
        attributes = np.concatenate([displacement, self._atlas], axis=1)
        interpolated = np.moveaxis(interpolate(cells, points, self.triangles, attributes), -1, 0)
        # Channels are contiguous planes, which is the layout that the network takes.
        planes = np.empty((len(MapChannel), side, side), np.float32)
        result = np.moveaxis(planes, 0, -1)
        flow, planes[ATLAS] = interpolated[:2], interpolated[2:]
        is_face = planes[MapChannel.SKIN] = np.take(self._is_face, cells) & (cells >= 0)
        loose = _on_widened_cheek(planes[MapChannel.ATLAS_X], poses)
        _smooth_beside(flow, planes[MapChannel.SKIN] * (1 - loose))
        if body.torso is not None:
            skin = region_mask((reference - shift) / scale, OVAL, side)
            torso, weight = torso_flow(body.torso, drive, poses[1].scale, size_px, side)
            rest = flow[:, -len(weight) :]
            weight *= ~is_face[-len(weight) :]
            rest += weight * (out_of_skin(skin, torso) - rest)
        # Where the head folds, single cells may show a far layer and would appear as specks.
        for plane, smooth in zip(flow, planes[FLOW], strict=True):
            cv2.medianBlur(plane, 3, dst=smooth)
        _fill_openings(result, points, (reference, drive), poses, size_px, teeth_end=teeth_end)
        covers = planes[MapChannel.MOUTH] + planes[MapChannel.EYES]
        places = planes[MapChannel.ATLAS_X] * 2, planes[MapChannel.ATLAS_Y] * 2
        planes[MapChannel.SHADING] = sampled(shading, *places) * (is_face - covers)
        return result


def _on_widened_cheek(atlas_x: Array, poses: tuple[Pose, Pose]) -> Array:
    """Return how far cells are on the outer part of the cheek that a turn widens, 0 to 1.

    Args:
        atlas_x: positions of the cells on the canonical head, (side, side), see `MapChannel`.
        poses: of the reference and of the driven face.
    """
    widened = np.clip(further_turn(*poses) / _WIDENING_TURN, -1, 1)
    return np.asarray(np.clip(np.float32(4 * widened) * atlas_x - 1, 0, 1))


def _smooth_beside(flow: Array, skin: Array) -> None:
    """Smooth a flow, (2, side, side), around the face's skin, (side, side), 0 to 1; in place.

    The mesh has few vertices there. Straight hair would have a kink at each of its edges.
    """
    around = 1 - skin
    cover = _blurred(around)
    # The flow is continuous at the face's edge, and stays so.
    share = np.maximum((cover - _MIN_COVER) / (1 - _MIN_COVER), 0)
    smooth = np.stack([_blurred(plane * around) for plane in flow])
    flow += share * (smooth / np.maximum(cover, _MIN_COVER) - flow)


def _blurred(plane: Array) -> Array:
    """Return a plane of cells, blurred by nearly a Gaussian."""
    return np.asarray(cv2.blur(cv2.blur(plane, _HAIR_BLUR), _HAIR_BLUR), np.float32)


def _fill_openings(
    maps: Array,
    points: Array,
    faces: tuple[Array, Array],
    poses: tuple[Pose, Pose],
    size_px: int,
    *,
    teeth_end: float | None,
) -> None:
    """Change the flow inside mouth and eyes, and write the channels of openings; in place.

    `points` are the (V, 2) driven vertices, in cells; the other arguments are those of
    `HeadMesh.maps`.
    """
    side = len(maps)
    mouth, right, left, *irises = (
        region_mask(points, loop, side)
        for loop in (LIPS_INNER, EYE_RIGHT, EYE_LEFT, IRIS_RIGHT[1:], IRIS_LEFT[1:])
    )
    _hide_behind_nose(right, left, maps[..., MapChannel.ATLAS_X])
    to_flow = np.float32(2 / size_px)
    cells, places = _covered(mouth, size_px)
    coverage = mouth[cells] * np.float32(1 / 255)
    sources, missing, shut = mouth_sources(places, *faces, poses, teeth_end)
    _blend_flow(maps, cells, (sources - places) * to_flow, coverage)
    maps[..., MapChannel.UNSEEN_MOUTH] = maps[..., MapChannel.SHUT] = 0
    maps[..., MapChannel.SHUT_LIDS :] = 0
    maps[(*cells, MapChannel.UNSEEN_MOUTH)] = coverage * missing
    if shut > 0:
        maps[..., MapChannel.SHUT] = cv2.dilate(mouth, _AROUND_LIPS) * np.float32(shut / 255)
    for eye, (lid_loop, opening) in enumerate(zip(LID_LOOPS, (right, left), strict=True)):
        driven = DrivenEye(faces, eye, poses)
        if moved := driven.moved():
            around = np.asarray(cv2.dilate(opening, _AROUND_EYE), np.uint8)
            cells, places = _covered(around, size_px)
            maps[(*cells, WHITES_FLOW)] = maps[(*cells, FLOW)]
            sources, maps[(*cells, MapChannel.BESIDE_IRIS)] = driven.iris(places)
            maps[(*cells, IRIS_FLOW)] = (sources - places) * to_flow
            maps[(*cells, MapChannel.MOVED_EYE)] = moved
        trust = driven.trust()
        cells, places = _covered(opening, size_px)
        sources, distance = driven.iris(places)
        share = opening[cells] * np.float32(trust / 255) * on_iris(distance)
        _blend_flow(maps, cells, (sources - places) * to_flow, share)
        if lowered := driven.lowered():
            lid = cv2.subtract(region_mask(points, lid_loop, side), opening)
            maps[..., MapChannel.SHUT_LIDS] += lid * np.float32(lowered / 255)
        if trust < 1:
            closed = np.float32((1 - trust) / 255)
            maps[..., MapChannel.SHUT] += opening * closed
            around = np.asarray(cv2.dilate(opening, _AROUND_LIDS), np.uint8)
            cells, places = _covered(around, size_px)
            sources, weight = driven.between_lids(places, size_px / side)
            _blend_flow(maps, cells, (sources - places) * to_flow, weight * around[cells] * closed)
    eyes = right | left
    masks = mouth, eyes, cv2.min(irises[0] | irises[1], eyes)
    for channel, mask in enumerate(masks, MapChannel.MOUTH):
        maps[..., channel] = mask * np.float32(1 / 255)


def _hide_behind_nose(right: NDArray[np.uint8], left: NDArray[np.uint8], atlas_x: Array) -> None:
    """Clear the coverage by eyes, (side, side), where the nose of a turned head is; in place."""
    corners = canonical_face()[[EYE_CORNERS_RIGHT[1], EYE_CORNERS_LEFT[0]], 0] / 2
    right[atlas_x > corners[0]] = 0
    left[atlas_x < corners[1]] = 0


def _covered(mask: NDArray[np.uint8], size_px: int) -> tuple[tuple[Any, Any], Array]:
    """Return rows and columns, (N,), of the cells that a mask covers, and their places in px."""
    scale, shift = grid_to_crop(len(mask), size_px)
    # A seventh of the time that `np.nonzero` takes for two axes.
    rows, columns = np.divmod(np.flatnonzero(mask > 0), len(mask))
    places = np.array([columns, rows], np.float32).T
    return (rows, columns), places * np.float32(scale) + np.float32(shift)


def _blend_flow(maps: Array, cells: tuple[Any, Any], flow: Array, share: Array) -> None:
    """Blend a flow into that of maps, in place; flow is (N, 2) and share (N,), for cells."""
    own = maps[(*cells, FLOW)]
    maps[(*cells, FLOW)] = own + share[:, None] * (flow - own)


def _moved(points: Array, part: MovedPart, size_px: int) -> Array:
    """Move (N, 2) crop px by the motion of a part of the body."""
    linear, shift = part.motion[:, :2], part.motion[:, 2]
    return np.asarray(((points + 0.5) / size_px @ linear.T + shift) * size_px - 0.5, np.float32)


def steadied(previous: Pose, pose: Pose) -> Pose:
    """Return a pose without the landmarks' jitter, given the previous result."""
    return _damped_pose(previous, pose, _HALVED_PER_FRAME)


def _damped_pose(start: Pose, end: Pose, halved: Array) -> Pose:
    """Return the start, changed by the damped differences to the end; `halved` is as `_HALVED`."""
    changes = (
        (end.translation - start.translation) / start.scale,
        rotation_vector(end.rotation @ start.rotation.T),
        np.log(np.float32(end.scale / start.scale)),
    )
    shift, turn, zoom = map(_damped, changes, halved.tolist())
    return Pose(
        rotation_matrix(turn) @ start.rotation,
        start.translation + shift * np.float32(start.scale),
        start.scale * float(np.exp(zoom)),
    )


def _damped(change: Array, halved: float) -> Array:
    """Halve a change of this size; shrink smaller ones towards 0, keep much larger ones."""
    square = np.square(change).sum()
    return change * np.float32(square / (square + halved**2))


@lru_cache(maxsize=1)
def head_mesh() -> HeadMesh:
    """Return the `HeadMesh` with the shipped skin flow."""
    return HeadMesh()
