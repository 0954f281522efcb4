from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.face.regions import LID_INDEX, lid_gaps
from reenact.training.augmentation import Augmentation, Pair, augment, wink, wink_frames
from reenact.types import Array
from support.faces import portrait_target


def closed(points: Array) -> Array:
    """Move the upper lids down onto the lower ones."""
    moved = points.copy()
    moved[LID_INDEX[:, 0], 1] = moved[LID_INDEX[:, 1], 1]
    return moved


def clip_of(faces: list[Array]) -> tuple[Array, NDArray[np.intp]]:
    return np.stack(faces), np.arange(len(faces))


def test_open_frames_find_the_nearest_closed_one() -> None:
    face = portrait_target().neutral
    landmarks, usable = clip_of([face] * 6 + [closed(face)] + [face] * 12)
    pairs = wink_frames(landmarks, usable).tolist()
    assert [here for here, _ in pairs] == [*range(6), *range(7, 15)]  # 8 frames away at most
    assert {there for _, there in pairs} == {6}


def test_a_head_that_moves_in_between_gives_no_wink() -> None:
    face = portrait_target().neutral
    moved = closed(face) + np.array([20, 0, 0], np.float32)
    assert wink_frames(*clip_of([face] * 3 + [moved] + [face] * 3)).shape == (0, 2)


def test_one_eye_closes_and_nothing_else_changes() -> None:
    target = portrait_target()
    face, image = target.neutral, target.references[0]
    other = 255 - image  # each pixel tells which frame it came from
    picture, points = wink(image, face, other, closed(face), right=True)
    gaps = lid_gaps(points) / lid_gaps(face)
    assert abs(gaps[:7]).max() < 0.05
    np.testing.assert_allclose(gaps[7:], 1, atol=1e-3)

    def at(index: int) -> tuple[int, int]:
        x, y = np.round(face[index, :2]).astype(int)
        return y, x

    iris_right, iris_left = at(468), at(473)
    assert np.abs(picture[iris_right].astype(int) - other[iris_right]).max() < 12
    np.testing.assert_array_equal(picture[iris_left], image[iris_left])
    np.testing.assert_array_equal(picture[at(1)], image[at(1)])
    mirrored_picture, _ = wink(image, face, other, closed(face), right=False)
    np.testing.assert_array_equal(mirrored_picture[iris_right], image[iris_right])


@pytest.mark.parametrize("changes", [(), ("flip",), ("scale",), ("colour",), ("noise",)])
def test_only_what_was_asked_for_is_changed(changes: tuple[Augmentation, ...]) -> None:
    target = portrait_target(64)
    picture, points = target.references[0], target.neutral
    pairs = [
        augment(Pair(picture, points, picture, points), np.random.default_rng(seed), changes)
        for seed in range(8)
    ]
    flipped = [np.array_equal(one.truth, picture[:, ::-1]) for one in pairs]
    same = [np.array_equal(one.truth, picture) for one in pairs]
    moved = [np.abs(one.truth_landmarks - points).max() for one in pairs]
    assert all(same) == (changes in ((), ("noise",)))
    assert any(flipped) == (changes == ("flip",))
    assert max(moved) == 0 or changes in (("flip",), ("scale",), ("noise",))
    assert max(np.abs(one.reference_landmarks - points).max() for one in pairs) == 0 or changes in (
        ("flip",),
        ("scale",),
    )
