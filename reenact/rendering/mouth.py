"""The inside of the mouth: what the reference shows of it, and gaps between unseen teeth.

A mesh between the lips would stretch a smiling reference's teeth as the mouth opens. Here the
inside hangs from the upper lip as in the reference, however far the lower lip drops. The reference
shows nothing below it, or beside it in a wider mouth; there the network draws.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.aperture import MOUTH, Opening, growth
from reenact.face.geometry import estimate_pose
from reenact.types import Array, Pose

_RIM_IOD: Final = 0.03
"""Width of the transition from what the reference shows to what it does not."""


def mouth_sources(
    places: Array, reference: Array, drive: Array, poses: tuple[Pose, Pose] | None = None
) -> tuple[Array, Array]:
    """Return where places inside the driven mouth come from, and which of them are unseen.

    Args:
        places: (N, 2) crop px; places a little outside map to places equally far outside.
        reference: (478, 3) landmarks of the reference, crop px.
        drive: (478, 3) driven landmarks, crop px.
        poses: of both; None: they are estimated here.

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
