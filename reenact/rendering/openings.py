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

LID_SHADOW: Final = 0.1
"""Share of the opening's height next to a lid that shows its shadow and lashes."""

LIDS: Final = (
    ([33, 247, 30, 29, 27, 28, 56, 190, 133], RIGHT_EYE[0]),
    ([362, 414, 286, 258, 257, 259, 260, 467, 263], LEFT_EYE[0]),
)
"""Crease and edge of the upper lids, each from the corner on the image's left; as in `EYES`."""

LID_LOOPS: Final = tuple((*crease, *edge[-2:0:-1]) for crease, edge in LIDS)
"""Outlines of the upper lids."""

_LASHES: Final = 0.16
"""Height of the lashes on an upper lid, as a share of half the eye's width."""

_MAX_LASHES: Final = 0.7
"""Maximum of that height, as a share of the lid's height."""

_MIN_STRETCH: Final = 1.05
"""A lid that is stretched by less is left alone; the change would be a sixth of a px at 256 px."""

_MEETING_CELLS: Final = 2.5
"""Distance, in cells, from the line between meeting lids up to which the flow is changed."""

_CLOSED: Final = 0.2
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
    the lower lip. If the reference shows where they end, they stay where they are as the upper lip
    rises, and what it bares above them is unseen. `teeth_end` is None if the reference's lips are
    closed.

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
    rise, outgrown = (0.0, 0.0) if teeth_end is None else _change(reference, drive, poses)
    iod = poses[0].scale
    rise = rise * iod if end < 1 else 0.0
    down, teeth, below = drop - rise, end * opening, opening - gap + drop
    if teeth_end is not None:
        hung = np.interp(driven_along, *driven.edge(_hung_lip(reference, drive, poses)))
        down += np.maximum(upper - hung, 0) / growth_across
    kept = np.minimum(drop, 0) + np.maximum(down, 0)
    depth = np.where(down < teeth, kept, np.clip(below, teeth, opening))
    hidden = down - opening
    if end < 1:
        hidden = np.maximum(rise - np.maximum(drop, 0), np.minimum(down - teeth, teeth - below))
    hidden = np.maximum(hidden, np.minimum(beside, gap))
    sources = rest.places(along, top + depth + beyond_lip)
    rim = iod * (_EDGE_IOD if teeth_end is None else _RIM_IOD)
    unseen = np.clip(hidden / rim, outgrown, 1).astype(np.float32)
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


def _change(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> tuple[float, float]:
    """Return how far a mouth's upper lip has risen, iod, and how far it has outgrown the reference.

    The first is 0 if the lip has come down. The second is 0 to 1: 1 if the mouth has grown so much
    that the reference shows too little of it.
    """
    before, after = (
        to_face_frame(face[[UPPER_LIP, LOWER_LIP, *MOUTH_CORNERS]], pose)
        for face, pose in zip((reference, drive), poses, strict=True)
    )
    gaps, widths = (
        [math.dist(face[i, :2], face[i + 1, :2]) for face in (before, after)] for i in (0, 2)
    )
    growth_iod = gaps[1] - gaps[0] + _GROWTH_BY_WIDTH * (widths[1] / max(widths[0], 1e-6) - 1)
    outgrown = ramp(growth_iod, *_OUTGROWN_IOD) if widths[0] < _BROAD_IOD else 0.0
    return max(float(before[0, 1] - after[0, 1]), 0.0), outgrown


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
        self._faces, self._poses, self._lid = faces, poses, LIDS[eye]
        edges, self._iris = EYES[eye]
        self._rest, self._driven = (Opening(face, edges) for face in faces)
        self._growth = growth(self._rest, *poses)

    def inside(self, places: Array) -> tuple[Array, float]:
        """Return the sources of places inside the eye.

        Parts of the white that a lid hides in the reference are replaced by the pixels next to the
        lid, those of the iris by pixels as far from its middle.

        Returns:
            The sources, float32; and their trust, 0 to 1, which is low if the lids almost meet.
            `between_lids` draws those.
        """
        rest, driven, (growth_along, growth_across) = self._rest, self._driven, self._growth
        (reference, drive), iris = self._faces, self._iris
        from_along, from_across = rest.measure(reference[iris[:1], :2])[0]
        to_along, to_across = driven.measure(drive[iris[:1], :2])[0]
        radius = iris_radius(reference, iris)
        reach = _LIMBUS * radius
        along, across = driven.measure(places).T
        knots = _knots(driven.reach, to_along, reach * growth_along)
        source_along = np.interp(along, knots, _knots(rest.reach, from_along, reach))
        source_along += along - np.clip(along, knots[0], knots[-1])
        lid, floor = driven.upper(along), driven.lower(along)
        beyond = across - np.clip(across, lid, np.maximum(floor, lid))
        height = (across - beyond - lid) / np.maximum(floor - lid, MIN_PX)
        top, bottom = rest.upper(source_along), rest.lower(source_along)
        white = top + height * (bottom - top) + beyond / growth_across
        x, y = (along - to_along) / growth_along, (across - to_across) / growth_across
        margin = LID_SHADOW * np.maximum(bottom - top, 0)
        highest = np.minimum(top + margin, white) - from_across
        lowest = np.maximum(bottom - margin, white) - from_across
        visible = np.clip(y, highest, lowest)
        distance = np.hypot(x, y)
        # What a lid hides is taken from the same distance to the middle of the iris, a circle.
        aside = np.sqrt(np.maximum(np.square(distance) - np.square(visible), 0))
        aside = np.where(visible == y, x, np.copysign(aside, x))
        share = np.clip((distance / radius - _LIMBUS) / _LIMBUS_BLEND, 0, 1)
        source_along += (1 - share) * (aside - x)
        disc = from_across + visible
        sources = rest.places(source_along, disc + share * (white - disc))
        return sources, ramp(self._opened(), _CLOSED, 2 * _CLOSED)

    def iris(self, places: Array) -> tuple[Array, Array]:
        """Return the sources of places in an iris, and their distances from its middle, radii."""
        start, end = self._middles()
        moved = self._driven.measure(places) / np.array(self._growth, np.float32) - end
        distance = np.hypot(*moved.T) / iris_radius(self._faces[0], self._iris)
        return self._rest.places(*(start + moved).T), np.asarray(distance, np.float32)

    def moved(self) -> float:
        """Return how far an eye differs from the reference's in gaze or opening, 0 to 1."""
        start, end = self._middles()
        shift = float(np.hypot(*(end - start))) / iris_radius(self._faces[0], self._iris)
        return ramp(max(shift, abs(self._opened() - 1)), *_MOVED_EYE)

    def _middles(self) -> tuple[Array, Array]:
        """Return the middle of the iris in both eyes, (2,) along and across, at one scale."""
        start, end = (
            eye.measure(face[self._iris[:1], :2])[0]
            for eye, face in zip((self._rest, self._driven), self._faces, strict=True)
        )
        return start, end / np.array(self._growth, np.float32)

    def _opened(self) -> float:
        """Return the driven eye's opening, as a multiple of the reference's."""
        return self._driven.height() / max(self._rest.height() * self._growth[1], MIN_PX)

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

    def comes_down(self) -> bool:
        """Return whether the upper lid is stretched enough to be visible."""
        middle = [edge[len(edge) // 2] for edge in self._lid]
        before, after = (math.dist(*face[middle, :2].tolist()) for face in self._faces)
        return after * self._poses[0].scale > _MIN_STRETCH * before * self._poses[1].scale

    def lid(self, sources: Array) -> Array:
        """Return better sources of places on the upper lid than those of the mesh.

        The mesh stretches a closing lid as a whole; here the lashes keep their height, and only the
        skin between crease and lashes is stretched.
        """
        rest, driven = (Opening(face, self._lid) for face in self._faces)
        along, across = rest.measure(sources).T
        edge = rest.lower(along)
        height = np.maximum(edge - rest.upper(along), MIN_PX)
        driven_along = along * driven.reach / rest.reach
        gap = driven.lower(driven_along) - driven.upper(driven_along)
        driven_height = np.maximum(gap / self._growth[1], height)
        lashes = np.minimum(_LASHES * rest.reach, _MAX_LASHES * height)
        above_edge = edge - across
        drawn = above_edge * driven_height / height
        skin_scale = (height - lashes) / np.maximum(driven_height - lashes, MIN_PX)
        moved = np.minimum(drawn, lashes) + skin_scale * np.maximum(drawn - lashes, 0)
        on_lid = (above_edge > 0) & (above_edge < height)
        return rest.places(along, np.where(on_lid, edge - moved, across))


def _knots(reach: float, middle: float, half: float) -> Array:
    """Return corner, both rims of the iris and the other corner, strictly increasing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)
