"""Dense warps: a triangle mesh over the landmarks, rasterised into a backward map.

A mesh is rasterised where the face *goes to*; each cell then knows, by its triangle's affine
map, where in the reference it comes from (and any other attribute of the mesh's vertices).
Triangles are drawn from far to near, so that a turned face hides its far cheek.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import Edges
from reenact.face.geometry import (
    FACE_MIDDLE,
    FACE_SHARE,
    Triangles,
    canonical_face,
    estimate_pose,
    region_mask,
    to_face_frame,
    to_image,
    triangulate,
)
from reenact.face.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    N_LANDMARKS,
    OVAL,
)
from reenact.models.warp_unet_inputs import MAP_CHANNELS, TORN
from reenact.rendering.eye_interior import eye_sources
from reenact.rendering.eyelids import UPPER_LIDS, lid_sources
from reenact.rendering.mouth_interior import interior_sources
from reenact.rendering.relighting import Lighting
from reenact.rendering.residual_flow import ResidualFlow, head_motion, known_residual_flow
from reenact.types import Array, Image, Pose

RINGS: Final = ((1.3, 0.95, 0.8), (1.7, 0.7, 0.7))
"""Rings around the face's oval that carry hair and neck along: (size against the oval, share of
the head's motion above the chin, share of the body's below it)."""

_CHIN: Final = 152

_SKULL_MIDDLE: Final = np.array([0.0, 0.0, 1.15], np.float32)
_SKULL_HALVES: Final = np.array([1.2, 1.6, 1.45], np.float32)
"""The ellipsoid on which hair lies, about, in the face frame, iod: of a head's size. Optical flow
in the training clips (`training.residual_flow`) agrees above the forehead and at the ears."""

_PIVOT: Final = np.array([0.0, -0.8, 1.8], np.float32)
"""Where head meets body, from the chin in the face frame, iod: what it moves by, the body does. A
head that nods or turns about it leaves the shoulders where they are."""

_FLOOR_SHARE: Final = 0.5
"""Share of the body's motion in the crop's lower border."""

_RING_LIT: Final = 0.5
"""Share of the light's change beside it that the inner ring has; hair shines its own way."""

_BORDER: Final = tuple(
    (x, y)
    for x in (-0.35, 0.15, 0.5, 0.85, 1.35)
    for y in (-0.35, 0.15, 0.5, 0.85, 1.35)
    if x in (-0.35, 1.35) or y in (-0.35, 1.35)
)
"""Vertices around the crop, as shares of its side."""


def rasterise(points: Array, triangles: Triangles, side: int, depth: Array) -> NDArray[np.int32]:
    """Draw each triangle's number into a (side, side) map.

    Args:
        points: (V, 2) vertices in cells of the map, centres on whole numbers.
        triangles: (T, 3) vertex indices.
        side: cells a side.
        depth: (V,) distance from the camera; far triangles are drawn first.

    Returns:
        int32 (side, side), the triangle of each cell, -1 where there is none.
    """
    canvas = np.full((side, side), -1, np.int32)
    corners = np.round(points[triangles] * 16).astype(np.int32)
    order = np.argsort(-depth[triangles].max(axis=1), kind="stable")
    fill = cv2.fillConvexPoly
    for number in order.tolist():
        fill(canvas, corners[number], (number,), 8, 4)
    return canvas


def interpolate(
    cells: NDArray[np.int32], points: Array, triangles: Triangles, attributes: Array
) -> Array:
    """Interpolate vertex attributes linearly over a rasterised mesh.

    A triangle thinner than a cell colours cells beside it too. There its plane, which may be steep,
    is kept within what its corners have.

    Args:
        cells: (side, side) of `rasterise`.
        points: (V, 2) the same vertices, in cells.
        triangles: (T, 3).
        attributes: (V, C).

    Returns:
        float32 (side, side, C); 0 where there is no triangle.
    """
    values = attributes[triangles]
    planes = _planes(points[triangles].astype(np.float32), values)
    least, most = values.min(axis=1), values.max(axis=1)
    side = cells.shape[0]
    axis = np.arange(side, dtype=np.float32)
    chosen = np.maximum(cells, 0).ravel()
    result = np.empty((attributes.shape[1], side, side), np.float32)
    for channel in range(len(result)):
        across, down, here = (
            np.take(planes[:, n, channel], chosen).reshape(side, side) for n in range(3)
        )
        plane = across * axis + down * axis[:, None] + here
        low, high = (np.take(of[:, channel], chosen).reshape(side, side) for of in (least, most))
        np.clip(plane, low, high, out=result[channel])
    result[:, cells < 0] = 0
    return np.moveaxis(result, 0, -1)


def _planes(corners: Array, values: Array) -> Array:
    """Return (T, 3, C): the plane `x * p[0] + y * p[1] + p[2]` through each triangle's values."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    flat = np.abs(area) < 1e-3
    inverse = np.where(flat, 0, 1 / np.where(flat, 1, area))[:, None].astype(np.float32)
    first, second = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    planes = np.empty((len(corners), 3, values.shape[-1]), np.float32)
    planes[:, 0] = (first * ac[:, 1:] - second * ab[:, 1:]) * inverse
    planes[:, 1] = (second * ab[:, :1] - first * ac[:, :1]) * inverse
    planes[:, 2] = values[:, 0] - planes[:, 0] * a[:, :1] - planes[:, 1] * a[:, 1:]
    planes[flat, 2] = values[flat].mean(axis=1)
    return planes


def grid_to_crop(side: int, size_px: int) -> tuple[float, float]:
    """Return (scale, shift): crop px of a cell = cell * scale + shift, centres to centres."""
    scale = size_px / side
    return scale, 0.5 * (scale - 1)


class HeadMesh:
    """The mesh that carries the whole head: landmarks, two rings of hair and neck, a border.

    Its triangles are those of the canonical face, the same for everybody, so a turned head folds
    consistently. Above the chin the rings follow the head's own rigid motion, below it the body's;
    both fade into the border, of which only the lower side moves.

    Args:
        residual_flow: what landmarks and rings lack; None: what was learned.
    """

    def __init__(self, residual_flow: ResidualFlow | None = None) -> None:
        self._residual_flow = residual_flow or known_residual_flow()
        shape = canonical_face()
        side = float(np.ptp(shape[:468, 1])) / FACE_SHARE
        middle = shape[:468, :2].min(0) + np.ptp(shape[:468, :2], axis=0) / 2
        corner = middle - np.array([0.5, FACE_MIDDLE]) * side
        rings = [_ring(shape, size)[:, :2] for size, _, _ in RINGS]
        border = corner + np.array(_BORDER) * side
        self._border = border
        plane = np.concatenate([shape[:, :2], *rings, border])
        # The irises' rims reach under the lids: of an iris only its centre is a vertex.
        kept = np.setdiff1d(np.arange(len(plane)), IRIS_RIGHT[1:] + IRIS_LEFT[1:])
        self.triangles: Triangles = kept[triangulate(plane[kept])].astype(np.int32)
        self._is_face = self.triangles.max(axis=1) < N_LANDMARKS

    def vertices(
        self,
        reference: Array,
        drive: Array,
        poses: tuple[Pose, Pose],
        size_px: int,
        body_pose: Pose | None = None,
    ) -> tuple[Array, Array]:
        """Return the mesh's (V, 3) vertices on the reference and on the driven face, crop px.

        Without a pose of the body it follows the head.
        """
        reference_pose, drive_pose = poses
        pivot = reference[_CHIN] + reference_pose.rotation @ _PIVOT * reference_pose.scale
        body = _carried(pivot, reference_pose, body_pose or drive_pose) - pivot
        rings_from, rings_to = [], []
        for size, above, below in RINGS:
            ring = _ring(reference, size)
            if self._residual_flow.on_skull:
                ring[:, 2] = _skull_depth(ring[:, :2], reference_pose)
            lower = np.clip((ring[:, 1] - reference[_CHIN, 1]) / (reference_pose.scale * 0.5), 0, 1)
            share = lower[:, None]
            rings_from.append(ring)
            head = _carried(ring, reference_pose, drive_pose) - ring
            rings_to.append(ring + (1 - share) * above * head + share * below * body)
        border = np.zeros((len(_BORDER), 3), np.float32)
        border[:, :2] = np.array(_BORDER, np.float32) * size_px
        border[:, 2] = size_px
        border_to = border.copy()
        border_to[border[:, 1] > size_px, :2] += _FLOOR_SHARE * body[:2]
        start = np.concatenate([reference, *rings_from, border]).astype(np.float32)
        end = np.concatenate([drive, *rings_to, border_to]).astype(np.float32)
        return start, end

    @cached_property
    def atlas(self) -> Array:
        """(V, 3) place of each vertex on the canonical head, about -1 to 1."""
        shape = canonical_face()
        rings = [_ring(shape, size) for size, _, _ in RINGS]
        border = np.concatenate([self._border, np.full((len(_BORDER), 1), 1.0)], axis=1)
        return np.asarray(np.concatenate([shape, *rings, border]) / 2, dtype=np.float32)

    def maps(
        self,
        reference: Array,
        drive: Array,
        size_px: int,
        side: int,
        lighting: Lighting | None = None,
        *,
        poses: tuple[Pose, Pose] | None = None,
        body: Array | None = None,
    ) -> Array:
        """Rasterise the driven head into the maps that a generator takes.

        Args:
            reference: (478, 3) landmarks of the reference, crop px.
            drive: (478, 3) landmarks to be drawn, crop px.
            size_px: side of the crop.
            side: side of the maps in cells.
            lighting: of the reference; None: skin keeps the brightness that it has there.
            poses: of reference and drive, where they are known.
            body: (478, 3) landmarks that what is below the chin follows, crop px; None: `drive`.

        Returns:
            float32 (side, side, MAP_CHANNELS): 0-1 the reference's place minus the cell's own,
            in halves of the crop's side (the unit of grid_sample); 2-4 the place on the
            canonical head; 5-8 coverage (0 to 1) by skin, inside of the mouth, eyes, irises;
            9 how far (0 to 1) it is inside of the mouth that the reference does not show; 10 by
            which share of itself the head is to be made brighter, or darker below 0.
        """
        poses = poses or (estimate_pose(reference), estimate_pose(drive))
        causes = self._residual_flow.causes(reference, drive, poses)
        body_pose = None if body is None else estimate_pose(body)
        body_motion = None if body_pose is None else head_motion(poses[0], body_pose)
        reference = self._residual_flow.on_skin(causes, reference, poses[0])
        start, end = self.vertices(reference, drive, poses, size_px, body_pose)
        scale, shift = grid_to_crop(side, size_px)
        points = (end[:, :2] - shift) / scale
        cells = rasterise(points, self.triangles, side, end[:, 2])
        displacement = (start[:, :2] - end[:, :2]) * np.float32(2 / size_px)
        # Plane by plane in memory, as the network takes them.
        result = np.moveaxis(np.empty((MAP_CHANNELS, side, side), np.float32), 0, -1)
        attributes = [displacement, self.atlas]
        if lighting is not None:
            attributes.append(_brightened(lighting.gain(drive, poses[1]))[:, None])
        drawn = interpolate(cells, points, self.triangles, np.concatenate(attributes, axis=1))
        result[..., :5] = drawn[..., :5]
        result[..., 10:] = drawn[..., 5:] if lighting is not None else 0
        result[..., 5] = (self._is_face[cells]) & (cells >= 0)
        lacking = self._residual_flow.flow(causes, poses[1], size_px, side, body_motion)
        lacking *= 1 - result[..., 5:6]
        skin = region_mask((reference - shift) / scale, OVAL, side)
        flow = result[..., :2] + _unless_onto(skin, result[..., :2], lacking)
        # Where the head folds, single cells look far behind it; each would be drawn as a speck.
        result[..., :2] = cv2.medianBlur(np.ascontiguousarray(flow), 3)
        _open(result, points, (reference, drive), poses, size_px)
        return result


def _open(
    maps: Array, points: Array, faces: tuple[Array, Array], poses: tuple[Pose, Pose], size_px: int
) -> None:
    """Enter the inside of mouth and eyes, and the lids, into maps of the mesh.

    Args:
        maps: (side, side, MAP_CHANNELS); its flow is led, its channels 6 to 9 are written.
        points: (V, 2) the driven mesh, in cells.
        faces: (478, 3) landmarks of reference and drive, crop px.
        poses: of both.
        size_px: side of the crop.
    """
    side = len(maps)
    maps[..., 9] = 0
    mouth = region_mask(points, LIPS_INNER, side)
    inside = _Inside(mouth, size_px)
    found, missing = interior_sources(inside.places, *faces, poses)
    inside.lead_to(found, 1.0, maps)
    maps[inside.rows, inside.columns, 9] = inside.share * missing
    both = [region_mask(points, loop, side) for loop in (EYE_RIGHT, EYE_LEFT)]
    for eye, coverage in enumerate(both):
        inside = _Inside(coverage, size_px)
        inside.lead_to(*eye_sources(inside.places, *faces, eye, poses), maps)
        inside = _Inside(strip_mask(points, UPPER_LIDS[eye], side), size_px)
        inside.lead_to(*lid_sources(inside.places, *faces, eye, poses), maps)
    eyes = both[0] | both[1]
    irises = region_mask(points, IRIS_RIGHT[1:], side) | region_mask(points, IRIS_LEFT[1:], side)
    for channel, mask in ((6, mouth), (7, eyes), (8, cv2.min(irises, eyes))):
        maps[..., channel] = mask * np.float32(1 / 255)


def _carried(points: Array, start: Pose, end: Pose) -> Array:
    """Return where (N, 3) or (3,) points of a rigid body, px, are in another pose."""
    return to_image(to_face_frame(points, start), end)


def _unless_onto(mask: NDArray[np.uint8], flow: Array, more: Array) -> Array:
    """Return `more` flow, but none where with it a cell would come from inside a mask.

    What lies beside a face does not become its skin. All (side, side), flows in halves of the side.
    """
    side = len(mask)
    axis = np.arange(side, dtype=np.float32)
    places = (flow + more) * np.float32(side / 2)
    across, down = places[..., 0] + axis, places[..., 1] + axis[:, None]
    inside = cv2.remap(mask, across, down, cv2.INTER_LINEAR)
    return more * (1 - inside * np.float32(1 / 255))[..., None]


class _Inside:
    """The cells inside an opening.

    Attributes:
        rows, columns: (N,).
        places: (N, 2) crop px.
        share: (N,), 0 to 1.
    """

    def __init__(self, mask: NDArray[np.uint8], size_px: int) -> None:
        scale, shift = grid_to_crop(mask.shape[0], size_px)
        self.rows, self.columns = np.nonzero(mask)
        places = np.stack([self.columns, self.rows], axis=1).astype(np.float32)
        self.places = places * np.float32(scale) + np.float32(shift)
        self.share = mask[self.rows, self.columns] * np.float32(1 / 255)
        self._half = size_px / 2

    def lead_to(self, sources: Array, trust: float | Array, maps: Array) -> None:
        """Let the flow of (side, side, C) maps lead to (N, 2) crop px, by share and trust."""
        wanted = (sources - self.places) / np.float32(self._half)
        flow = maps[self.rows, self.columns, :2]
        share = (trust * self.share)[:, None]
        maps[self.rows, self.columns, :2] = flow + share * (wanted - flow)


def strip_mask(points: Array, edges: Edges, side: int) -> NDArray[np.uint8]:
    """Return the coverage, 0 to 255, of the cells between two edges that share their ends."""
    first, second = edges
    return region_mask(points, (*first, *second[-2:0:-1]), side)


def tears(flow: Array) -> NDArray[np.bool_]:
    """Return the (side, side) cells beside which the flow (side, side, 2) of a mesh is torn."""
    torn = np.zeros(flow.shape[:2], np.bool_)
    for axis in (0, 1):
        across, down = np.diff(flow[..., 0], axis=axis), np.diff(flow[..., 1], axis=axis)
        apart = across * across + down * down > TORN**2
        first, second = (torn[:-1], torn[1:]) if axis == 0 else (torn[:, :-1], torn[:, 1:])
        first |= apart
        second |= apart
    return torn


@lru_cache(maxsize=1)
def head_mesh() -> HeadMesh:
    """Return the one `HeadMesh`."""
    return HeadMesh()


def _brightened(gain: Array) -> Array:
    """Return by which share of itself the mesh is brighter at each vertex, (V,)."""
    more = gain - 1
    irises = (more[list(loop)].mean() for loop in (EYE_RIGHT, EYE_LEFT))
    rings = np.zeros((len(RINGS), len(OVAL) // 2), np.float32)
    rings[0] = _RING_LIT * more[list(OVAL)[::2]]
    parts = [more, *(np.full(len(IRIS_RIGHT), iris) for iris in irises), rings.ravel()]
    return np.asarray(np.concatenate([*parts, np.zeros(len(_BORDER))]), dtype=np.float32)


def _ring(shape: Array, size: float) -> Array:
    """Blow the face's oval up about its middle and set it back behind the face's edge."""
    oval = shape[list(OVAL)[::2]]
    middle = oval.mean(axis=0)
    ring = middle + (oval - middle) * size
    ring[:, 2] = oval[:, 2].mean() + 0.15 * np.ptp(oval[:, 1])
    return np.asarray(ring, dtype=np.float32)


def _skull_depth(places: Array, pose: Pose) -> Array:
    """Return how far from the camera the skull is at (N, 2) px, (N,); beside it, its rim."""
    flat = np.zeros((len(places), 3), np.float32)
    flat[:, :2] = places - pose.translation[:2]
    start = (flat @ pose.rotation / pose.scale - _SKULL_MIDDLE) / _SKULL_HALVES
    way = pose.rotation[2] / _SKULL_HALVES
    square, half = way @ way, start @ way
    within = np.maximum(half**2 - square * ((start**2).sum(axis=1) - 1), 0)
    depth = -(half + np.sqrt(within)) / square
    return np.asarray(depth * pose.scale + pose.translation[2], dtype=np.float32)


def warp_image(image: Image, source_map: Array) -> Image:
    """Sample a picture at a (H, W, 2) float32 map of its own px; outside, edges repeat."""
    return np.asarray(
        cv2.remap(
            image,
            source_map[..., 0],
            source_map[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def source_map(maps: Array, size_px: int) -> Array:
    """Turn the flow of `HeadMesh.maps` into absolute crop px, float32 (size, size, 2)."""
    flow = cv2.resize(maps[..., :2], (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    axis = np.arange(size_px, dtype=np.float32)
    result = flow * np.float32(size_px / 2)
    result[..., 0] += axis[None, :]
    result[..., 1] += axis[:, None]
    return np.asarray(result, dtype=np.float32)
