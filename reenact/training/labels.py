"""Labels of clips: action units, emotion and intensity of each frame.

They are computed from the landmarks relative to the resting face of the clip (`emotions` has the
thresholds). If the data set labels its pictures, its neutral pictures give the resting face, and
its emotions are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reenact.expression.emotions import EMOTIONS, emotion_intensity, emotion_weights
from reenact.face.action_units import action_units
from reenact.face.geometry import to_face_frames
from reenact.face.topology import ACTION_UNITS
from reenact.training.deformation_transfer import resting_shape
from reenact.types import Array


@dataclass(frozen=True, slots=True)
class Labels:
    """The expression in each frame; NaN where no face was found.

    Attributes:
        units: float32 (F, 17), in the order of `topology.ACTION_UNITS`, 0 to 1.
        emotions: float32 (F, 8) weights of sum 1, in the order of `emotions.EMOTIONS`.
        intensity: float32 (F,), see `emotions.emotion_intensity`.
    """

    units: Array
    emotions: Array
    intensity: Array

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by their names in a clip's NPZ file."""
        return {
            "action_units": self.units,
            "emotion_weights": self.emotions,
            "intensity": self.intensity,
        }


def label(landmarks: Array, known: NDArray[np.int8] | None = None) -> Labels:
    """Label the frames of one clip of one person.

    Args:
        landmarks: (F, 478, 3) px, NaN where no face was found; at least one face.
        known: (F,) emotions that the data set gives, -1 where it gives none.
    """
    seen = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    found = landmarks[seen].astype(np.float32)
    calm = np.zeros(len(found), bool) if known is None else known[seen] == 0
    rest: Array | None = None
    for _ in range(2):  # against the canonical face, then against the rest found with it
        shapes, turns = to_face_frames(found, rest)
        rest = shapes[calm].mean(axis=0) if calm.any() else resting_shape(shapes, turns)
    units = np.full((len(landmarks), len(ACTION_UNITS)), np.nan, np.float32)
    assert rest is not None
    units[seen] = [action_units(shape, rest) for shape in shapes]
    emotions = emotion_weights(units)
    if known is not None:
        emotions[known >= 0] = np.eye(len(EMOTIONS), dtype=np.float32)[known[known >= 0]]
    return Labels(units, emotions, emotion_intensity(units))
