"""Labels of a clip are found from its landmarks alone."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.expression.emotions import EMOTIONS, LEVELS, acted_deviations
from reenact.face.geometry import canonical_face, rotation_matrix, to_image
from reenact.training.labels import FaceMaterial, LabelledClip, by_emotion, label, one_hot
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
    assert np.isnan(labels.units[3]).all()
    assert np.isnan(labels.intensity[3])
    assert (np.nanargmax(labels.emotions[4:20], axis=1) == 0).all()
    assert labels.emotions[-1, HAPPY] > 0.9
    assert labels.intensity[-1] > LEVELS["intense"]
    assert np.diff(labels.intensity[20:]).min() > -1e-6


def test_what_the_data_set_says_stands_and_gives_the_neutral() -> None:
    known = np.array([HAPPY, 0, 0, -1], np.int8)
    labels = label(clip(np.array([1, 0.5, 0.5, 1], np.float32)), known)
    assert labels.emotions[0, HAPPY] == 1
    assert labels.units[1].max() < 0.05, "its neutral is this person's rest"
    assert labels.units[3].max() > 0.3


def test_groups_are_drawn_equally_often_with_another_face_of_the_same_clip() -> None:
    def grey(name: str, shade: int, emotions: list[int]) -> LabelledClip:
        count = len(emotions)
        shades = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.uint8(shade)
        return LabelledClip(
            name,
            np.broadcast_to(shades, (count, 32, 32, 3)).copy(),
            np.zeros((count, 3), np.float32),
            np.eye(17, dtype=np.float32)[:count],
            one_hot(emotions),
            np.linspace(0, 1, count, dtype=np.float32),
        )

    clips = [grey("a", 20, [0] * 9 + [5]), grey("b", 200, [0] * 10)]
    people, emotions = (FaceMaterial(clips, [], "", group) for group in (None, by_emotion))
    drawn = people.draw(np.random.default_rng(0), 400)
    assert drawn["people"].mean() == pytest.approx(0.5, abs=0.08)
    dark = [drawn[f"{which}faces"].mean(axis=(1, 2, 3)) < 0 for which in ("", "other_")]
    assert np.array_equal(dark[0], drawn["people"] == 0)
    assert np.array_equal(dark[1], dark[0])
    moved = np.abs(drawn["units"] - drawn["other_units"]).max(axis=1)
    assert (moved == 1).mean() > 0.95  # an expression of its own, wherever there is one
    smiles = emotions.draw(np.random.default_rng(0), 400)["emotions"][:, 5]
    assert smiles.mean() == pytest.approx(0.5, abs=0.08)
