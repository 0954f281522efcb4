"""Landmark motion of clips and its transfer to other faces: the ground truth of the fusion.

No two people show exactly the same expression, so eq. 5 of Fan 2023 has no ground truth between
people. A smooth deformation of space provides one: the deformation that maps one person's resting
face to another's is also applied to the acting face. Touching lids still touch, and a wider mouth
opens wider (after expression cloning, Noh & Neumann 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.evaluation.recognition import clear_labels
from reenact.expression.emotions import emotion_weights
from reenact.face.action_units import LID_PAIRS_LEFT, LID_PAIRS_RIGHT, LIP_PAIRS, action_units
from reenact.face.geometry import canonical_face, farthest_points, to_face_frames
from reenact.face.topology import LOWER_LIP, UPPER_LIP
from reenact.targets.clip_files import (
    clip_landmarks,
    files_in,
    frames_with_face,
    load_labels,
    person_of,
)
from reenact.types import Array

CONTROLS: Final = 96
WIDTHS: Final = (0.32, 0.11)
"""Widths of the kernel's two Gaussians, iod: one for the head, one for facial features."""

FINE_SHARE: Final = 0.35
RIDGE: Final = 3e-3


@dataclass(frozen=True, slots=True)
class Motion:
    """The landmarks of one clip in the face frame, iod.

    Attributes:
        identity: the person's name.
        shapes: (F, 478, 3) of all frames with a face.
        rest: (478, 3) resting shape.
        emotions: (F,) indices into `EMOTIONS`, -1 for a frame without a label; None: no labels.
    """

    identity: str
    shapes: Array
    rest: Array
    emotions: NDArray[np.intp] | None = None


def load_motions(folder: Path, stride: int = 1, pseudo_labels: bool = False) -> list[Motion]:
    """Read the landmarks of all clips in a folder (`NAME.npz`, NaN where no face was found).

    Each clip is posed twice: against the canonical face, then against the resting shape from the
    first pass. Labels are those of the data set (`emotions`), and its neutral frames define the
    rest. With `pseudo_labels`, other clips are labelled by frames whose action units are clear
    (`recognition.clear_labels`). Raises ReenactError if the folder has no landmark files.
    """
    motions = []
    for path in files_in(folder, ".npz"):
        clip = clip_landmarks(path)
        known = load_labels(path, len(clip))
        seen = frames_with_face(clip)[::stride]
        if not len(seen):
            continue
        labels = None if known is None else known[seen]
        rest = _rest(*to_face_frames(clip[seen]), labels)
        shapes, rotations = to_face_frames(clip[seen], rest)
        rest = _rest(shapes, rotations, labels)
        if labels is None and pseudo_labels:
            units = np.stack([action_units(shape, rest) for shape in shapes])
            labels = clear_labels(emotion_weights(units))
        identity = person_of(path.stem)
        motions.append(Motion(identity, shapes, rest, labels))
    if not motions:
        raise ReenactError(f"{folder} has no landmark files (NAME.npz); give a folder of clips.")
    return motions


def resting_shape(shapes: Array, rotations: Array) -> Array:
    """Return the median shape (478, 3) of a clip's calm frames.

    In a calm frame the mouth is nearly shut, and lids, mouth width and head are near the median.
    `measures.resting_shape` has the same purpose and shuts the lips more, by .024 iod on average of
    112 clips. The weights of the fusion and the stored labels are relative to this one: to use one
    for both, train them again.
    """
    gap = shapes[:, LOWER_LIP, 1] - shapes[:, UPPER_LIP, 1]
    lids = shapes[:, 145, 1] + shapes[:, 374, 1] - shapes[:, 159, 1] - shapes[:, 386, 1]
    width = shapes[:, 291, 0] - shapes[:, 61, 0]
    restless = (
        np.maximum(gap - np.percentile(gap, 10), 0) / 0.1
        + np.abs(lids - np.percentile(lids, 60)) / 0.06
        + np.abs(width - np.median(width)) / 0.08
        + np.linalg.norm(rotations - np.median(rotations, axis=0), axis=1) / 0.3
    )
    calm = np.argsort(restless)[: max(len(shapes) // 5, 1)]
    return np.asarray(np.median(shapes[calm], axis=0), np.float32)


def _rest(shapes: Array, rotations: Array, labels: NDArray[np.intp] | None) -> Array:
    """Return the shape at rest: from frames labelled neutral, or from calm ones."""
    if labels is None or not (labels == 0).any():
        return resting_shape(shapes, rotations)
    return np.asarray(np.median(shapes[labels == 0], axis=0))


class DeformationTransfer:
    """Smooth deformations between the faces of known people.

    Takes (P, 478, 3) resting shapes in the face frame, iod. `fields` (P, CONTROLS, 3) holds the
    deformation from the canonical face to each person; the difference of two fields maps one
    person to another.
    """

    def __init__(self, rests: Array) -> None:
        face = canonical_face()
        self._controls = _kernel_space(face[_control_landmarks(face)])
        kernel = self.kernel(face[None])[0].astype(np.float64)
        gram = kernel.T @ kernel + RIDGE * len(face) * np.eye(CONTROLS)
        difference = (rests - face).transpose(1, 0, 2).reshape(len(face), -1)
        fields = np.linalg.solve(gram, kernel.T @ difference).reshape(CONTROLS, len(rests), 3)
        self.fields: Array = fields.transpose(1, 0, 2).astype(np.float32)

    def kernel(self, points: Array) -> Array:
        """Return the (N, M, CONTROLS) kernel of (N, M, 3) points; `kernel @ field` displaces."""
        flat = _kernel_space(points.reshape(-1, 3))
        squares = (
            (flat**2).sum(axis=1)[:, None]
            + (self._controls**2).sum(axis=1)
            - 2 * flat @ self._controls.T
        )
        wide, fine = (np.exp(squares * np.float32(-0.5 / width**2)) for width in WIDTHS)
        return np.asarray(wide + np.float32(FINE_SHARE) * fine).reshape(*points.shape[:2], -1)

    def transfer(
        self, rests: Array, rest_kernel: Array, acting: Array, fields: Sequence[Array]
    ) -> list[tuple[Array, Array]]:
        """Deform (N, 478, 3) resting and acting shapes by each of several fields.

        Args:
            rests: resting shapes.
            rest_kernel: their kernel, precomputed because few people share many frames.
            acting: acting shapes.
            fields: (N, CONTROLS, 3) each, differences of `self.fields`.

        Returns:
            For each field the deformed resting shapes, and the deviations of the deformed acting
                shapes from them.
        """
        acting_kernel = self.kernel(acting)
        result = []
        for field in fields:
            deformed = rests + rest_kernel @ field
            result.append((deformed, acting + acting_kernel @ field - deformed))
        return result


def _kernel_space(points: Array) -> Array:
    """Halve the depth: the tracker measures it poorly, and faces hardly fold."""
    return np.asarray(points * np.array([1, 1, 0.5], np.float32), dtype=np.float32)


def _control_landmarks(face: Array) -> list[int]:
    """Choose lids and lips, then always the landmark farthest from those already chosen."""
    pairs = LID_PAIRS_RIGHT[1:6:2] + LID_PAIRS_LEFT[1:6:2] + LIP_PAIRS[::2]
    chosen = [landmark for pair in pairs for landmark in pair]
    rest = farthest_points(_kernel_space(face), chosen, CONTROLS - len(chosen))
    return [*chosen, *rest]
