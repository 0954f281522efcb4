"""How what surrounds a face moves with the head: hair, ears, neck, shoulders.

The mesh carries them by rings whose depth and share are guessed (`warping`). What it lacks in the
mean over people is a field around the face, linear in the head's motion, learned from optical flow
in people's clips (`training.surroundings`). A depth that is wrong shows as a flow that grows with
pitch and yaw, a share that is wrong as one that grows with a shift. Five numbers a place: unlike
flow that a network draws, it holds for people whom it never saw.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import cv2
import numpy as np

from reenact.geometry import rotation_vector
from reenact.types import Array, Pose

ASSET: Final = "surroundings.npz"

SPAN: Final = 2.4
"""The field reaches from -SPAN to SPAN about the face's middle, iod, upright with the head."""

SIDE: Final = 40
"""Cells a side of the field."""

MOTIONS: Final = ("pitch", "yaw", "roll", "across", "along")
"""What the field is linear in: the head's turn, radians, and shift, iod."""

MOST_TURN: Final = 0.35
"""Radians that a turn tends to in the field: of larger ones the clips show too few to go on
linearly, which draws shoulders and the jaw's corner away."""


class Surroundings:
    """The field, and the flow that it means. Immutable.

    Args:
        field: (SIDE, SIDE, 5, 2) iod by which the place in the reference that a place around the
            driven face comes from is to be moved, for one unit of each of `MOTIONS`.
    """

    def __init__(self, field: Array) -> None:
        self.field = np.asarray(field, dtype=np.float32)

    def flow(self, reference: Pose, drive: Pose, size_px: int, side: int) -> Array:
        """Return what the mesh's flow lacks around a driven face.

        Args:
            reference: pose in the reference, crop px.
            drive: pose to be drawn, crop px.
            size_px: side of the crop.
            side: cells a side of the flow.

        Returns:
            float32 (side, side, 2), in halves of the crop's side.
        """
        upright = head_axes(drive)
        motion = head_motion(reference, drive)
        motion[:3] = MOST_TURN * np.tanh(motion[:3] / MOST_TURN)
        moved = np.einsum("ijkc,k->ijc", self.field, motion)
        moved = moved @ upright.T * np.float32(drive.scale * 2 / size_px)
        # From cells of the crop to cells of the field.
        cell, grid = size_px / side, (SIDE - 1) / (2 * SPAN)
        turn = upright.T * (grid / drive.scale)
        centre = drive.translation[:2] - 0.5 * (cell - 1)
        shift = (SIDE - 1) / 2 - turn @ centre
        affine = np.concatenate([turn * cell, shift[:, None]], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REPLICATE
        spread = cv2.warpAffine(
            moved.astype(np.float32), affine, (side, side), flags=flags, borderMode=border
        )
        return np.asarray(spread, dtype=np.float32)


def head_axes(pose: Pose) -> Array:
    """Return (2, 2): the columns are the head's own right and down in the picture."""
    x, y = pose.rotation[:2, 0] / max(float(np.hypot(*pose.rotation[:2, 0])), 1e-6)
    return np.array([[x, -y], [y, x]], np.float32)


def head_motion(reference: Pose, drive: Pose) -> Array:
    """Return (5,) `MOTIONS` from the reference's pose to the driven one, in its `head_axes`."""
    turn = rotation_vector(drive.rotation @ reference.rotation.T)
    shift = (drive.translation - reference.translation)[:2] / np.float32(drive.scale)
    upright = head_axes(drive)
    motion = np.concatenate([turn[:2] @ upright, turn[2:], shift @ upright])
    return np.asarray(motion, dtype=np.float32)


@lru_cache(maxsize=1)
def known_surroundings() -> Surroundings:
    """Return the shipped one."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return Surroundings(arrays["field"])
