"""Whatever comes in, what goes out is a face; and what people do is left as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.expression.face_model import expression_solver, face_model
from reenact.expression.limits import CONTROLLED, LIMITED, Limits, bend, features
from reenact.expression.target_face import (
    PROPORTIONAL,
    TargetFace,
    proportional_change,
    resting_face,
)
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import canonical_face, estimate_pose, to_face_frame
from reenact.face.regions import lid_gaps, lip_gaps
from reenact.face.topology import ACTION_UNITS, EYE_LEFT, EYE_RIGHT, LIPS_OUTER
from reenact.types import Array

NAMES = list(ACTION_UNITS)
STILL = np.zeros(len(PROPORTIONAL), np.float32)
OPEN = np.ones(14, np.float32)


def unit(name: str, amount: float = 1.0) -> Array:
    return np.asarray(amount * action_unit_basis()[NAMES.index(name)], dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0.01, 0.1, 1.0, 30.0]),
    changes=st.lists(st.floats(-20, 20), min_size=len(PROPORTIONAL), max_size=len(PROPORTIONAL)),
    closure=st.floats(-1, 50),
)
def test_nothing_gets_beyond_the_limits(
    seed: int, size: float, changes: list[float], closure: float
) -> None:
    rng = np.random.default_rng(seed)
    face = TargetFace(canonical_face())
    moved = rng.normal(0, size, (478, 3)).astype(np.float32)
    wanted = np.array(changes, np.float32)
    shape, limited = face.place(moved, wanted, np.full(14, closure, np.float32))
    assert np.isfinite(shape).all()
    assert not face.beyond(shape)
    assert limited.any() or np.abs(shape - canonical_face()).max() < 0.6


def test_a_raw_grimace_would_be_beyond_the_limits() -> None:
    face = TargetFace(canonical_face())
    assert face.beyond(canonical_face() + unit("mouth_open", 4))
    assert face.beyond(canonical_face() - unit("blink_left", 3))
    assert not face.beyond(canonical_face())


def test_a_face_at_rest_is_not_touched() -> None:
    face = TargetFace(canonical_face())
    shape, limited = face.place(np.zeros((478, 3), np.float32), STILL, OPEN)
    np.testing.assert_allclose(shape, canonical_face(), atol=1e-5)
    assert not limited.any()


@pytest.mark.parametrize("name", ["smile_left", "brow_raise_left", "pucker"])
def test_what_people_do_every_day_is_not_held_back(name: str) -> None:
    limits = Limits(canonical_face(), canonical_face())
    deviation = unit(name, 0.5)
    kept, unlikely = limits.joint(deviation)
    np.testing.assert_array_equal(kept, deviation)
    assert not unlikely
    shares = limits.shares(canonical_face() + deviation)
    np.testing.assert_allclose(limits.bent(shares), shares, atol=1e-6)


def test_the_deviation_as_a_whole_counts_as_limited_only_beyond_its_bounds() -> None:
    limits = Limits(canonical_face(), canonical_face())
    modes = face_model().expression.reshape(-1, 478, 3)
    mode = modes[0]
    one = np.float32(np.sqrt(len(face_model().expression)))  # a size of 1
    for size, limited in ((3.5, False), (4.5, True)):
        kept, unlikely = limits.joint(size * one * mode)
        assert unlikely == limited
        np.testing.assert_allclose(kept / np.abs(kept).max(), mode / np.abs(mode).max(), atol=1e-2)
        assert limits.joint(kept)[1] is False
    noise = np.random.default_rng(0).normal(size=(478, 3))
    noise -= np.tensordot(expression_solver(face_model()) @ noise.reshape(-1), modes, 1)
    noise /= np.sqrt((noise**2).mean())
    for size, limited in ((0.009, False), (0.02, True)):
        kept, unlikely = limits.joint(np.asarray(size * noise, np.float32))
        assert unlikely == limited
        assert 0.007 < np.sqrt((kept**2).mean()) < min(size, 0.0125)


def test_a_measure_is_changed_by_exactly_what_was_asked_for() -> None:
    limits = Limits(canonical_face(), canonical_face())
    for row in range(len(CONTROLLED)):
        shares = limits.shares(canonical_face())
        shares[row] += 0.05
        moved = limits.moved_to(canonical_face(), shares)
        np.testing.assert_allclose(limits.shares(moved), shares, atol=1e-4)
        change = np.abs(moved - canonical_face()).max(axis=1)
        assert change.max() < 0.15
        eyes, mouth = change[list(EYE_RIGHT + EYE_LEFT)], change[list(LIPS_OUTER)]
        of_eyes, of_brows = (
            CONTROLLED[row].startswith(words) for words in (("lid", "gaze"), "brow")
        )
        assert (eyes.max() > 1e-6) == of_eyes, CONTROLLED[row]
        assert (mouth.max() > 1e-6) == (not of_eyes and not of_brows), CONTROLLED[row]


def test_measures_do_not_depend_on_where_a_face_is() -> None:
    limits = Limits(canonical_face(), canonical_face())
    shifted = canonical_face() + np.array([0.3, -0.2, 0.1], np.float32)
    np.testing.assert_allclose(
        limits.shares(shifted), limits.shares(canonical_face()), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("side", "corners"), [("right", (33, 133)), ("left", (362, 263))])
def test_lids_and_gaze_are_measured_by_the_width_of_their_own_eye(
    side: str, corners: tuple[int, int]
) -> None:
    face = canonical_face().copy()
    face[corners[0], 0] -= 0.1
    own = [CONTROLLED.index(name) for name in CONTROLLED if side in name and "brow" not in name]
    wider = features(face)[1] - features(canonical_face())[1]
    assert len(own) == 3
    np.testing.assert_allclose(wider[own], 0.1, atol=1e-3)


@pytest.mark.parametrize("amount", [-4, 4])
def test_a_photo_beyond_what_people_do_still_has_room(amount: float) -> None:
    base = canonical_face() + unit("mouth_open", amount) + unit("blink_left", amount)
    limits, model = Limits(canonical_face(), base), face_model().limits
    own = limits.shares(base)
    assert ((own < model[:, 0]) | (own > model[:, 3])).sum() >= 2
    assert (np.minimum(own, model[:, 1]) - limits.low >= 0.49 * (model[:, 1] - model[:, 0])).all()
    assert (limits.high - np.maximum(own, model[:, 2]) >= 0.49 * (model[:, 3] - model[:, 2])).all()


def test_bending_is_soft_and_keeps_the_order() -> None:
    values = np.linspace(-1, 5, 301, dtype=np.float32)
    bent = bend(values, 0.5, 1.0)
    np.testing.assert_allclose(bent[values <= 0.5], values[values <= 0.5])
    assert np.all(np.diff(bent) >= 0)
    assert np.diff(bent).max() <= np.diff(values).max() + 1e-6
    assert 0.95 < bent.max() < 1.0


def test_eyes_open_at_most_as_wide_as_eyes_do() -> None:
    face = TargetFace(canonical_face())
    wide, _ = face.place(np.zeros((478, 3), np.float32), STILL, np.full(14, 9.0, np.float32))
    bound = face_model().limits[LIMITED.index("lid_left"), 3]
    width = np.linalg.norm(canonical_face()[263, :2] - canonical_face()[362, :2])
    assert lid_gaps(wide).max() < 1.1 * bound * width
    assert lid_gaps(wide)[10] > 1.2 * lid_gaps(canonical_face())[10]


def test_an_actor_within_what_people_do_takes_no_target_beyond_it() -> None:
    narrow = canonical_face() + unit("blink_left", 0.4) + unit("blink_right", 0.4)
    parted = narrow + unit("mouth_open", 0.15)
    target = TargetFace(canonical_face())
    gains = np.ones(3, np.float32)
    bounds = Limits(parted, parted)
    shares = bounds.shares(parted)
    for ends in (bounds.low, bounds.high):
        shares[PROPORTIONAL] = ends[PROPORTIONAL]
        deviation = bounds.moved_to(parted, shares) - parted
        wanted, wider = target.wanted(parted, deviation, gains)
        assert not target.place(np.zeros_like(parted), wanted, OPEN)[1].any()
        assert (wider < 1).all()  # narrow eyes widen by a larger share
    deviation = unit("brow_raise_left", 0.5)
    wanted, wider = target.wanted(canonical_face(), deviation, gains)
    np.testing.assert_allclose(wanted, proportional_change(canonical_face(), deviation))
    np.testing.assert_array_equal(wider, 1)


def test_a_short_face_opens_its_mouth_by_less_and_keeps_its_lip_off_the_nose() -> None:
    actor = canonical_face()
    short = actor.copy()
    below = short[:, 1] > short[2, 1]  # the lower face is two thirds as high
    short[below, 1] = short[2, 1] + (short[below, 1] - short[2, 1]) * np.float32(2 / 3)
    shout = unit("mouth_open") + unit("jaw_drop", 0.5)
    shout[[0, 13, 37, 267], 1] -= np.float32(0.75) * (actor[0, 1] - actor[2, 1])
    target = TargetFace(short)
    wanted, _ = target.wanted(actor, shout, np.ones(3, np.float32))
    shape, _ = target.place(shout, wanted, OPEN)

    def opening(face: Array) -> float:
        return float(lip_gaps(face)[4])

    grown = opening(shape) - opening(short)
    assert grown == pytest.approx(2 / 3 * (opening(actor + shout) - opening(actor)), rel=0.1)
    lips = (shape[0, 1] - shape[2, 1]) / (short[0, 1] - short[2, 1])
    assert 0.15 < lips < 0.5
    assert (short + shout)[0, 1] - (short + shout)[2, 1] < 0.05  # by addition it touches the nose


# --- targets that do not rest -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (unit("mouth_open", 0.9) + unit("jaw_drop", 0.5), "an open mouth"),
        (unit("blink_left", 1.1) + unit("blink_right", 1.1), "shut eyes"),
    ],
    ids=["shouting", "asleep"],
)
def test_a_photo_that_does_not_rest_is_brought_to_rest(shown: Array, said: str) -> None:
    photo = canonical_face() + shown
    rest, problem = resting_face(photo)
    assert said in problem
    before = np.abs(lip_gaps(photo) - lip_gaps(canonical_face())).mean()
    before += np.abs(lid_gaps(photo) - lid_gaps(canonical_face())).mean()
    after = np.abs(lip_gaps(rest) - lip_gaps(canonical_face())).mean()
    after += np.abs(lid_gaps(rest) - lid_gaps(canonical_face())).mean()
    assert after < 0.5 * before


def test_a_face_unlike_those_of_people_is_its_own_resting_face() -> None:
    """An animal with a short face and large eyes does not open them wide."""
    points = canonical_face() * np.array([1.4, 0.8, 1], np.float32)
    for outline in (list(EYE_RIGHT), list(EYE_LEFT)):
        points[outline, 1] += 3 * (points[outline, 1] - points[outline, 1].mean())
    animal = to_face_frame(points, estimate_pose(points))
    rest, problem = resting_face(animal)
    assert problem == ""
    np.testing.assert_array_equal(rest, animal)


def test_a_photo_at_rest_is_its_own_resting_face() -> None:
    rest, problem = resting_face(canonical_face())
    assert problem == ""
    np.testing.assert_array_equal(rest, canonical_face())
