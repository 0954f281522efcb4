"""References: a calm face first, then sharp ones that differ, and none that adds nothing."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reenact.face.geometry import farthest_points
from reenact.targets.reference_selection import (
    MAX_REFERENCES,
    MIN_DIFFERENCE,
    Look,
    calmest,
    choose_references,
    measure_look,
)
from reenact.types import Array
from support.portraits import box_target, smooth_picture

BLURRED = 0.6


@st.composite
def videos(draw: st.DrawFn) -> list[Look]:
    """Looks of 1 to 60 frames, some of them blurred, some alike."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(1, 60))
    spread = draw(st.sampled_from([0.0, 0.1, 1.0, 5.0]))
    features = rng.normal(0, spread, (count, 6)).astype(np.float32)
    features[rng.integers(0, count, count // 3)] = features[0]
    return [
        Look(row, float(sharpness))
        for row, sharpness in zip(features, rng.uniform(1, 10, count), strict=True)
    ]


def distances(looks: list[Look], first: list[int], second: list[int]) -> Array:
    features = np.stack([look.features for look in looks])
    return np.asarray(np.linalg.norm(features[first][:, None] - features[second][None], axis=-1))


@given(videos(), st.integers(1, MAX_REFERENCES))
def test_references_are_sharp_differ_and_leave_nothing_new_out(
    looks: list[Look], count: int
) -> None:
    chosen = choose_references(looks, count)
    assert chosen[0] == calmest(looks)
    assert 1 <= len(chosen) == len(set(chosen)) <= count
    least_sharp = BLURRED * float(np.median([look.sharpness for look in looks]))
    sharp = [i for i, look in enumerate(looks) if look.sharpness >= least_sharp * (1 + 1e-5)]
    assert all(looks[i].sharpness >= least_sharp * (1 - 1e-5) for i in chosen[1:])
    for place in range(1, len(chosen)):
        assert distances(looks, chosen[:place], chosen[place : place + 1]).min() >= (
            MIN_DIFFERENCE * (1 - 1e-5)
        )
    if len(chosen) < count and sharp:
        assert distances(looks, sharp, chosen).min(axis=1).max() < MIN_DIFFERENCE * (1 + 1e-5)


@given(videos(), st.integers(0, 70))
def test_each_farthest_point_is_no_farther_than_the_one_before(
    looks: list[Look], count: int
) -> None:
    points = np.stack([look.features for look in looks])
    chosen = [0, *farthest_points(points, [0], count)]
    assert len(chosen) == len(set(chosen)) == min(count + 1, len(points))
    gaps = [distances(looks, chosen[:i], chosen[i : i + 1]).min() for i in range(1, len(chosen))]
    assert gaps == sorted(gaps, reverse=True)
    left = sorted(set(range(len(points))) - set(chosen))
    if left and gaps:
        assert distances(looks, left, chosen).min(axis=1).max() <= gaps[-1]


def test_points_that_are_not_allowed_are_never_chosen() -> None:
    points = np.arange(10, dtype=np.float32)[:, None]
    allowed = points[:, 0] < 6
    assert farthest_points(points, [0], 3, allowed=allowed) == [5, 2, 1]
    assert farthest_points(points, [0], 9, min_distance=2, allowed=allowed) == [5, 2]


def test_a_look_measures_turn_opening_and_sharpness() -> None:
    picture = smooth_picture((256, 256))
    target = box_target(picture, 0, 0, 256)
    face = target.neutral
    calm = measure_look(picture, face)
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    rolled = face.copy()
    rolled[:, :2] = (face[:, :2] - 128) @ turn.T + 128
    opened = face.copy()
    opened[14, 1] += 0.12 * np.linalg.norm(face[33, :2] - face[263, :2])
    change = np.abs(measure_look(picture, rolled).features - calm.features)
    assert change[2] == np.float32(change.max())
    assert abs(change[2] - 1) < 0.02
    assert change[[0, 1, 3, 4, 5]].max() < 0.05
    change = np.abs(measure_look(picture, opened).features - calm.features)
    assert change.argmax() == 3
    grainy = np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint8)
    soft = np.asarray(cv2.GaussianBlur(grainy, (0, 0), 2), np.uint8)
    assert measure_look(soft, face).sharpness < 0.3 * measure_look(grainy, face).sharpness


def test_the_calmest_face_of_somebody_who_squints_has_open_eyes() -> None:
    openings = [2.0, 2.0, 2.1, 1.9, 2.0, 2.1, 4.0, 3.9, 4.1, 4.0]
    looks = [Look(np.array([0, 0, 0, 0, 5, eyes], np.float32), 5.0) for eyes in openings]
    assert openings[calmest(looks)] >= 3.9
