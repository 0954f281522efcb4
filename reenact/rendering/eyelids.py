"""The skin of a driven upper lid: where it comes from in the reference, and that it is smooth.

Between an open eye's lid and its crease there is little skin, and lashes before it. A mesh that
stretches all of it over a shut eye smears the lashes over the lid. Here they stay at the lid's edge
as long as they are, and the skin above them alone is stretched. What lashes and shadows it held
come out as stripes all the same: in the drawn picture it is evened out.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import cv2
import numpy as np

from reenact.face.aperture import LEFT_EYE, RIGHT_EYE, Edges, Opening, growth, patch
from reenact.face.geometry import estimate_pose
from reenact.types import Array, Image, Pose

UPPER_LIDS: Final[tuple[Edges, Edges]] = (
    ([33, 247, 30, 29, 27, 28, 56, 190, 133], RIGHT_EYE[0]),
    ([362, 414, 286, 258, 257, 259, 260, 467, 263], LEFT_EYE[0]),
)
"""Crease and edge of both upper lids from corner to corner, that on the image's left first."""

_LASH_IOD: Final = 0.05
"""How far lashes reach above the lid's edge."""

_MOST_LASHES: Final = 0.7
"""Of the lid in the reference, no more than this is lashes."""

_GROWN: Final = 0.5
"""A lid that is longer by this share than in the reference is drawn so altogether."""

_CORNER: Final = 0.25
"""Over this share of the way to a corner, where lid and crease meet, the mesh takes over."""

_NARROW_IOD: Final = (0.02, 0.06)
"""So narrow lids are left to the mesh, and none of those so wide."""

_LEAST_PX: Final = 0.1

_STRETCHED: Final = (0.4, 1.2)
"""Skin that is longer by the first share than in the reference begins to be evened out, by the
second it is wholly."""

_SHUT: Final = (0.5, 0.8)
"""Lids so near to each other, as shares of the reference's gap, are shut, and begin to be."""

_LEAST_IOD: Final = 0.01

_EVENED_IOD: Final = 0.07
"""Standard deviation of the window in which it is."""

_CREASE: Final = 0.25
"""Over this share of its height it goes over into what it is at the crease."""

_NO_LIGHT: Final = 1e-3

_BRIGHT: Final = 4
"""Power of its brightness by which skin counts: what is darker is lashes and shadow."""


def lid_sources(
    places: Array, reference: Array, drive: Array, lid: int, poses: tuple[Pose, Pose]
) -> tuple[Array, Array]:
    """Say where places on a driven upper lid come from.

    Args:
        places: (N, 2) crop px, between crease and edge.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks to be drawn, crop px.
        lid: which of `UPPER_LIDS`.
        poses: of reference and drive.

    Returns:
        float32 (N, 2) crop px, and (N,), how far (0 to 1) they are to be trusted.
    """
    shown, wanted = Opening(reference, UPPER_LIDS[lid]), Opening(drive, UPPER_LIDS[lid])
    at = _measure(places, shown, wanted, poses)
    lashes = np.minimum(_LASH_IOD * poses[0].scale, _MOST_LASHES * at.before)
    skin = (at.before - lashes) / np.maximum(at.after - lashes, _LEAST_PX)
    source = np.minimum(at.height, lashes) + np.maximum(at.height - lashes, 0) * skin
    narrow, wide = (limit * poses[0].scale for limit in _NARROW_IOD)
    trust = (
        np.clip((at.after / at.before - 1) / _GROWN, 0, 1)
        * np.clip(at.inwards / _CORNER, 0, 1)
        * np.clip((at.before - narrow) / (wide - narrow), 0, 1)
    )
    return shown.places(at.along, shown.lower(at.along) - source), trust.astype(np.float32)


def even_out(
    picture: Image, reference: Array, drive: Array, poses: tuple[Pose, Pose] | None = None
) -> None:
    """Make the skin of lids that have shut as smooth as skin is, in a drawn picture.

    Args:
        picture: uint8 (S, S, 3) RGB; it is changed.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks that it was drawn by, crop px.
        poses: of both, where they are known.
    """
    before, after = poses = poses or (estimate_pose(reference), estimate_pose(drive))
    for (crease, edge), eye in zip(UPPER_LIDS, (RIGHT_EYE, LEFT_EYE), strict=True):
        open_before = Opening(reference, eye).height() / before.scale
        open_after = Opening(drive, eye).height() / after.scale
        shut = float(np.interp(open_after / max(open_before, _LEAST_IOD), _SHUT, (1, 0)))
        if not shut:  # brows that rise stretch the lid of an open eye as well
            continue
        shown, wanted = Opening(reference, (crease, edge)), Opening(drive, (crease, edge))
        rows, columns, places = patch(drive[crease + edge, :2], len(picture))
        lid = picture[rows, columns]
        if not lid.size:
            continue
        skin, share = (
            part.reshape(lid.shape[:2]) for part in _stretched(places, shown, wanted, poses)
        )
        bright = lid.mean(axis=2, dtype=np.float32) / 255
        counts = skin * (bright**_BRIGHT + _NO_LIGHT)
        blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=_EVENED_IOD * after.scale)
        even = blur(lid * counts[..., None]) / (blur(counts) + _NO_LIGHT**2)[..., None]
        lid[:] = np.clip(lid + shut * share[..., None] * (even - lid) + 0.5, 0, 255)


def _stretched(
    places: Array, shown: Opening, wanted: Opening, poses: tuple[Pose, Pose]
) -> tuple[Array, Array]:
    """Return how far (0 to 1) each of (N, 2) px is skin above lashes, and is to be evened out."""
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
    """Where places are on a lid, px of the reference.

    Attributes:
        along: from the middle between its corners.
        before: how high the lid is there in the reference.
        after: how high it is to be, or was, had the head kept its size.
        height: of the place above the lid's edge.
        inwards: how far from the nearer corner, 0 to 1 in the middle.
    """

    along: Array
    before: Array
    after: Array
    height: Array
    inwards: Array


def _measure(places: Array, shown: Opening, wanted: Opening, poses: tuple[Pose, Pose]) -> _OnLid:
    _, grown = growth(shown, *poses)
    along, across = wanted.measure(places).T
    reach = max(wanted.reach, _LEAST_PX)
    from_along = along * np.float32(shown.reach / reach)
    return _OnLid(
        from_along,
        np.maximum(shown.lower(from_along) - shown.upper(from_along), _LEAST_PX),
        np.maximum((wanted.lower(along) - wanted.upper(along)) / grown, _LEAST_PX),
        (wanted.lower(along) - across) / grown,
        1 - np.abs(along) / reach,
    )
