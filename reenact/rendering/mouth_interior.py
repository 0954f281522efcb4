"""Where the inside of a driven mouth comes from in the reference: teeth keep their size.

A mesh between the lips stretches a smiling reference's teeth when the mouth opens. Here what is
inside the mouth hangs from the upper lip as it is in the reference, however far the lower lip
goes. Below it, and beside it in a wider mouth, the reference shows nothing: there the network
draws.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import MOUTH, Opening, growth
from reenact.face.geometry import estimate_pose
from reenact.types import Array, Pose

_RIM_IOD: Final = 0.03
"""Over this depth beyond what the reference shows, it goes over into what it does not."""


def interior_sources(
    places: Array, reference: Array, drive: Array, poses: tuple[Pose, Pose] | None = None
) -> tuple[Array, Array]:
    """Say what the reference has to offer for places inside the driven mouth.

    Args:
        places: (N, 2) crop px; those a little outside find what is as far outside there.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) landmarks to be drawn, crop px.
        poses: of both, where they are known.

    Returns:
        float32 (N, 2) crop px, and float32 (N,): 0 where the reference shows the place, 1 where it
        does not and its lower lip or corner stands in.
    """
    shown, wanted = Opening(reference, MOUTH), Opening(drive, MOUTH)
    before, after = poses or (estimate_pose(reference), estimate_pose(drive))
    grown_along, grown = growth(shown, before, after)
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
    rim = _RIM_IOD * before.scale
    missing = np.clip(np.maximum(drop - opening, beside) / rim, 0, 1)
    return shown.places(along, across), missing.astype(np.float32)
