"""Labels of clips: action units, emotion and intensity of each frame.

They are computed from the landmarks relative to the resting face of the clip (`emotions` has the
thresholds). If the data set labels its pictures, its neutral pictures give the resting face, and
its emotions are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reenact.expression.emotions import EMOTIONS, emotion_intensity, emotion_weights
from reenact.face.action_units import action_units
from reenact.face.geometry import to_face_frames
from reenact.face.topology import ACTION_UNITS
from reenact.targets.clip_files import frames_with_face
from reenact.training.deformation_transfer import resting_shape
from reenact.types import Array


def label(landmarks: Array, known: NDArray[np.int8] | None = None) -> dict[str, Array]:
    """Label the frames of one clip of one person.

    Args:
        landmarks: (F, 478, 3) px, NaN where no face was found; at least one face.
        known: (F,) emotions that the data set gives, -1 where it gives none.

    Returns:
        By the names in a clip's NPZ file, float32, NaN in frames without a face:
        `action_units` (F, 17), 0 to 1, in the order of `topology.ACTION_UNITS`;
        `emotion_weights` (F, 8) of sum 1, in the order of `emotions.EMOTIONS`; and `intensity`
        (F,), see `emotions.emotion_intensity`.
    """
    seen = frames_with_face(landmarks)
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
    return {
        "action_units": units,
        "emotion_weights": emotions,
        "intensity": emotion_intensity(units),
    }
