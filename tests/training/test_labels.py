"""Labels of a clip are found from its landmarks alone."""

from __future__ import annotations

import numpy as np

from reenact.expression.emotions import EMOTIONS, LEVELS, acted_deviations
from reenact.face.geometry import canonical_face, rotation_matrix, to_image
from reenact.training.labels import label
from reenact.types import Array, Pose

HAPPY = EMOTIONS.index("happy")


def clip(amounts: Array) -> Array:
    """Return the landmarks of a head that turns while it smiles so much."""
    points = []
    for number, amount in enumerate(amounts):
        turn = rotation_matrix(np.array([0, 0.1 * np.sin(number / 5), 0.05], np.float32))
        shape = canonical_face() + np.float32(amount) * acted_deviations()[HAPPY]
        points.append(to_image(shape, Pose(turn, np.array([128, 110, 0], np.float32), 80.0)))
    return np.stack(points)


def test_a_smile_is_found_with_its_strength_in_an_unlabelled_clip() -> None:
    amounts = np.concatenate([np.zeros(20), np.linspace(0, 1, 10)]).astype(np.float32)
    landmarks = clip(amounts)
    landmarks[3] = np.nan
    labels = label(landmarks)
    assert np.isnan(labels["action_units"][3]).all()
    assert np.isnan(labels["intensity"][3])
    assert (np.nanargmax(labels["emotion_weights"][4:20], axis=1) == 0).all()
    assert labels["emotion_weights"][-1, HAPPY] > 0.9
    assert labels["intensity"][-1] > LEVELS["intense"]
    assert np.diff(labels["intensity"][20:]).min() > -1e-6


def test_what_the_data_set_says_stands_and_gives_the_neutral() -> None:
    known = np.array([HAPPY, 0, 0, -1], np.int8)
    labels = label(clip(np.array([1, 0.5, 0.5, 1], np.float32)), known)
    assert labels["emotion_weights"][0, HAPPY] == 1
    assert labels["action_units"][1].max() < 0.05, "its neutral is this person's rest"
    assert labels["action_units"][3].max() > 0.3
