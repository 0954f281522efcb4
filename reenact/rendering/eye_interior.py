"""Where the inside of a driven eye comes from in the reference: an iris keeps its shape.

A mesh between the lids has the iris's centre for a vertex: where that moves aside, the iris is
drawn out into a wedge. Here the iris moves as a disc, and each side's white is stretched or pressed
between it and its corner. What a lid hides in the reference is not to be had: the place at the lid
stands in.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE, Opening, growth
from reenact.face.geometry import estimate_pose
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Both eyes, the one on the image's left first: edges of the opening, landmarks of the iris."""

_LIMBUS: Final = 1.15
"""What moves with the iris, in radii: its dark rim belongs to it."""

_BLEND: Final = 0.5
"""From the rim on, over so many radii, the white goes over to keeping its height in the eye."""

_LID_SHARE: Final = 0.1
"""Of the opening's height: nearer than this to a lid is its shadow, and lashes."""

_SHUT: Final = 0.2
"""Lids this near to each other, as a share of the reference's gap, are shut."""

_LEAST_GAP_PX: Final = 0.1
"""Lids nearer than this to each other count as so far apart."""


def eye_sources(
    places: Array,
    reference: Array,
    drive: Array,
    eye: int,
    poses: tuple[Pose, Pose] | None = None,
) -> tuple[Array, float]:
    """Say where places inside a driven eye come from.

    Args:
        places: (N, 2) crop px.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks to be drawn, crop px.
        eye: which of `EYES`.
        poses: of reference and drive, where they are known.

    Returns:
        float32 (N, 2) crop px, and how far (0 to 1) they are to be trusted: not where the lids all
        but meet, of whose line a mesh makes lashes.
    """
    edges, iris = EYES[eye]
    shown, wanted = Opening(reference, edges), Opening(drive, edges)
    grown_along, grown = growth(shown, *(poses or (estimate_pose(reference), estimate_pose(drive))))
    (from_along, from_across), (to_along, to_across) = (
        opening.measure(points[iris[:1], :2])[0]
        for opening, points in ((shown, reference), (wanted, drive))
    )
    radius = _radius(reference[list(iris), :2])
    reach = _LIMBUS * radius
    along, across = wanted.measure(places).T
    knots = _in_order(wanted.reach, to_along, reach * grown_along)
    source_along = np.interp(along, knots, _in_order(shown.reach, from_along, reach))
    source_along += along - np.clip(along, knots[0], knots[-1])
    lid, floor = wanted.upper(along), wanted.lower(along)
    beyond = across - np.clip(across, lid, np.maximum(floor, lid))
    height = (across - beyond - lid) / np.maximum(floor - lid, _LEAST_GAP_PX)
    top, bottom = shown.upper(source_along), shown.lower(source_along)
    white = top + height * (bottom - top) + beyond / grown
    away = np.hypot((along - to_along) / grown_along, (across - to_across) / grown) / radius
    margin = _LID_SHARE * np.maximum(bottom - top, 0)
    disc = from_across + (across - to_across) / grown
    disc = np.clip(disc, np.minimum(top + margin, white), np.maximum(bottom - margin, white))
    share = np.clip((away - _LIMBUS) / _BLEND, 0, 1)
    opened = wanted.height() / max(shown.height() * grown, _LEAST_GAP_PX)
    trust = float(np.clip((opened - _SHUT) / _SHUT, 0, 1))
    return shown.places(source_along, disc + share * (white - disc)), trust


def _radius(iris: Array) -> float:
    """Return half the distance of the two rims that no lid hides, px, of (5, 2) an iris."""
    return max(float(np.hypot(*(iris[1] - iris[3]))) / 2, 0.5)


def _in_order(reach: float, middle: float, half: float) -> Array:
    """Return corner, the iris's two rims and the other corner, growing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)
