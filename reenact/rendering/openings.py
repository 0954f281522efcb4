"""Source positions, in the reference, of the pixels inside a driven mouth or eye.

A mesh between lips or lids would stretch the teeth as the mouth opens, and distort the irises as
the gaze moves. Here the inside of the mouth is attached to the upper lip, however far the lower one
drops. An iris moves as a disc; the white is stretched or compressed between iris and corner.

The functions share their arguments:

    places      (N, 2) crop px in the driven picture; places a little outside an opening map to
                places equally far outside
    reference   (478, 3) landmarks of the reference, crop px
    drive       (478, 3) driven landmarks, crop px
    eye         index into `EYES`
    poses       poses of reference and drive
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from reenact.face.aperture import LEFT_EYE, MOUTH, RIGHT_EYE, Opening, growth
from reenact.face.geometry import to_face_frame
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT, UPPER_LIP
from reenact.types import Array, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Edges of the opening and landmarks of the iris; the eye on the image's left comes first."""

_RIM_IOD: Final = 0.03
"""Width of the transition between seen and unseen parts of the mouth."""

_PARTED_IOD: Final = (0.05, 0.15)
"""Gaps between the lips at which their inside begins to show and shows fully. Trackers report
narrower gaps for many closed mouths; those show the edges of the lips."""

_MIN_PX: Final = 0.1
"""Minimum of distances that are divided by."""

_LIMBUS: Final = 1.15
"""Radius of the moving disc, in iris radii; it includes the dark rim of the iris."""

_LIMBUS_BLEND: Final = 0.5
"""Width, in iris radii, of the transition from the disc to the white."""

_LID_SHADOW: Final = 0.1
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
    teeth_end: float = 1.0,
) -> tuple[Array, Array, float]:
    """Return the sources of places inside the driven mouth.

    Upper teeth keep their distance from the upper lip; what is below them, `teeth_end` of the
    opening, keeps its distance from the lower one. If the reference shows where they end, they stay
    where they are as the upper lip rises, and what it bares above them is unseen.

    Returns:
        The sources, float32 (N, 2) crop px. Float32 (N,), 0 to 1: 1 where the reference does not
        show the place, so that its lower lip or corner stands in; less if the lips have hardly
        parted. And 0 to 1: 1 if the lips are closed but parted in the reference.
    """
    rest, driven = Opening(reference, MOUTH), Opening(drive, MOUTH)
    growth_along, growth_across = growth(rest, *poses)
    along, across = driven.measure(places).T
    upper, lower = driven.upper(along), driven.lower(along)
    drop = across - upper
    gap = (lower - upper) / growth_across
    beyond_lip = np.maximum(across - np.maximum(lower, upper), 0)
    along_rest = along / growth_along
    added = driven.beyond_corners(along) / growth_across - rest.beyond_corners(along_rest)
    along, beside = along_rest + added, np.abs(added)
    top = rest.upper(along)
    opening = np.maximum(rest.lower(along) - top, 0)
    drop = (drop - beyond_lip) / growth_across
    rise = _rise(reference, drive, poses) if teeth_end < 1 else 0.0
    down = drop - rise
    teeth = teeth_end * opening
    below = opening - gap + drop
    kept = np.minimum(drop, 0) + np.maximum(down, 0)
    depth = np.where(down < teeth, kept, np.clip(below, teeth, opening))
    across = top + depth + beyond_lip / growth_across
    hidden = drop - opening
    if teeth_end < 1:
        above, between = rise - np.maximum(drop, 0), np.minimum(down - teeth, teeth - below)
        hidden = np.maximum(above, between)
    missing = np.maximum(hidden, beside) / (_RIM_IOD * poses[0].scale)
    parted = _parted(driven.height() / (growth_across * poses[0].scale))
    unseen = (parted * np.clip(missing, 0, 1)).astype(np.float32)
    shut = (1 - parted) * _parted(rest.height() / poses[0].scale)
    return rest.places(along, across), unseen, shut


def _rise(reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> float:
    """Return how far the upper lip has risen, px of the reference; 0 if it has come down."""
    before, after = (
        float(to_face_frame(face[[UPPER_LIP]], pose)[0, 1])
        for face, pose in zip((reference, drive), poses, strict=True)
    )
    return max(before - after, 0.0) * poses[0].scale


def _parted(gap_iod: float) -> float:
    """Return how far the inside of the mouth shows through a gap between the lips, 0 to 1."""
    first, last = _PARTED_IOD
    return min(max((gap_iod - first) / (last - first), 0.0), 1.0)


def eye_sources(
    places: Array, reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]
) -> tuple[Array, float]:
    """Return the sources of places inside a driven eye.

    Parts of the eye that a lid hides in the reference are replaced by the pixels next to the lid.

    Returns:
        The sources, float32 (N, 2) crop px; and their trust, 0 to 1, which is low if the lids
        almost meet. `meeting_lids` draws those.
    """
    edges, iris = EYES[eye]
    rest, driven = Opening(reference, edges), Opening(drive, edges)
    growth_along, growth_across = growth(rest, *poses)
    from_along, from_across = rest.measure(reference[iris[:1], :2])[0]
    to_along, to_across = driven.measure(drive[iris[:1], :2])[0]
    # Lids do not hide the two landmarks of the rim on the sides of the iris.
    radius = max(math.dist(*reference[[iris[1], iris[3]], :2].tolist()) / 2, 0.5)
    reach = _LIMBUS * radius
    along, across = driven.measure(places).T
    knots = _knots(driven.reach, to_along, reach * growth_along)
    source_along = np.interp(along, knots, _knots(rest.reach, from_along, reach))
    source_along += along - np.clip(along, knots[0], knots[-1])
    lid, floor = driven.upper(along), driven.lower(along)
    beyond = across - np.clip(across, lid, np.maximum(floor, lid))
    height = (across - beyond - lid) / np.maximum(floor - lid, _MIN_PX)
    top, bottom = rest.upper(source_along), rest.lower(source_along)
    white = top + height * (bottom - top) + beyond / growth_across
    x, y = (along - to_along) / growth_along, (across - to_across) / growth_across
    margin = _LID_SHADOW * np.maximum(bottom - top, 0)
    disc = from_across + y
    disc = np.clip(disc, np.minimum(top + margin, white), np.maximum(bottom - margin, white))
    share = np.clip((np.hypot(x, y) / radius - _LIMBUS) / _LIMBUS_BLEND, 0, 1)
    opened = driven.height() / max(rest.height() * growth_across, _MIN_PX)
    trust = min(max((opened - _CLOSED) / _CLOSED, 0.0), 1.0)
    return rest.places(source_along, disc + share * (white - disc)), trust


def meeting_lids(
    places: Array,
    reference: Array,
    drive: Array,
    eye: int,
    poses: tuple[Pose, Pose],
    *,
    cell_px: float,
) -> tuple[Array, Array]:
    """Return the sources of places around meeting lids, so that the line between them is smooth.

    The lids keep their size, and the flow sweeps over the whole eye within a cell on each side of
    the line; a flow that jumped there would be drawn in steps. `cell_px` is the size of a cell of
    the maps.

    Returns:
        The sources, float32 (N, 2) crop px; and their weights, (N,), 0 to 1, which fall with the
        distance from the line.
    """
    edges, _ = EYES[eye]
    rest, driven = Opening(reference, edges), Opening(drive, edges)
    _, growth_across = growth(rest, *poses)
    along, across = driven.measure(places).T
    distance = across - (driven.upper(along) + driven.lower(along)) / 2
    weight = np.minimum(
        _MEETING_CELLS - np.abs(distance) / cell_px, (driven.reach - np.abs(along)) / cell_px
    )
    along = along * rest.reach / driven.reach
    top = rest.upper(along)
    swept = np.clip((distance / cell_px + 1) / 2, 0, 1) * (rest.lower(along) - top)
    return rest.places(along, top + distance / growth_across + swept), np.clip(weight, 0, 1)


def comes_down(reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]) -> bool:
    """Return whether an upper lid is stretched enough to be visible."""
    middle = [edge[len(edge) // 2] for edge in LIDS[eye]]
    before, after = (math.dist(*points[middle, :2].tolist()) for points in (reference, drive))
    return after * poses[0].scale > _MIN_STRETCH * before * poses[1].scale


def unstretched_lashes(
    sources: Array, reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]
) -> Array:
    """Return the sources of places on an upper lid, (N, 2) crop px.

    The mesh stretches a closing lid as a whole; here the lashes keep their height, and only the
    skin between crease and lashes is stretched. `sources` are the mesh's, (N, 2) crop px.
    """
    rest, driven = Opening(reference, LIDS[eye]), Opening(drive, LIDS[eye])
    _, growth_across = growth(rest, *poses)
    along, across = rest.measure(sources).T
    edge = rest.lower(along)
    height = np.maximum(edge - rest.upper(along), _MIN_PX)
    driven_along = along * driven.reach / rest.reach
    gap = driven.lower(driven_along) - driven.upper(driven_along)
    driven_height = np.maximum(gap / growth_across, height)
    lashes = np.minimum(_LASHES * rest.reach, _MAX_LASHES * height)
    above_edge = edge - across
    drawn = above_edge * driven_height / height
    skin_scale = (height - lashes) / np.maximum(driven_height - lashes, _MIN_PX)
    moved = np.minimum(drawn, lashes) + skin_scale * np.maximum(drawn - lashes, 0)
    on_lid = (above_edge > 0) & (above_edge < height)
    return rest.places(along, np.where(on_lid, edge - moved, across))


def _knots(reach: float, middle: float, half: float) -> Array:
    """Return corner, both rims of the iris and the other corner, strictly increasing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)
