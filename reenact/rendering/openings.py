"""The inside of mouth and eyes: where a driven opening's pixels come from in the reference.

A mesh between lips or lids would stretch teeth as a mouth opens, and irises into wedges as the gaze
moves. Here the inside of a mouth hangs from the upper lip, however far the lower one drops. An iris
moves as a disc, and the white on each side is stretched or compressed between iris and corner.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import LEFT_EYE, MOUTH, RIGHT_EYE, Opening, growth
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Edges of the opening and landmarks of the iris; the eye on the image's left comes first."""

_RIM_IOD: Final = 0.03
"""Width of the transition from what a mouth shows to what it does not."""

_PARTED_IOD: Final = (0.05, 0.15)
"""Gaps of the lips between which their inside comes to light. Narrower ones, which a tracker sees
in many closed mouths, show the edges of the lips."""

_MIN_PX: Final = 0.1
"""Smaller distances count as this much, so that nothing is divided by zero."""

_LIMBUS: Final = 1.15
"""Radius, in iris radii, of what moves with the iris: its dark rim belongs to it."""

_LIMBUS_BLEND: Final = 0.5
"""Width, in iris radii, of the transition from the disc to the white."""

_LID_SHADOW: Final = 0.1
"""Share of the opening's height next to a lid that is taken by its shadow and lashes."""

LIDS: Final = (
    ([33, 247, 30, 29, 27, 28, 56, 190, 133], RIGHT_EYE[0]),
    ([362, 414, 286, 258, 257, 259, 260, 467, 263], LEFT_EYE[0]),
)
"""Crease and edge of the upper lids, each from the corner on the image's left; as in `EYES`."""

_LASHES: Final = 0.16
_MAX_LASHES: Final = 0.7
"""Height of the lashes on an upper lid, as a share of half the eye's width, and of the lid's."""

_STRETCHED: Final = 1.05
"""A lid that is stretched by less is left as it is: that is a sixth of a px of 256."""

_MEETING_CELLS: Final = 2.5
"""Where lids meet, the flow is changed up to so many cells from the line between them."""

_CLOSED: Final = 0.2
"""An eye opened less than this share of the reference's opening is closed."""


def mouth_sources(
    places: Array, reference: Array, drive: Array, poses: tuple[Pose, Pose]
) -> tuple[Array, Array, float]:
    """Return where places inside the driven mouth come from, and what of them is not seen there.

    Args:
        places: (N, 2) crop px; places a little outside map to places equally far outside.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) driven landmarks, crop px.
        poses: theirs.

    Returns:
        float32 (N, 2) crop px, and float32 (N,): 0 where the reference shows the place, 1 where it
        does not and its lower lip or corner stands in; less while the lips have hardly parted. And
        from 0 to 1, how far lips have shut that are apart in the reference.
    """
    shown, wanted = Opening(reference, MOUTH), Opening(drive, MOUTH)
    grown_along, grown = growth(shown, *poses)
    along, across = wanted.measure(places).T
    drop = across - wanted.upper(along)
    beyond_lip = np.maximum(across - np.maximum(wanted.lower(along), wanted.upper(along)), 0)
    outside = wanted.beyond_corners(along) / grown
    along = along / grown_along
    beside = np.abs(shown.beyond_corners(along) - outside)
    along = along - shown.beyond_corners(along) + outside
    top = shown.upper(along)
    opening = np.maximum(shown.lower(along) - top, 0)
    drop = (drop - beyond_lip) / grown
    across = top + np.minimum(drop, opening) + beyond_lip / grown
    missing = np.maximum(drop - opening, beside) / (_RIM_IOD * poses[0].scale)
    parted = _parted(wanted.height() / (grown * poses[0].scale))
    unseen = (parted * np.clip(missing, 0, 1)).astype(np.float32)
    shut = (1 - parted) * _parted(shown.height() / poses[0].scale)
    return shown.places(along, across), unseen, shut


def _parted(gap_iod: float) -> float:
    """Return how much of what lies behind lips comes to light, 0 to 1."""
    first, last = _PARTED_IOD
    return float(np.clip((gap_iod - first) / (last - first), 0, 1))


def eye_sources(
    places: Array, reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]
) -> tuple[Array, float]:
    """Return where places inside a driven eye come from; `eye` is an index into `EYES`.

    What a lid hides in the reference is unknown; the pixels next to the lid stand in for it. The
    arguments are those of `mouth_sources`.

    Returns:
        float32 (N, 2) crop px, and a trust from 0 to 1: low where the lids almost meet, which
        `meeting_lids` draws.
    """
    edges, iris = EYES[eye]
    shown, wanted = Opening(reference, edges), Opening(drive, edges)
    grown_along, grown = growth(shown, *poses)
    from_along, from_across = shown.measure(reference[iris[:1], :2])[0]
    to_along, to_across = wanted.measure(drive[iris[:1], :2])[0]
    # Of the rim's four landmarks, no lid hides those on its sides.
    radius = max(float(np.hypot(*(reference[iris[1], :2] - reference[iris[3], :2]))) / 2, 0.5)
    reach = _LIMBUS * radius
    along, across = wanted.measure(places).T
    knots = _increasing(wanted.reach, to_along, reach * grown_along)
    source_along = np.interp(along, knots, _increasing(shown.reach, from_along, reach))
    source_along += along - np.clip(along, knots[0], knots[-1])
    lid, floor = wanted.upper(along), wanted.lower(along)
    beyond = across - np.clip(across, lid, np.maximum(floor, lid))
    height = (across - beyond - lid) / np.maximum(floor - lid, _MIN_PX)
    top, bottom = shown.upper(source_along), shown.lower(source_along)
    white = top + height * (bottom - top) + beyond / grown
    away = np.hypot((along - to_along) / grown_along, (across - to_across) / grown) / radius
    margin = _LID_SHADOW * np.maximum(bottom - top, 0)
    disc = from_across + (across - to_across) / grown
    disc = np.clip(disc, np.minimum(top + margin, white), np.maximum(bottom - margin, white))
    share = np.clip((away - _LIMBUS) / _LIMBUS_BLEND, 0, 1)
    opened = wanted.height() / max(shown.height() * grown, _MIN_PX)
    trust = float(np.clip((opened - _CLOSED) / _CLOSED, 0, 1))
    return shown.places(source_along, disc + share * (white - disc)), trust


def meeting_lids(
    places: Array,
    reference: Array,
    drive: Array,
    eye: int,
    poses: tuple[Pose, Pose],
    *,
    cell_px: float,
) -> tuple[Array, Array]:
    """Return where places around lids that meet come from, so that the line between is smooth.

    The lids keep their size, and the whole eye is swept over within a cell on each side of the
    line; a flow that jumped there would be drawn in steps. The arguments are those of
    `mouth_sources`, an index into `EYES`, and the size of a cell of the maps.

    Returns:
        float32 (N, 2) crop px, and a share from 0 to 1, (N,), that falls off with the distance
        from the line.
    """
    edges, _ = EYES[eye]
    shown, wanted = Opening(reference, edges), Opening(drive, edges)
    _, grown = growth(shown, *poses)
    along, across = wanted.measure(places).T
    beyond = across - (wanted.upper(along) + wanted.lower(along)) / 2
    share = np.minimum(
        _MEETING_CELLS - np.abs(beyond) / cell_px, (wanted.reach - np.abs(along)) / cell_px
    )
    along = along * shown.reach / wanted.reach
    top = shown.upper(along)
    swept = np.clip((beyond / cell_px + 1) / 2, 0, 1) * (shown.lower(along) - top)
    return shown.places(along, top + beyond / grown + swept), np.clip(share, 0, 1)


def comes_down(reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]) -> bool:
    """Return whether an upper lid is stretched so much that it shows; the rest is as above."""
    middle = [edge[len(edge) // 2] for edge in LIDS[eye]]
    before, after = (
        float(np.hypot(*np.diff(one[middle, :2], axis=0)[0])) for one in (reference, drive)
    )
    return after * poses[0].scale > _STRETCHED * before * poses[1].scale


def unstretched_lashes(
    sources: Array, reference: Array, drive: Array, eye: int, poses: tuple[Pose, Pose]
) -> Array:
    """Return where places on an upper lid come from, (N, 2) crop px.

    The mesh stretches a lid that comes down. Here only the skin between crease and lashes is.
    `sources` are those of the mesh, (N, 2) crop px of the reference; all else is as in
    `eye_sources`.
    """
    shown, wanted = Opening(reference, LIDS[eye]), Opening(drive, LIDS[eye])
    _, grown = growth(shown, *poses)
    along, across = shown.measure(sources).T
    edge = shown.lower(along)
    height = np.maximum(edge - shown.upper(along), _MIN_PX)
    there = along * wanted.reach / shown.reach
    driven = np.maximum((wanted.lower(there) - wanted.upper(there)) / grown, height)
    lashes = np.minimum(_LASHES * shown.reach, _MAX_LASHES * height)
    above = edge - across
    drawn = above * driven / height
    skin = (height - lashes) / np.maximum(driven - lashes, _MIN_PX)
    moved = np.minimum(drawn, lashes) + skin * np.maximum(drawn - lashes, 0)
    on_lid = (above > 0) & (above < height)
    return shown.places(along, np.where(on_lid, edge - moved, across))


def _increasing(reach: float, middle: float, half: float) -> Array:
    """Return corner, both rims of the iris and the other corner, strictly increasing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)
