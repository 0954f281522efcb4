"""The inside of an eye: where a driven eye's pixels come from in the reference.

A mesh between the lids with the iris's centre as a vertex would stretch the iris
into a wedge as the gaze moves. Here the iris moves as a disc, and the white on each side is
stretched or compressed between iris and corner. What a lid hides in the reference is unknown; the
pixels next to the lid stand in for it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE, Opening, growth
from reenact.face.geometry import estimate_pose
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Edges of the opening and landmarks of the iris; the eye on the image's left comes first."""

_MIN_PX: Final = 0.1
"""Smaller distances count as this much, so that nothing is divided by zero."""

_LIMBUS: Final = 1.15
"""Radius, in iris radii, of what moves with the iris: its dark rim belongs to it."""

_LIMBUS_BLEND: Final = 0.5
"""Width, in iris radii, of the transition from the disc to the white."""

_LID_SHADOW: Final = 0.1
"""Share of the opening's height next to a lid that is taken by its shadow and lashes."""

_CLOSED: Final = 0.2
"""An eye opened less than this share of the reference's opening is closed."""


def eye_sources(
    places: Array,
    reference: Array,
    drive: Array,
    eye: int,
    poses: tuple[Pose, Pose] | None = None,
) -> tuple[Array, float]:
    """Return where places inside a driven eye come from.

    Args:
        places: (N, 2) crop px.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) driven landmarks, crop px.
        eye: index into `EYES`.
        poses: of reference and drive; None: they are estimated here.

    Returns:
        float32 (N, 2) crop px, and a trust from 0 to 1: low where the lids almost meet, because
        the mesh renders that line as lashes.
    """
    edges, iris = EYES[eye]
    shown, wanted = Opening(reference, edges), Opening(drive, edges)
    grown_along, grown = growth(shown, *(poses or (estimate_pose(reference), estimate_pose(drive))))
    (from_along, from_across), (to_along, to_across) = (
        opening.measure(points[iris[:1], :2])[0]
        for opening, points in ((shown, reference), (wanted, drive))
    )
    radius = _iris_radius(reference[list(iris), :2])
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


def _iris_radius(iris: Array) -> float:
    """Return half the distance, px, of the two rim landmarks of (5, 2) that no lid hides."""
    return max(float(np.hypot(*(iris[1] - iris[3]))) / 2, 0.5)


def _increasing(reach: float, middle: float, half: float) -> Array:
    """Return corner, both rims of the iris and the other corner, strictly increasing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)
