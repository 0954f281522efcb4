"""Source positions, in the reference, of the pixels inside a driven mouth or eye.

A mesh between lips or lids would stretch the teeth as the mouth opens, and distort the irises as
the gaze moves. Here the inside of the mouth is attached to the upper lip, however far the lower one
drops. An iris moves as a disc; the white is stretched or compressed between iris and corner.

Places are (N, 2) crop px in the driven picture, and sources in the reference. Places a little
outside an opening map to places equally far outside. Landmarks are (478, 3) crop px.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from reenact.face.aperture import LEFT_EYE, MOUTH, RIGHT_EYE, Opening, growth
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.skull import move_rigidly
from reenact.face.topology import (
    IRIS_LEFT,
    IRIS_RIGHT,
    LOWER_LIP,
    MOUTH_CORNERS,
    UPPER_LIP,
)
from reenact.imaging import ramp
from reenact.rendering.mesh_warp import warp_image
from reenact.types import Array, Image, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Edges of the opening and landmarks of the iris; the eye on the image's left comes first."""

_RIM_IOD: Final = 0.03
"""Width of the transition between seen and unseen parts of an open mouth."""

_EDGE_IOD: Final = 0.01
"""Width of the transition from closed lips' edges to what is behind them."""

_PARTED_IOD: Final = 0.08
"""Gap between the lips below which an open photo's inside fades out: its teeth would be squeezed
into a bright slit."""

_CLOSED_IOD: Final = 0.045
"""Lips that are farther apart show the photo's own teeth, and others are drawn beside them."""

_FRONT: Final = 0.4
"""Share of half the mouth's width, at its middle, in which the end of the upper teeth is sought."""

_ROWS: Final = 32
_INNER_ROWS: Final = slice(4, 29)
"""Rows in which the mouth is divided, and those in which the upper teeth may end."""

_DARK_GAP: Final = 0.6
"""Most of the luma of a dark gap, as a share of that above and below it."""

_OUTGROWN_IOD: Final = (0.1, 0.2)
"""Growth of an open mouth from which its inside is drawn, and from which all of it is."""

_GROWTH_BY_WIDTH: Final = 0.6
"""Growth of the gap, iod, that counts as much as a mouth that becomes twice as wide."""

_BROAD_IOD: Final = 1.0
"""Width of an open mouth from which on it shows the teeth of a broad smile. These stay in the
picture, however far it grows."""

MIN_PX: Final = 0.1
"""Minimum of distances that are divided by."""

_LIMBUS: Final = 1.15
"""Radius of the moving disc, in iris radii; it includes the dark rim of the iris."""

_LIMBUS_BLEND: Final = 0.5
"""Width, in iris radii, of the transition from the disc to the white."""

_MOVED_EYE: Final = (0.05, 0.25)
"""Shift of an iris, in its radii, or change of the opening, from which on an eye is drawn."""

CREASES: Final = (
    (33, 247, 30, 29, 27, 28, 56, 190, 133),
    (362, 414, 286, 258, 257, 259, 260, 467, 263),
)
"""The creases of the upper lids, from the corner on the image's left; as in `EYES`."""

LID_LOOPS: Final = (
    (33, 130, 225, 224, 223, 222, 221, 189, *RIGHT_EYE[0][:0:-1]),
    (362, 413, 441, 442, 443, 444, 445, 359, *LEFT_EYE[0][:0:-1]),
)
"""Outlines from below the brows to the edges of the upper lids; as in `EYES`."""

_MEETING_CELLS: Final = 2.5
"""Distance, in cells, from the line between meeting lids up to which the flow is changed."""

_LOWERED: Final = (0.5, 0.9)
"""Openings, as shares of the reference's, at which a lid is drawn without upright lashes, and from
which on with them."""

_CLOSED: Final = 0.12
"""An eye is closed if its opening is below this share of the reference's."""


def mouth_sources(
    places: Array,
    reference: Array,
    drive: Array,
    poses: tuple[Pose, Pose],
    teeth_end: float | None = None,
) -> tuple[Array, Array, float]:
    """Return the sources of places inside the driven mouth.

    Upper teeth keep their distance from the middle of the upper lip, and a more curved lip hides
    the sides of their row; what is below them, `teeth_end` of the opening, keeps its distance from
    the lower lip. `teeth_end` is None if the reference's lips are closed.

    Returns:
        The sources, float32 (N, 2) crop px. Float32 (N,), 0 to 1: 1 where the reference does not
        show the place, so that its lower lip or corner stands in, or shows too little of such a
        mouth. And 0 to 1: 1 if the lips are closed but parted in the reference.
    """
    rest, driven = Opening(reference, MOUTH), Opening(drive, MOUTH)
    growth_along, growth_across = growth(rest, *poses)
    driven_along, across = driven.measure(places).T
    upper, lower = driven.upper(driven_along), driven.lower(driven_along)
    drop = across - upper
    gap = (lower - upper) / growth_across
    beyond_lip = np.maximum(across - np.maximum(lower, upper), 0) / growth_across
    along = driven_along / growth_along
    added = driven.beyond_corners(driven_along) / growth_across - rest.beyond_corners(along)
    along, beside = along + added, np.abs(added)
    top = rest.upper(along)
    opening = np.maximum(rest.lower(along) - top, 0)
    drop = drop / growth_across - beyond_lip
    end = 1.0 if teeth_end is None else teeth_end
    down, teeth, below = drop, end * opening, opening - gap + drop
    replaced = 0.0
    if teeth_end is not None:
        replaced = outgrown(reference, drive, poses)
        hung = np.interp(driven_along, *driven.edge(_hung_lip(reference, drive, poses)))
        down = drop + np.maximum(upper - hung, 0) / growth_across
    kept = np.minimum(drop, 0) + np.maximum(down, 0)
    depth = np.where(down < teeth, kept, np.clip(below, teeth, opening))
    hidden = down - opening
    if end < 1:
        hidden = np.minimum(down - teeth, teeth - below)
    hidden = np.maximum(hidden, np.minimum(beside, gap))
    sources = rest.places(along, top + depth + beyond_lip)
    iod = poses[0].scale
    rim = iod * (_EDGE_IOD if teeth_end is None else _RIM_IOD)
    unseen = np.clip(hidden / rim, replaced, 1).astype(np.float32)
    driven_gap, gap_at_rest = driven.height() / (growth_across * iod), rest.height() / iod
    shut = (1 - ramp(driven_gap, 0, _PARTED_IOD)) * ramp(gap_at_rest, 0, _PARTED_IOD)
    return sources, unseen, shut


def _hung_lip(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
    """Return the reference's upper lip, (N, 2) px, moved rigidly to the middle of the driven one.

    It is above the driven lip where that is more curved, as in a pucker, and covers the teeth.
    """
    edge = MOUTH[0]
    middle = len(edge) // 2
    lip = move_rigidly(reference[edge], *poses)
    return np.asarray((lip + (drive[edge[middle]] - lip[middle]))[:, :2])


def outgrown(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> float:
    """Return 0 to 1: 1 if a mouth has grown so much that the reference shows too little of it."""
    before, after = (
        to_face_frame(face[[UPPER_LIP, LOWER_LIP, *MOUTH_CORNERS]], pose)
        for face, pose in zip((reference, drive), poses, strict=True)
    )
    gaps, widths = (
        [math.dist(face[i, :2], face[i + 1, :2]) for face in (before, after)] for i in (0, 2)
    )
    growth_iod = gaps[1] - gaps[0] + _GROWTH_BY_WIDTH * (widths[1] / max(widths[0], 1e-6) - 1)
    return ramp(growth_iod, *_OUTGROWN_IOD) if widths[0] < _BROAD_IOD else 0.0


def teeth_end_of(picture: Image, landmarks: Array) -> float | None:
    """Return how far down an open mouth the upper teeth of a picture end, as a share of the gap.

    They end where it is dark above tongue, lower teeth or lip, which belong to the jaw.

    Args:
        picture: uint8 (S, S, 3) RGB.
        landmarks: (478, 3) px of the picture.

    Returns:
        Above 0, at most 1: no end is seen. None: the lips are closed.
    """
    mouth = Opening(landmarks, MOUTH)
    if mouth.height() <= _CLOSED_IOD * estimate_pose(landmarks).scale:
        return None
    along = np.linspace(-_FRONT, _FRONT, 17) * mouth.reach
    depth = (np.arange(_ROWS) + 0.5) / _ROWS
    top = mouth.upper(along)
    across = top + depth[:, None] * (mouth.lower(along) - top)
    places = mouth.places(np.tile(along, _ROWS), across.ravel()).reshape(_ROWS, -1, 2)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    means = warp_image(luma, places).mean(axis=1, dtype=np.float32, keepdims=True)
    rows = cv2.GaussianBlur(means, (1, 5), 0)[:, 0] + 1
    above = np.maximum.accumulate(rows)  # the brightest row so far, from above and from below
    below = np.maximum.accumulate(rows[::-1])[::-1]
    contrast = (rows / np.minimum(above, below))[_INNER_ROWS]
    darkest = int(contrast.argmin())
    return float(depth[_INNER_ROWS][darkest]) if contrast[darkest] < _DARK_GAP else 1.0


def iris_radius(landmarks: Array, iris: Sequence[int]) -> float:
    """Return an iris' radius; lids do not hide the two landmarks of the rim on its sides."""
    return max(math.dist(*landmarks[[iris[1], iris[3]], :2].tolist()) / 2, 0.5)


class DrivenEye:
    """One eye of a driven face.

    Args:
        faces: landmarks of the reference and driven ones.
        eye: index into `EYES`.
        poses: poses of both.
    """

    def __init__(self, faces: tuple[Array, Array], eye: int, poses: tuple[Pose, Pose]) -> None:
        edges, iris = EYES[eye]
        self._rest, self._driven = (Opening(face, edges) for face in faces)
        self._growth = growth(self._rest, *poses)
        self._radius = iris_radius(faces[0], iris)
        self._start, end = (
            opening.measure(face[iris[:1], :2])[0]
            for opening, face in zip((self._rest, self._driven), faces, strict=True)
        )
        self._end = end / np.array(self._growth, np.float32)
        rest_px = self._rest.height() * self._growth[1]
        self._opened = self._driven.height() / max(rest_px, MIN_PX)

    def trust(self) -> float:
        """Return 0 if the lids almost meet, so that `between_lids` draws them, else up to 1."""
        return ramp(self._opened, _CLOSED, 2 * _CLOSED)

    def lowered(self) -> float:
        """Return 0 to 1: 1 if the upper lid is so low that lashes no longer stand upright on it."""
        return 1 - ramp(self._opened, *_LOWERED)

    def iris(self, places: Array) -> tuple[Array, Array]:
        """Return the sources of places in an iris, and their distances from its middle, radii.

        The iris moves as a disc, and what lies up to `_LIMBUS` radii from its middle moves with it.
        """
        moved = self._driven.measure(places) / np.array(self._growth, np.float32) - self._end
        distance = np.hypot(*moved.T) / self._radius
        return self._rest.places(*(self._start + moved).T), np.asarray(distance, np.float32)

    def moved(self) -> float:
        """Return how far an eye differs from the reference's in gaze or opening, 0 to 1."""
        shift = float(np.hypot(*(self._end - self._start))) / self._radius
        return ramp(max(shift, abs(self._opened - 1)), *_MOVED_EYE)

    def between_lids(self, places: Array, cell_px: float) -> tuple[Array, Array]:
        """Return the sources of places around meeting lids, so that the line between is smooth.

        The lids keep their size, and the flow sweeps over the whole eye within a cell of the maps,
        `cell_px`, on each side of the line; a flow that jumped there would be drawn in steps.

        Returns:
            The sources, float32; and their weights, (N,), 0 to 1, which fall with the distance from
            the line.
        """
        rest, driven, (_, growth_across) = self._rest, self._driven, self._growth
        along, across = driven.measure(places).T
        distance = across - (driven.upper(along) + driven.lower(along)) / 2
        weight = np.minimum(
            _MEETING_CELLS - np.abs(distance) / cell_px, (driven.reach - np.abs(along)) / cell_px
        )
        along = along * rest.reach / driven.reach
        top = rest.upper(along)
        swept = np.clip((distance / cell_px + 1) / 2, 0, 1) * (rest.lower(along) - top)
        return rest.places(along, top + distance / growth_across + swept), np.clip(weight, 0, 1)


def on_iris(distance: Array) -> Array:
    """Return how far places move with an iris, 0 to 1, by their distances from it, radii."""
    return np.clip(1 - (distance - _LIMBUS) / _LIMBUS_BLEND, 0, 1)
