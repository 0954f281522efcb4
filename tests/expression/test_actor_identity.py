"""Who the actor is, is learned from whatever the actor does, and never from one expression."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.face_model import FaceModel, face_model
from reenact.expression.limits import Limits
from reenact.expression.measures import (
    LID_LEFT,
    LID_RIGHT,
    MEASURES,
    MOUTH_OPEN,
    MOUTH_WIDTH,
    measure,
)
from reenact.face.geometry import mirrored_deviation, rotation_matrix, rotation_vector
from reenact.face.skull import joint_of, turned_at_neck
from reenact.types import Array, Pose
from support.fusions import FPS, FRONT


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return face_model()


def person(model: FaceModel, seed: int) -> Array:
    """Return the (478, 3) resting face of somebody drawn from the model."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=len(model.identity)).astype(np.float32)
    face: Array = (model.mean + weights @ model.identity).reshape(-1, 3)
    opening = max(float(measure(face)[MOUTH_OPEN]) - 0.01, 0)
    return change(model, face, mouth_open=-opening)


def acting(model: FaceModel, frames: int, seed: int) -> Array:
    """Return (F, 478, 3) deviations of somebody who speaks: smooth random weights of the modes."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(frames // 6 + 2, len(model.expression)))
    times = np.arange(frames) / 6
    smooth = np.stack([np.interp(times, range(len(weights)), column) for column in weights.T], 1)
    flat = model.expression_mean + smooth.astype(np.float32) @ model.expression
    return flat.reshape(frames, -1, 3)


def change(model: FaceModel, face: Array, **wanted: float) -> Array:
    """Return the face with measures changed by so many iod, by its likeliest expression."""
    limits = Limits(face, face, model)
    shares = limits.shares(face)
    for name, amount in wanted.items():
        shares[MEASURES.index(name)] += amount / limits.sizes[MEASURES.index(name)]
    return limits.moved_to(face, shares)


def shut(model: FaceModel, face: Array) -> Array:
    gaps = measure(face)
    return change(model, face, lid_right=0.01 - gaps[LID_RIGHT], lid_left=0.01 - gaps[LID_LEFT])


def see(
    identity: ActorIdentity, shapes: Array, start_s: float = 0.0, noise: float = 0.002
) -> Array:
    """Show (F, 478, 3) shapes with a camera's noise; return the (F, 478, 3) neutrals."""
    rng = np.random.default_rng(0)
    seen = [
        identity.observe(
            shape + rng.normal(0, noise, shape.shape).astype(np.float32),
            FRONT,
            start_s + number / FPS,
        ).shape
        for number, shape in enumerate(shapes)
    ]
    return np.stack(seen)


def held(shape: Array, seconds: float) -> Array:
    return np.broadcast_to(shape, (round(seconds * FPS), *shape.shape))


def distance(first: Array, second: Array) -> float:
    return float(np.sqrt(np.mean((first - second) ** 2)))


def test_whoever_speaks_from_the_first_frame_is_known_after_some_seconds(
    model: FaceModel,
) -> None:
    errors = []
    for seed in range(4):
        face = person(model, seed)
        neutrals = see(ActorIdentity(), face + acting(model, 300, seed))
        known = (model.mean.reshape(-1, 3), neutrals[0], neutrals[-1])
        errors.append([distance(one, face) for one in known])
    stranger, first, last = np.mean(errors, axis=0)
    assert last < 0.6 * stranger
    assert last < 0.8 * first


@pytest.mark.parametrize("seed", range(3))
def test_eyes_that_stay_shut_are_not_how_the_actors_eyes_are(model: FaceModel, seed: int) -> None:
    face = person(model, seed)
    neutrals = see(ActorIdentity(), held(shut(model, face), 20))
    usual = model.rest_mean[:2]
    for neutral in (neutrals[0], neutrals[-1]):
        assert np.all(measure(neutral)[:2] > 0.6 * usual)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [(MOUTH_WIDTH, {"mouth_width": 0.18}), (MOUTH_OPEN, {"mouth_open": 0.25})],
    ids=["smile", "open mouth"],
)
def test_an_expression_that_is_held_stays_an_expression(
    model: FaceModel, row: int, wanted: dict[str, float]
) -> None:
    face = person(model, 5)
    shown = change(model, face, **wanted)
    neutrals = see(ActorIdentity(), held(shown, 30))
    second = round(FPS)
    assert distance(neutrals[-1], neutrals[second]) < 0.01
    early, late = (measure(shown)[row] - measure(neutrals[n])[row] for n in (second, -1))
    assert late > 0.9 * early
    assert late > 0.4 * next(iter(wanted.values()))


def test_a_calm_start_gives_the_actors_own_face_with_its_crooked_lid(model: FaceModel) -> None:
    face = change(model, person(model, 6), lid_left=-0.04)
    detail = np.random.default_rng(1).normal(0, 0.006, face.shape).astype(np.float32)
    own = face + detail
    stirring = acting(model, 90, 3)
    calm = own + 0.3 * (stirring - stirring.mean(axis=0))
    neutrals = see(ActorIdentity(), np.concatenate([calm, own + acting(model, 90, 4)]))
    assert distance(neutrals[89], own) < 0.5 * distance(neutrals[0], own)
    assert distance(neutrals[-1], own) < 0.008
    gaps = measure(neutrals[-1])
    true = measure(own)
    assert gaps[LID_RIGHT] - gaps[LID_LEFT] == pytest.approx(true[0] - true[1], abs=0.015)


def test_the_neutral_moves_and_never_jumps(model: FaceModel) -> None:
    face = person(model, 7)
    smile = change(model, face, mouth_width=0.2)
    shapes = np.concatenate([held(smile, 1), face + acting(model, 240, 8)])
    neutrals = see(ActorIdentity(), shapes)
    steps = np.sqrt((np.diff(neutrals, axis=0) ** 2).mean(axis=(1, 2)))
    assert distance(neutrals[0], neutrals[-1]) > 0.003
    assert steps.max() < 0.003


def test_certainty_grows_with_what_is_seen(model: FaceModel) -> None:
    identity = ActorIdentity()
    face = person(model, 9)
    see(identity, held(shut(model, face), 1))
    unsure = identity.certainty
    see(identity, face + 0.5 * acting(model, 120, 9), start_s=2)
    assert unsure < 0.75
    assert identity.certainty > unsure + 0.1


def test_a_second_actor_is_not_taken_for_the_first(model: FaceModel) -> None:
    first, second = person(model, 10), person(model, 11)
    identity = ActorIdentity()
    see(identity, first + acting(model, 200, 1))
    assert not identity.disagrees()
    identity.interrupt()
    see(identity, second + 0.3 * acting(model, 8, 2), start_s=20)
    assert identity.disagrees()


def test_an_actor_after_a_loss_of_the_face_replaces_the_one_before(model: FaceModel) -> None:
    """Even where the two are too alike to be told apart at once."""
    first, second = person(model, 12), person(model, 13)
    identity = ActorIdentity()
    see(identity, first + acting(model, 200, 1))
    identity.interrupt()
    neutrals = see(identity, second + acting(model, 250, 2), start_s=20)
    assert distance(neutrals[-1], second) < 0.6 * distance(neutrals[0], second)


def test_a_face_that_the_tracker_is_not_trusted_in_counts_little(model: FaceModel) -> None:
    face, hidden = person(model, 19), person(model, 20)
    moved = []
    for trust in (0.0, 1.0):
        identity = ActorIdentity()
        before = see(identity, face + acting(model, 100, 1))[-1]
        for number, shape in enumerate(hidden + acting(model, 100, 2)):
            neutral = identity.observe(shape, FRONT, 4 + number / FPS, trust)
        moved.append(distance(neutral.shape, before))
    assert moved[0] < 0.7 * moved[1]


def test_the_head_at_rest_looks_to_where_the_actor_looks(model: FaceModel) -> None:
    face = person(model, 14)
    identity = ActorIdentity()
    for number, shape in enumerate(face + acting(model, 200, 4)):
        yaw = 0.1 + (0.5 if number % 40 < 8 else 0.0)
        pose = turned_at_neck(FRONT, rotation_matrix(np.array([0, yaw, 0], np.float32)))
        neutral = identity.observe(shape, pose, number / FPS)
    assert 0.03 < rotation_vector(neutral.pose.rotation)[1] < 0.2
    np.testing.assert_allclose(joint_of(neutral.pose), joint_of(FRONT), atol=0.1)


def test_who_looks_down_for_a_minute_rests_where_before(model: FaceModel) -> None:
    """The head nods about the neck; a rest that followed the face would be too low afterwards."""
    shapes, identity = held(person(model, 7), 100), ActorIdentity()
    nod = turned_at_neck(FRONT, rotation_matrix(np.array([0.4, 0, 0], np.float32)))
    assert nod.translation[1] - FRONT.translation[1] > 50
    for number in range(round(65 * FPS)):
        pose = nod if number >= 5 * FPS else FRONT
        rest = identity.observe(shapes[number], pose, number / FPS).pose
    np.testing.assert_allclose(joint_of(rest), joint_of(FRONT), atol=0.1)


# --- a face that is said to be the neutral --------------------------------------------------


def test_the_head_rests_where_the_actor_sits(model: FaceModel) -> None:
    """Who begins elsewhere, leans or moves the chair is not beside the middle for long."""
    shapes, identity = held(person(model, 7), 100), ActorIdentity()

    def sit(seconds: float, start_s: float, pose: Pose) -> float:
        """Return the distance of the head at rest from the middle, px."""
        for number in range(round(seconds * FPS)):
            rest = identity.observe(shapes[number], pose, start_s + number / FPS).pose
        assert rest.scale == pytest.approx(90, rel=0.2)
        return float(rest.translation[0] - FRONT.translation[0])

    aside = Pose(FRONT.rotation, FRONT.translation + np.array([90, 0, 0], np.float32), 100.0)
    assert sit(3, 0, aside) == pytest.approx(90, abs=0.1)
    assert sit(30, 3, FRONT) < 10
    identity.come_back()
    assert sit(40, 33, FRONT) == pytest.approx(0, abs=0.1)
    assert 2 < sit(4, 73, aside) < 10  # an acted lean is still seen
    assert sit(3, 77, FRONT) < 10
    assert sit(100, 80, aside) == pytest.approx(90, abs=20)
    identity.come_back()
    assert sit(1, 180, FRONT) == pytest.approx(0, abs=0.1)
    identity.set_now()
    assert sit(1, 181, aside) < 5
    identity.set_now()
    assert sit(0.2, 182, aside) == pytest.approx(90, abs=2)


def test_a_face_that_is_said_to_be_the_neutral_is_taken_for_it(model: FaceModel) -> None:
    face = person(model, 15)
    detail = np.random.default_rng(1).normal(0, 0.006, face.shape).astype(np.float32)
    identity = ActorIdentity()
    see(identity, held(face + detail, 0.5), noise=0)
    assert identity.set_now() == ""
    neutrals = see(identity, face + detail + acting(model, 60, 5), start_s=1)
    assert distance(neutrals[-1], face + detail) < 0.003


@pytest.mark.parametrize("stored", [False, True], ids=["now", "stored"])
def test_a_neutral_with_shut_eyes_is_told_and_the_rest_of_it_used(
    model: FaceModel, stored: bool
) -> None:
    face = person(model, 16)
    blinking = shut(model, face)
    identity = ActorIdentity(blinking) if stored else ActorIdentity()
    see(identity, held(blinking, 0.5), noise=0)
    problem = identity.problem if stored else identity.set_now()
    assert "shut eyes" in problem
    assert "mouth" not in problem
    neutral = see(identity, held(blinking, 2), start_s=1)[-1]
    assert np.all(measure(neutral)[:2] > 0.06)
    assert measure(neutral)[MOUTH_WIDTH] == pytest.approx(measure(face)[MOUTH_WIDTH], abs=0.01)


def test_a_neutral_with_an_open_mouth_is_told(model: FaceModel) -> None:
    face = person(model, 17)
    identity = ActorIdentity()
    shouting = change(model, face, mouth_open=0.3)
    see(identity, held(shouting, 0.5), noise=0)
    assert "an open mouth" in identity.set_now()
    neutral = see(identity, held(shouting, 2), start_s=1)[-1]
    assert measure(neutral)[MOUTH_OPEN] < 0.1


# --- the model -------------------------------------------------------------------------------


def test_the_model_tells_who_from_what(model: FaceModel) -> None:
    face = person(model, 18)
    smiling = face + acting(model, 12, 6)[6] - model.expression_mean.reshape(-1, 3)
    freed = model.without_expression(smiling)
    assert distance(freed, face) < 0.6 * distance(smiling, face)


def test_the_model_is_symmetric(model: FaceModel) -> None:
    for flat in (model.mean, model.expression_mean):
        shape = flat.reshape(-1, 3)
        np.testing.assert_allclose(mirrored_deviation(shape), shape, atol=2e-3)
    np.testing.assert_allclose(model.rest_mean[[0, 4]], model.rest_mean[[1, 5]], atol=1e-3)
