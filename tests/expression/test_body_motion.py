from __future__ import annotations

import numpy as np
import pytest

from reenact.config import FusionSettings, SmoothingSettings
from reenact.evaluation.clips import crop_target
from reenact.expression.body_motion import RETURN_S, BodyMotion
from reenact.face.skull import hair_middle, hair_motion
from reenact.types import Body, PartMotion, SeenBody
from support.faces import posed_face

NEUTRAL, POSE = posed_face(0)
TARGET = crop_target("calm", np.zeros((256, 256, 3), np.uint8), NEUTRAL, "")
WHOLE = FusionSettings(translation=1.0)
PLAIN = SmoothingSettings(enabled=False)
DT_S = 0.04


def seen(across: float, since: int = 1) -> SeenBody:
    return SeenBody(torso=PartMotion(np.array([across, 0, 0, 0], np.float32), since))


def shift(motion: BodyMotion, share: float = 1.0) -> float:
    """Return how far the middle of the torso has moved across, as a share of the crop."""
    torso = motion.body(share, NEUTRAL).torso
    assert torso is not None
    middle = np.array([0.5, 0.9], np.float32)
    return float((torso.motion[:, :2] @ middle + torso.motion[:, 2])[0] - 0.5)


def followed(*bodies: SeenBody) -> BodyMotion:
    motion = BodyMotion(TARGET, WHOLE, PLAIN)
    for body in bodies:
        motion.follow(body, NEUTRAL, NEUTRAL, DT_S)
    return motion


def test_what_is_not_seen_follows_the_head_alone() -> None:
    assert followed(SeenBody(), SeenBody()).body(1.0, NEUTRAL) == Body()


def test_the_torso_moves_by_the_same_part_of_its_size_and_its_gain() -> None:
    iod = posed_face(0)[1].scale / 256
    whole = followed(*[seen(0.0)] * 20, seen(0.2))
    assert shift(whole) == pytest.approx(0.2 * iod, rel=0.02)
    assert shift(whole, 0.5) == pytest.approx(0.1 * iod, rel=0.02)
    half = BodyMotion(TARGET, FusionSettings(mirror=True), PLAIN)
    for across in (0.0, 0.2):
        half.follow(seen(across), NEUTRAL, NEUTRAL, DT_S)
    assert shift(half) == pytest.approx(-0.1 * iod, rel=0.02)


def test_nothing_jumps_when_the_torso_is_lost_and_found() -> None:
    motion = BodyMotion(TARGET, WHOLE, PLAIN)
    bodies = [seen(0.3 * n / 20) for n in range(21)]
    bodies += [seen(0.3)] * 10 + [SeenBody()] * 5 + [seen(0.3)] * 40
    bodies += [SeenBody()] * 4 + [seen(-0.5, 2)] * 40
    places, shares = [], [1.0]
    for one in bodies:
        motion.follow(one, NEUTRAL, NEUTRAL, DT_S)
        torso = motion.body(1.0, NEUTRAL).torso
        shares.append(0.0 if torso is None else torso.share)
        places.append(shift(motion))
    assert np.abs(np.diff(places)).max() < 0.01
    assert np.abs(np.diff(shares)).max() <= DT_S / RETURN_S + 1e-6
    assert places[74] == pytest.approx(places[30], rel=0.1), "the same picture counts again"
    assert 0.5 < places[-1] / places[30] < 0.7, "another picture counts from where it was shown"


def test_a_torso_cannot_leave_the_head() -> None:
    far = followed(*[seen(0.0)] * 20, *[seen(3.0)] * 20)
    assert shift(far) < 0.71 * posed_face(0)[1].scale / 256


def test_breath_moves_a_target_without_an_actor() -> None:
    up = np.array([0, -0.1, 0, 0], np.float32)
    torso = BodyMotion(TARGET, WHOLE, PLAIN).body(0.0, NEUTRAL, up).torso
    assert torso is not None
    assert torso.share == 1
    assert torso.motion[1, 2] < 0


@pytest.mark.parametrize(("mirror", "across"), [(False, 0.1), (True, -0.1)])
def test_hair_moves_as_the_actors_does_beside_the_head(mirror: bool, across: float) -> None:
    """The landmarks say that the head stays, or turns, while the picture shows more than that."""
    motion = BodyMotion(TARGET, FusionSettings(translation=1.0, mirror=mirror), PLAIN)
    turned, pose = posed_face(8)
    for step in range(20):
        face, head = (NEUTRAL, POSE) if step < 5 else (turned, pose)
        shown = hair_motion(POSE, head) + np.array([0.1 * (step > 0), 0, 0, 0], np.float32)
        motion.follow(SeenBody(hair=PartMotion(shown, 1)), face, turned, DT_S)
    hair = motion.body(1.0, turned).hair
    assert hair is not None
    assert hair.share == 1
    np.testing.assert_allclose(hair.motion[:, :2], np.eye(2), atol=1e-3)
    np.testing.assert_allclose(hair.motion[:, 2] * 256 / POSE.scale, [across, 0], atol=0.01)


def test_hair_cannot_leave_the_head() -> None:
    far = np.array([3, 0, 1, 1], np.float32)
    motion = followed(
        SeenBody(hair=PartMotion(0 * far, 1)), *[SeenBody(hair=PartMotion(far, 1))] * 20
    )
    hair = motion.body(1.0, NEUTRAL).hair
    assert hair is not None
    middle = hair_middle(POSE)
    moved = 256 * (hair.motion[:, :2] @ ((middle + 0.5) / 256) + hair.motion[:, 2]) - 0.5
    assert np.linalg.norm(moved - middle) < 0.26 * POSE.scale
    assert np.linalg.norm(hair.motion[:, :2] - np.eye(2)) < 0.3
