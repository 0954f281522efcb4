"""What the mesh's flow lacks: how skin slides under landmarks, how hair, ears and shoulders move.

Landmarks are a model's opinion: as a head turns and a face smiles, they slide over the skin that
they name, much alike on everybody. Around the face the mesh carries hair and neck by rings whose
depth and share are guessed (`warping`). What both lack in the mean over people is linear in the
head's motion and the change of expression, and learned from optical flow in people's clips
(`training.residual_flow`). Some sixty numbers a place: unlike flow that a network draws, it holds
for people whom it never saw.
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
"""The field reaches from -SPAN to SPAN about the face's middle, iod, upright with the head."""

_OWN_FLOW: Final = "own_flow."

SIDE: Final = 40
"""Cells a side of the field."""

MOTIONS: Final = ("pitch", "yaw", "roll", "across", "along")
"""The first causes: the head's turn, radians, and shift, iod."""

MOST_TURN: Final = 0.35
"""Radians that a turn tends to: of larger ones the clips show too few to go on linearly, which
draws shoulders and the jaw's corner away."""

_BELOW_CHIN: Final = np.clip((np.linspace(-SPAN, SPAN, SIDE) - 1.5) / 0.5, 0, 1).astype(np.float32)
"""How far each row of the field is a body's; the chin is near 2."""


class ResidualFlow:
    """What is to be added to the mesh's flow. Immutable.

    Causes are `MOTIONS` and the components of expression, C in all.

    Args:
        components: (C - 5, 468, 3); times a change of shape in the face frame (iod): how far it
            has each component, in standard deviations.
        skin: (468, C, 2) iod by which what a landmark of the reference names is to be sought
            elsewhere, for one unit of each cause, upright with the head.
        around: (SIDE, SIDE, C, 2) the same for places around the driven face.
        on_skull: whether it is what a mesh lacks whose hair lies on the skull; in files of earlier
            versions all hair is as deep.
    """

    def __init__(
        self, components: Array, skin: Array, around: Array, on_skull: bool | Array = True
    ) -> None:
        self.components = np.asarray(components, dtype=np.float32)
        self.skin = np.asarray(skin, dtype=np.float32)
        self.around = np.asarray(around, dtype=np.float32)
        self.on_skull = bool(on_skull)
        # Causes first: so they meet in one product of matrices, thirty times as fast.
        self._of_skin, self._of_around = (_causes_first(of) for of in (self.skin, self.around))

    def __add__(self, other: ResidualFlow) -> ResidualFlow:
        """Return the sum of two that are of the same components and the same mesh."""
        skin, around = self.skin + other.skin, self.around + other.around
        return ResidualFlow(self.components, skin, around, self.on_skull)

    def arrays(self) -> dict[str, Array]:
        """Return what it was made of, by name."""
        return {
            "components": self.components,
            "skin": self.skin,
            "around": self.around,
            "on_skull": np.array(self.on_skull, np.float32),
        }

    def causes(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return (C,) causes that lead from a reference to a driven face.

        Args:
            reference: (478, 3) landmarks, crop px.
            drive: (478, 3) landmarks, crop px.
            poses: of both.
        """
        change = to_face_frame(drive, poses[1]) - to_face_frame(reference, poses[0])
        return limited(head_motion(*poses), change, self.components)

    def on_skin(self, causes: Array, reference: Array, pose: Pose) -> Array:
        """Return a reference's (478, 3) landmarks where their skin is, crop px."""
        shift = (causes @ self._of_skin).reshape(N_SKIN, 2) @ head_axes(pose).T
        moved = reference.astype(np.float32)
        moved[:N_SKIN, :2] += shift * np.float32(pose.scale)
        return moved

    def flow(
        self, causes: Array, drive: Pose, size_px: int, side: int, body_motion: Array | None = None
    ) -> Array:
        """Return what the mesh's flow lacks around a driven face.

        Args:
            causes: (C,).
            drive: pose to be drawn, crop px.
            size_px: side of the crop.
            side: cells a side of the flow.
            body_motion: (5,) `MOTIONS` of what is below the chin; None: the head's.

        Returns:
            float32 (side, side, 2), in halves of the crop's side.
        """
        upright = head_axes(drive)
        moved = (causes @ self._of_around).reshape(SIDE, SIDE, 2)
        if body_motion is not None:
            count = len(MOTIONS)
            more = (_limited(body_motion) - causes[:count]) @ self._of_around[:count]
            moved += _BELOW_CHIN[:, None, None] * more.reshape(SIDE, SIDE, 2)
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


def _causes_first(flows: Array) -> Array:
    """Return (..., C, 2) as (C, -1)."""
    return np.ascontiguousarray(np.moveaxis(flows, -2, 0).reshape(flows.shape[-2], -1))


def limited(motion: Array, change: Array, components: Array) -> Array:
    """Return (..., C) causes of (..., 5) `MOTIONS` and (..., 468 and more, 3) changes of shape."""
    causes = np.concatenate([_limited(motion), component_weights(change, components)], axis=-1)
    return np.asarray(causes, dtype=np.float32)


def _limited(motion: Array) -> Array:
    turn = MOST_TURN * np.tanh(motion[..., :3] / MOST_TURN)
    return np.asarray(np.concatenate([turn, motion[..., 3:]], axis=-1), dtype=np.float32)


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
def known_residual_flow() -> ResidualFlow:
    """Return the shipped one."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        return ResidualFlow(**arrays)


def own_tensors(own_flow: ResidualFlow) -> dict[str, Tensor]:
    """Return what a weight file holds beside the network: what was learned of one person's flow."""
    import torch

    from reenact.models.weights import BESIDE

    return {BESIDE + _OWN_FLOW + name: torch.from_numpy(a) for name, a in own_flow.arrays().items()}


def read_own_flow(path: Path) -> ResidualFlow | None:
    """Return what a weight file holds of one person's flow; None: nothing.

    Raises:
        ModelError: the file is missing, damaged or of another architecture.
    """
    from reenact.models.weights import BESIDE, load_tensors

    beginning = BESIDE + _OWN_FLOW
    found = {
        name.removeprefix(beginning): tensor.numpy()
        for name, tensor in load_tensors(path, "warp_unet", beginning).items()
    }
    if not found:
        return None
    found.setdefault("on_skull", np.zeros((), np.float32))
    try:
        return ResidualFlow(**found)
    except TypeError as error:
        raise ModelError(f"{path} is damaged: a part of one face's own flow is missing.") from error
