"""Eyes and upper lids: where a driven eye's pixels come from in the reference.

Inside the eye: a mesh between the lids with the iris's centre as a vertex would stretch the iris
into a wedge as the gaze moves. Here the iris moves as a disc, and the white on each side is
stretched or compressed between iris and corner. What a lid hides in the reference is unknown; the
pixels next to the lid stand in for it.

On the upper lid: an open eye shows little skin between lid edge and crease, and lashes cover it. A
mesh that stretches this strip over a shut eye smears the lashes across the lid. Here the lashes
keep their length at the lid's edge, and only the skin above them is stretched. The remaining
streaks are smoothed in the finished picture.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE, Edges, Opening, growth, patch
from reenact.face.geometry import estimate_pose, region_mask
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT
from reenact.types import Array, Image, Pose

EYES: Final = ((RIGHT_EYE, IRIS_RIGHT), (LEFT_EYE, IRIS_LEFT))
"""Edges of the opening and landmarks of the iris; the eye on the image's left comes first."""

UPPER_LIDS: Final[tuple[Edges, Edges]] = (
    ([33, 247, 30, 29, 27, 28, 56, 190, 133], RIGHT_EYE[0]),
    ([362, 414, 286, 258, 257, 259, 260, 467, 263], LEFT_EYE[0]),
)
"""Crease and edge of both upper lids from corner to corner; the image's left comes first."""

_MIN_PX: Final = 0.1
"""Smaller distances count as this much, so that nothing is divided by zero."""

# --- the inside of an eye -----------------------------------------------------------------------

_LIMBUS: Final = 1.15
"""Radius, in iris radii, of what moves with the iris: its dark rim belongs to it."""

_LIMBUS_BLEND: Final = 0.5
"""Width, in iris radii, of the transition from the disc to the white."""

_LID_SHADOW: Final = 0.1
"""Share of the opening's height next to a lid that is taken by its shadow and lashes."""

_CLOSED: Final = 0.2
"""An eye opened less than this share of the reference's opening is closed."""

# --- the skin of an upper lid -------------------------------------------------------------------

_LASH_IOD: Final = 0.05
"""Length of the lashes above the lid's edge."""

_MAX_LASH_SHARE: Final = 0.7
"""Largest share of the reference's lid that counts as lashes."""

_FULLY_GROWN: Final = 0.5
"""A lid that has grown by this share is mapped entirely by `lid_sources`, one that has not grown by
the mesh."""

_CORNER: Final = 0.25
"""Share of the way to the corner, where lid and crease meet, over which the mesh takes over."""

_LID_HEIGHT_IOD: Final = (0.02, 0.06)
"""Lids lower than the first height are left to the mesh, those higher than the second are not."""

_STRETCHED: Final = (0.4, 1.2)
"""Smoothing begins for skin stretched by the first share and is complete at the second."""

_SHUT: Final = (0.5, 0.8)
"""Openings, as shares of the reference's: shut below the first, open above the second."""

_MIN_OPENING_IOD: Final = 0.01

_SMOOTHING_IOD: Final = 0.07
"""Standard deviation of the smoothing."""

_CREASE: Final = 0.25
"""Share of the lid's height, below the crease, over which smoothing fades out."""

_EPSILON: Final = 1e-3

_BRIGHTNESS_POWER: Final = 4
"""Skin is weighted by this power of its brightness, as what is darker is lashes and shadow."""


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


def lid_sources(
    places: Array, reference: Array, drive: Array, lid: int, poses: tuple[Pose, Pose]
) -> tuple[Array, Array]:
    """Return where places on a driven upper lid come from.

    Args:
        places: (N, 2) crop px, between crease and edge.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) driven landmarks, crop px.
        lid: index into `UPPER_LIDS`.
        poses: of reference and drive.

    Returns:
        float32 (N, 2) crop px, and (N,) trust from 0 to 1.
    """
    shown, wanted = Opening(reference, UPPER_LIDS[lid]), Opening(drive, UPPER_LIDS[lid])
    at = _measure(places, shown, wanted, poses)
    lashes = np.minimum(_LASH_IOD * poses[0].scale, _MAX_LASH_SHARE * at.before)
    skin = (at.before - lashes) / np.maximum(at.after - lashes, _MIN_PX)
    source = np.minimum(at.height, lashes) + np.maximum(at.height - lashes, 0) * skin
    low, high = (limit * poses[0].scale for limit in _LID_HEIGHT_IOD)
    trust = (
        np.clip((at.after / at.before - 1) / _FULLY_GROWN, 0, 1)
        * np.clip(at.inwards / _CORNER, 0, 1)
        * np.clip((at.before - low) / (high - low), 0, 1)
    )
    return shown.places(at.along, shown.lower(at.along) - source), trust.astype(np.float32)


def strip_mask(points: Array, edges: Edges, side: int) -> NDArray[np.uint8]:
    """Return the coverage, 0 to 255, of the cells between two edges that share their ends."""
    first, second = edges
    return region_mask(points, (*first, *second[-2:0:-1]), side)


def smooth_shut_lids(
    picture: Image, reference: Array, drive: Array, poses: tuple[Pose, Pose] | None = None
) -> None:
    """Smooth the skin of lids that have shut, in a drawn picture, in place.

    Args:
        picture: uint8 (S, S, 3) RGB.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks that it was drawn with, crop px.
        poses: of both; None: they are estimated here.
    """
    before, after = poses = poses or (estimate_pose(reference), estimate_pose(drive))
    for (crease, edge), eye in zip(UPPER_LIDS, (RIGHT_EYE, LEFT_EYE), strict=True):
        open_before = Opening(reference, eye).height() / before.scale
        open_after = Opening(drive, eye).height() / after.scale
        shut = float(np.interp(open_after / max(open_before, _MIN_OPENING_IOD), _SHUT, (1, 0)))
        if not shut:  # raised brows stretch the lid of an open eye as well
            continue
        shown, wanted = Opening(reference, (crease, edge)), Opening(drive, (crease, edge))
        rows, columns, places = patch(drive[crease + edge, :2], len(picture))
        lid = picture[rows, columns]
        if not lid.size:
            continue
        skin, share = (
            part.reshape(lid.shape[:2]) for part in _stretched_skin(places, shown, wanted, poses)
        )
        bright = lid.mean(axis=2, dtype=np.float32) / 255
        weight = skin * (bright**_BRIGHTNESS_POWER + _EPSILON)
        blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=_SMOOTHING_IOD * after.scale)
        smooth = blur(lid * weight[..., None]) / (blur(weight) + _EPSILON**2)[..., None]
        lid[:] = np.clip(lid + shut * share[..., None] * (smooth - lid) + 0.5, 0, 255)


def _iris_radius(iris: Array) -> float:
    """Return half the distance, px, of the two rim landmarks of (5, 2) that no lid hides."""
    return max(float(np.hypot(*(iris[1] - iris[3]))) / 2, 0.5)


def _increasing(reach: float, middle: float, half: float) -> Array:
    """Return corner, both rims of the iris and the other corner, strictly increasing, along."""
    first, last = middle - half, middle + half
    return np.array([min(-reach, first - 0.1), first, last, max(reach, last + 0.1)], np.float32)


def _stretched_skin(
    places: Array, shown: Opening, wanted: Opening, poses: tuple[Pose, Pose]
) -> tuple[Array, Array]:
    """Return (N,) skin above the lashes and (N,) share of smoothing, 0 to 1, at (N, 2) px."""
    at = _measure(places, shown, wanted, poses)
    lashes = _LASH_IOD * poses[0].scale
    skin = np.clip((at.height - lashes) / (0.5 * lashes), 0, 1) * (at.height < at.after)
    little, much = _STRETCHED
    share = (
        skin
        * np.clip((at.after / at.before - 1 - little) / (much - little), 0, 1)
        * np.clip((at.after - at.height) / (_CREASE * at.after), 0, 1)
        * np.clip(at.inwards / (2 * _CORNER), 0, 1)
    )
    return skin.astype(np.float32), share.astype(np.float32)


class _OnLid(NamedTuple):
    """Where places lie on a lid, in px of the reference.

    Attributes:
        along: position from the middle between the corners.
        before: the lid's height there in the reference.
        after: its driven height, corrected for the change of the head's size.
        height: of the place above the lid's edge.
        inwards: distance from the nearer corner, 0 to 1 in the middle.
    """

    along: Array
    before: Array
    after: Array
    height: Array
    inwards: Array


def _measure(places: Array, shown: Opening, wanted: Opening, poses: tuple[Pose, Pose]) -> _OnLid:
    _, grown = growth(shown, *poses)
    along, across = wanted.measure(places).T
    reach = max(wanted.reach, _MIN_PX)
    from_along = along * np.float32(shown.reach / reach)
    return _OnLid(
        from_along,
        np.maximum(shown.lower(from_along) - shown.upper(from_along), _MIN_PX),
        np.maximum((wanted.lower(along) - wanted.upper(along)) / grown, _MIN_PX),
        (wanted.lower(along) - across) / grown,
        1 - np.abs(along) / reach,
    )
