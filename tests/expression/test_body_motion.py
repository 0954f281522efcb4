from __future__ import annotations

import numpy as np
import pytest

from reenact.config import FusionSettings, SmoothingSettings
from reenact.evaluation.clips import crop_target
from reenact.expression.body_motion import RETURN_S, BodyMotion
from reenact.types import Torso
from support.faces import posed_face

NEUTRAL = posed_face(0)[0]
TARGET = crop_target("calm", np.zeros((256, 256, 3), np.uint8), NEUTRAL, "")
WHOLE = FusionSettings(translation=1.0)
PLAIN = SmoothingSettings(enabled=False)
DT_S = 0.04


def seen(across: float, since: int = 1) -> Torso:
    return Torso(np.array([across, 0, 0, 0], np.float32), since)


def shift(motion: BodyMotion, share: float = 1.0) -> float:
    """Return how far the middle of the torso has moved across, as a share of the crop."""
    body = motion.body(share)
    assert body is not None
    middle = np.array([0.5, 0.9], np.float32)
    return float((body.motion[:, :2] @ middle + body.motion[:, 2])[0] - 0.5)


def followed(*torsos: Torso | None) -> BodyMotion:
    motion = BodyMotion(TARGET, WHOLE, PLAIN)
    for torso in torsos:
        motion.follow(torso, NEUTRAL, DT_S)
    return motion


def test_without_a_torso_the_head_alone_counts() -> None:
    assert followed(None, None).body(1.0) is None


def test_the_torso_moves_by_the_same_part_of_its_size_and_its_gain() -> None:
    iod = posed_face(0)[1].scale / 256
    whole = followed(*[seen(0.0)] * 20, seen(0.2))
    assert shift(whole) == pytest.approx(0.2 * iod, rel=0.02)
    assert shift(whole, 0.5) == pytest.approx(0.1 * iod, rel=0.02)
    half = BodyMotion(TARGET, FusionSettings(mirror=True), PLAIN)
    for across in (0.0, 0.2):
        half.follow(seen(across), NEUTRAL, DT_S)
    assert shift(half) == pytest.approx(-0.1 * iod, rel=0.02)


def test_nothing_jumps_when_the_torso_is_lost_and_found() -> None:
    motion = BodyMotion(TARGET, WHOLE, PLAIN)
    torsos: list[Torso | None] = [seen(0.3 * n / 20) for n in range(21)]
    torsos += [seen(0.3)] * 10 + [None] * 5 + [seen(0.3)] * 40 + [None] * 4 + [seen(-0.5, 2)] * 40
    places, shares = [], [0.0]
    for one in torsos:
        motion.follow(one, NEUTRAL, DT_S)
        body = motion.body(1.0)
        shares.append(0.0 if body is None else body.share)
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
    body = BodyMotion(TARGET, WHOLE, PLAIN).body(0.0, up)
    assert body is not None
    assert body.share == 1
    assert body.motion[1, 2] < 0
