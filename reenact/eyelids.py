"""Where the skin of a driven upper lid comes from in the reference: lashes keep their length.

Between an open eye's lid and its crease there is little skin, and lashes before it. A mesh that
stretches all of it over a shut eye smears the lashes over the lid. Here they stay at the lid's edge
as long as they are, and the skin above them alone is stretched.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.openings import LEFT_EYE, RIGHT_EYE, Edges, Opening, growth
from reenact.types import Array, Pose

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
    _, grown = growth(shown, *poses)
    along, across = wanted.measure(places).T
    from_along = along * np.float32(shown.reach / max(wanted.reach, _LEAST_PX))
    edge = shown.lower(from_along)
    before = np.maximum(edge - shown.upper(from_along), _LEAST_PX)
    after = np.maximum((wanted.lower(along) - wanted.upper(along)) / grown, _LEAST_PX)
    height = (wanted.lower(along) - across) / grown
    lashes = np.minimum(_LASH_IOD * poses[0].scale, _MOST_LASHES * before)
    skin = (before - lashes) / np.maximum(after - lashes, _LEAST_PX)
    source = np.minimum(height, lashes) + np.maximum(height - lashes, 0) * skin
    inwards = 1 - np.abs(along) / max(wanted.reach, _LEAST_PX)
    narrow, wide = (limit * poses[0].scale for limit in _NARROW_IOD)
    trust = (
        np.clip((after / before - 1) / _GROWN, 0, 1)
        * np.clip(inwards / _CORNER, 0, 1)
        * np.clip((before - narrow) / (wide - narrow), 0, 1)
    )
    return shown.places(from_along, edge - source), trust.astype(np.float32)
