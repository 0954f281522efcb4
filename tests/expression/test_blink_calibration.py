from __future__ import annotations

import numpy as np
import pytest

from reenact.expression.blink_calibration import EYE_PAIRS, BlinkDepths, eyes_together
from reenact.face.geometry import rotation_matrix
from reenact.types import Array

FPS = 30.0


def closures(right: float, left: float) -> Array:
    return np.repeat(np.array([right, left], np.float32), EYE_PAIRS)


def watch(blinks: BlinkDepths, right: list[float], left: list[float], start_s: float = 0.0) -> None:
    for number, (one, other) in enumerate(zip(right, left, strict=True)):
        blinks.observe(closures(one, other), start_s + number / FPS)


def blink(depth: float) -> list[float]:
    return [1.0, 1.0, 0.7, depth, depth, 0.7, 1.0, 1.0]


def test_the_first_blink_shuts_the_usual_eye() -> None:
    widened = BlinkDepths().widen(closures(0.16, 1.2))
    np.testing.assert_allclose(widened, closures(0.0, 1.2), atol=1e-6)


def turned(yaw: float) -> Array:
    """Return the rotation of a head whose left eye is nearer if the sine `yaw` is positive."""
    return rotation_matrix(np.array([0, np.arcsin(yaw), 0], np.float32))


@pytest.mark.parametrize(("yaw", "most"), [(0.0, 0.16), (0.5, 0.06), (-0.5, 0.06)])
def test_what_the_tracker_opens_one_eye_more_is_no_wink(yaw: float, most: float) -> None:
    right, left = np.split(eyes_together(closures(0.5, 0.75), turned(yaw)), 2)
    assert 0 < (left - right).min() <= (left - right).max() < most


@pytest.mark.parametrize(("other", "most"), [(0.6, 0.05), (0.7, 0.15)])
def test_eyes_that_narrow_together_do_not_wink(other: float, most: float) -> None:
    right, left = np.split(eyes_together(closures(0.05, other), turned(0)), 2)
    assert (left - right).max() < most


def test_the_nearer_eye_counts_for_more() -> None:
    nearer_left, nearer_right = (
        eyes_together(closures(0.4, 0.6), turned(yaw)).mean() for yaw in (0.5, -0.5)
    )
    assert nearer_right < 0.48
    assert nearer_left > 0.52


@pytest.mark.parametrize(
    ("yaw", "other", "least"),
    [(0.0, 1.0, 0.75), (0.5, 1.0, 0.75), (-0.5, 1.0, 0.75), (0, 0.8, 0.5)],
)
def test_a_wink_stays_a_wink(yaw: float, other: float, least: float) -> None:
    right, left = np.split(eyes_together(closures(0.0, other), turned(yaw)), 2)
    assert (left - right).min() > least


def test_eyes_that_agree_stay_as_they_are() -> None:
    both = closures(0.6, 0.6)
    np.testing.assert_allclose(eyes_together(both, turned(0.5)), both, atol=1e-6)


def test_one_narrowed_eye_is_no_blink() -> None:
    blinks = BlinkDepths()
    before = blinks.widen(closures(0.4, 0.4))
    watch(blinks, blink(0.45), [1.0] * 8)
    np.testing.assert_array_equal(blinks.widen(closures(0.4, 0.4)), before)


def test_an_eye_shuts_whole_where_its_blinks_end() -> None:
    blinks = BlinkDepths()
    watch(blinks, blink(0.1), blink(0.35))
    np.testing.assert_allclose(blinks.widen(closures(0.1, 0.35)), 0, atol=1e-6)
    np.testing.assert_allclose(blinks.widen(closures(0.05, 0.2)), 0, atol=1e-6)
    np.testing.assert_allclose(blinks.widen(closures(0.55, 0.675)), 0.5, atol=1e-6)


def test_open_eyes_stay_as_they_are() -> None:
    blinks = BlinkDepths()
    watch(blinks, blink(0.4), blink(0.4))
    for opened in (1.0, 1.3):
        np.testing.assert_allclose(blinks.widen(closures(opened, opened)), opened, atol=1e-6)
    narrowing = [float(blinks.widen(closures(c, c))[0]) for c in np.linspace(0, 1.2, 25)]
    assert narrowing == sorted(narrowing)


@pytest.mark.parametrize(
    "motion",
    [
        [1.0, *[0.3] * 30, 1.0],  # a look at the floor
        [1.0, 0.7, 0.65, 0.7, 1.0],  # too little for a blink
        [0.3, 0.3, 0.3, 1.0, 1.0],  # shut when the camera came on
    ],
)
def test_what_is_no_blink_teaches_nothing(motion: list[float]) -> None:
    blinks = BlinkDepths()
    before = blinks.widen(closures(0.3, 0.3))
    watch(blinks, motion, motion)
    np.testing.assert_array_equal(blinks.widen(closures(0.3, 0.3)), before)


def test_eyes_that_hardly_narrow_are_not_taken_for_shut() -> None:
    blinks = BlinkDepths()
    watch(blinks, blink(0.58), blink(0.58))
    assert blinks.widen(closures(0.58, 0.58)).min() > 0.2


def test_one_odd_blink_does_not_spoil_the_others() -> None:
    blinks = BlinkDepths()
    for number, depth in enumerate([0.1, 0.1, 0.1, 0.1, 0.45, 0.1]):
        watch(blinks, blink(depth), blink(depth), float(number))
    np.testing.assert_allclose(blinks.widen(closures(0.55, 0.55)), 0.5, atol=0.01)


def test_a_long_conversation_forgets_how_it_began() -> None:
    blinks = BlinkDepths()
    for number, depth in enumerate([0.4] * 12 + [0.1] * 12):
        watch(blinks, blink(depth), blink(depth), float(number))
    np.testing.assert_allclose(blinks.widen(closures(0.55, 0.55)), 0.5, atol=0.01)


def test_most_of_the_last_blinks_shut_the_eyes_whole_but_not_the_shallowest() -> None:
    blinks, depths = BlinkDepths(), np.linspace(0.05, 0.4, 11).tolist()
    for number, depth in enumerate(depths):
        watch(blinks, blink(depth), blink(depth), float(number))
    shut = [not blinks.widen(closures(depth, depth)).any() for depth in depths]
    assert shut == [True] * 8 + [False] * 3
