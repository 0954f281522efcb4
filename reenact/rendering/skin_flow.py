"""Where the skin that a landmark names has gone: correction of the tracker's landmarks.

As a head turns and a face smiles, the tracker's landmarks slide over the skin, much alike on
everybody. The mean error is linear in the head's motion and the change of expression: 65 numbers
for each landmark, learned from optical flow (`tools.skin_flow`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

from reenact.face.expression_components import ASSET, component_weights
from reenact.face.geometry import rotation_vector, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.types import Array, Pose

MOTIONS: Final = ("pitch", "yaw", "roll", "across", "along")
"""The first causes: the head's rotation, radians, and translation, iod."""

MAX_TURN: Final = 0.35
"""Asymptote of a rotation, radians. The clips show too few larger ones to extrapolate linearly."""


class SkinFlow:
    """How far landmarks slide over the skin, linear in C causes. Immutable.

    Args:
        components: (C - 5, 468, 3). Their product with a change of shape in the face frame, iod, is
            the amount of each component of expression in standard deviations.
        skin: (468, C, 2) iod between a reference's landmark and the skin that it should name, for
            one unit of each cause, upright with the head.
    """

    def __init__(self, components: Array, skin: Array) -> None:
        self.components = np.asarray(components, dtype=np.float32)
        self.skin = np.asarray(skin, dtype=np.float32)
        # With the causes first, one matrix product applies them: thirty times as fast as einsum.
        causes_first = np.moveaxis(self.skin, 1, 0)
        self._of_causes = np.ascontiguousarray(causes_first.reshape(len(causes_first), -1))

    def moved(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return a reference's landmarks on the skin that driven ones name, all (478, 3) px."""
        change = to_face_frame(drive, poses[1]) - to_face_frame(reference, poses[0])
        causes = limited_causes(head_motion(*poses), change, self.components)
        shift = (causes @ self._of_causes).reshape(N_SKIN, 2) @ head_axes(poses[0]).T
        moved = reference.astype(np.float32)
        moved[:N_SKIN, :2] += shift * np.float32(poses[0].scale)
        return moved


def limited_causes(motion: Array, change: Array, components: Array) -> Array:
    """Return (..., C) causes of (..., 5) `MOTIONS` and (..., 468 or more, 3) changes of shape."""
    turn = MAX_TURN * np.tanh(motion[..., :3] / MAX_TURN)
    causes = [turn, motion[..., 3:], component_weights(change, components)]
    return np.asarray(np.concatenate(causes, axis=-1), dtype=np.float32)


def head_axes(pose: Pose) -> Array:
    """Return (2, 2): the columns are the head's right and down directions in the picture."""
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
def shipped_skin_flow() -> SkinFlow:
    """Return the flow that comes with the program."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return SkinFlow(**arrays)
