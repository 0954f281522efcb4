"""Correction of the mesh's flow, on the skin and around the face.

As a head turns and a face smiles, the tracker's landmarks slide over the skin, much alike on
everybody, and the mesh's rings guess the motion of hair and neck. The mean error of both is linear
in the head's motion and the change of expression: some sixty numbers per position, learned from
optical flow (`training.residual_flow`), which generalise better than a network's flow.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from reenact.errors import ModelError
from reenact.face.expression_components import component_weights
from reenact.face.geometry import rotation_vector, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.types import Array, Pose

if TYPE_CHECKING:
    from torch import Tensor

ASSET: Final = "residual_flow.npz"

SPAN: Final = 2.4
"""The field reaches from -SPAN to SPAN about the middle of the face, iod, upright with the head."""

SIDE: Final = 40
"""Cells per side of the field."""

MOTIONS: Final = ("pitch", "yaw", "roll", "across", "along")
"""The first causes: the head's rotation, radians, and translation, iod."""

MAX_TURN: Final = 0.35
"""Asymptote of a rotation, radians. The clips show too few larger ones to extrapolate linearly,
which would distort shoulders and the corner of the jaw."""

_PERSONAL: Final = "own_flow."
"""Prefix of a personal flow's tensors in a weight file."""


class ResidualFlow:
    """What is added to the mesh's flow, linear in C causes. Immutable.

    Args:
        components: (C - 5, 468, 3). Their product with a change of shape in the face frame, iod, is
            the amount of each component of expression in standard deviations.
        skin: (468, C, 2) iod between a reference's landmark and the skin that it should name, for
            one unit of each cause, upright with the head.
        around: (SIDE, SIDE, C, 2) the same for positions around the driven face.
    """

    def __init__(self, components: Array, skin: Array, around: Array) -> None:
        self.components = np.asarray(components, dtype=np.float32)
        self.skin = np.asarray(skin, dtype=np.float32)
        self.around = np.asarray(around, dtype=np.float32)
        # With the causes first, one matrix product applies them: thirty times as fast as einsum.
        self._of_skin, self._of_around = (_causes_first(of) for of in (self.skin, self.around))

    def __add__(self, other: ResidualFlow) -> ResidualFlow:
        """Return the sum of two flows over the same components."""
        return ResidualFlow(self.components, self.skin + other.skin, self.around + other.around)

    def arrays(self) -> dict[str, Array]:
        """Return the arguments of the constructor by name."""
        return {"components": self.components, "skin": self.skin, "around": self.around}

    def causes(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return the (C,) causes that lead from (478, 3) landmarks to driven ones, crop px."""
        change = to_face_frame(drive, poses[1]) - to_face_frame(reference, poses[0])
        return limited_causes(head_motion(*poses), change, self.components)

    def skin_landmarks(self, causes: Array, reference: Array, pose: Pose) -> Array:
        """Return a reference's (478, 3) landmarks moved onto their skin, crop px."""
        shift = (causes @ self._of_skin).reshape(N_SKIN, 2) @ head_axes(pose).T
        moved = reference.astype(np.float32)
        moved[:N_SKIN, :2] += shift * np.float32(pose.scale)
        return moved

    def flow(self, causes: Array, drive: Pose, size_px: int, side: int) -> Array:
        """Return the flow around a driven face, float32 (side, side, 2), in halves of the crop."""
        upright = head_axes(drive)
        moved = (causes @ self._of_around).reshape(SIDE, SIDE, 2)
        moved = moved @ upright.T * np.float32(drive.scale * 2 / size_px)
        # From cells of the crop to cells of the field.
        cell, grid = size_px / side, (SIDE - 1) / (2 * SPAN)
        turn = upright.T * (grid / drive.scale)
        centre = drive.translation[:2] - 0.5 * (cell - 1)
        shift = (SIDE - 1) / 2 - turn @ centre
        affine = np.concatenate([turn * cell, shift[:, None]], axis=1)
        spread = cv2.warpAffine(
            moved.astype(np.float32),
            affine,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(spread, dtype=np.float32)


def _causes_first(flows: Array) -> Array:
    """Return (..., C, 2) as (C, -1)."""
    return np.ascontiguousarray(np.moveaxis(flows, -2, 0).reshape(flows.shape[-2], -1))


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
def shipped_residual_flow() -> ResidualFlow:
    """Return the residual flow of all people, which comes with the program."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return ResidualFlow(**arrays)


def personal_flow_tensors(flow: ResidualFlow) -> dict[str, Tensor]:
    """Return one person's flow as tensors to store beside the network in its weight file."""
    import torch

    from reenact.models.weights import BESIDE

    return {BESIDE + _PERSONAL + name: torch.from_numpy(a) for name, a in flow.arrays().items()}


def read_personal_flow(path: Path) -> ResidualFlow | None:
    """Return the flow of one person that a weight file holds, None if it holds none.

    Raises ModelError if the file is missing, damaged or of another architecture.
    """
    from reenact.models.weights import BESIDE, load_arrays

    prefix = BESIDE + _PERSONAL
    found = {
        name.removeprefix(prefix): values
        for name, values in load_arrays(path, "warp_unet", prefix).items()
    }
    if not found:
        return None
    try:
        return ResidualFlow(**found)
    except TypeError as error:
        raise ModelError(
            f"{path} does not hold a complete residual flow; train the target again."
        ) from error
