"""Corrects the sliding of the tracker's landmarks over the skin.

As the head turns and the expression changes, landmarks slide over the skin in much the same way on
everybody. The mean slide is modelled as linear in the head's motion and the change of expression,
with 65 coefficients per landmark and axis, learned from optical flow (`tools.skin_flow`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.geometry import rotation_vector, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.storage import read_asset
from reenact.types import Array, Pose

ASSET: Final = "skin_flow.npz"

MOTIONS: Final = ("pitch", "yaw", "roll", "across", "along")
"""The first five causes: the head's rotation, radians, and translation, iod."""

MAX_TURN: Final = 0.35
"""Asymptote of each rotation, radians; the clips show too few larger ones for a linear model."""

MAX_CHANGE: Final = 2.0
"""Asymptote of a component of expression, standard deviations."""


class SkinFlow:
    """The landmarks' sliding over the skin, linear in C causes. Immutable.

    Args:
        components: (C - 5, 468, 3). Their product with a change of shape in the face frame, iod, is
            the amount of each component of expression, in standard deviations.
        skin: (468, C, 2) shift of a reference's landmark to the skin under the driven landmark, per
            unit of each cause, in iod along the `head_axes`.
    """

    def __init__(self, components: Array, skin: Array) -> None:
        self.components = np.asarray(components, dtype=np.float32)
        self.skin = np.asarray(skin, dtype=np.float32)
        # With the causes first, one matrix product applies them, thirty times as fast as einsum.
        causes_first = np.moveaxis(self.skin, 1, 0)
        self._of_causes = np.ascontiguousarray(causes_first.reshape(len(causes_first), -1))

    def moved(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Move a reference's landmarks to the skin under the driven ones; all are (478, 3) px."""
        causes = causes_between(reference, drive, poses, self.components)
        shift = (causes @ self._of_causes).reshape(N_SKIN, 2) @ head_axes(poses[0]).T
        moved = reference.astype(np.float32)
        moved[:N_SKIN, :2] += shift * np.float32(poses[0].scale)
        return moved


def causes_between(
    reference: Array, drive: Array, poses: tuple[Pose, Pose], components: Array
) -> Array:
    """Return the causes, (C,), between two faces, (478, 3) px each, with these poses."""
    change = to_face_frame(drive, poses[1]) - to_face_frame(reference, poses[0])
    return limited_causes(head_motion(*poses), change, components)


def limited_causes(motion: Array, change: Array, components: Array) -> Array:
    """Return the causes, (..., C), of `MOTIONS`, (..., 5), and changes of shape, (..., 468+, 3)."""
    turn = MAX_TURN * np.tanh(motion[..., :3] / MAX_TURN)
    flat = change[..., :N_SKIN, :].reshape(*change.shape[:-2], -1)
    amounts = flat @ components.reshape(len(components), -1).T
    causes = [turn, motion[..., 3:], MAX_CHANGE * np.tanh(amounts / MAX_CHANGE)]
    return np.asarray(np.concatenate(causes, axis=-1), dtype=np.float32)


def head_axes(pose: Pose) -> Array:
    """Return the head's right and down directions in the picture as columns, (2, 2)."""
    x, y = pose.rotation[:2, 0] / max(float(np.hypot(*pose.rotation[:2, 0])), 1e-6)
    return np.array([[x, -y], [y, x]], np.float32)


def head_motion(reference: Pose, drive: Pose) -> Array:
    """Return the `MOTIONS`, (5,), between two poses, in the `head_axes` of the driven one."""
    turn = rotation_vector(drive.rotation @ reference.rotation.T)
    shift = (drive.translation - reference.translation)[:2] / np.float32(drive.scale)
    axes = head_axes(drive)
    motion = np.concatenate([turn[:2] @ axes, turn[2:], shift @ axes])
    return np.asarray(motion, dtype=np.float32)


@lru_cache(maxsize=1)
def shipped_skin_flow() -> SkinFlow:
    """Return the `SkinFlow` that is shipped with the program."""
    return SkinFlow(**read_asset(ASSET))
