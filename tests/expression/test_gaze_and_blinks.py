"""The gaze has a gain of its own, and the lids may blink by themselves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.expression.driving import nothing
from reenact.expression.fusion import Fusion
from reenact.expression.idle_life import ACTORS_LIDS, Blinks, Lids
from reenact.face.geometry import canonical_face, estimate_pose, to_face_frame, to_image
from reenact.face.regions import IRISES, iris_motion, lid_closure, region_weights
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Expression, Landmarks, Pose
from support.faces import deviation_of, portrait_landmarks, units_of

FRONT = Pose(np.eye(3, dtype=np.float32), np.array([320, 240, 0], np.float32), 90.0)
FPS = 25
OPEN, SHUT = Lids(0.0, 1.0), Lids(1.0, 1.0)


@pytest.fixture(params=["direct", "network"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def looking_down_aside() -> Array:
    """Return an actor who blinks half and looks down to one side."""
    shape = canonical_face() + deviation_of(blink_left=0.5, blink_right=0.5, smile_left=0.5)
    shape[IRISES] += np.array([0.06, 0.02, 0], np.float32)
    return shape


def fused(
    method: str,
    shape: Array,
    lids: Lids = ACTORS_LIDS,
    intensity: float = 1.0,
    **gains: float,
) -> Array:
    """Return the portrait with an actor's shape, (478, 3), and its own shape, face frame, iod."""
    settings = FusionSettings.model_validate({"method": method, "mode": "relative", **gains})
    points = portrait_landmarks().points
    fusion = Fusion(
        settings, SmoothingSettings(enabled=False), points, ActorSettings(neutral="fresh")
    )
    fusion.begin_with(canonical_face())
    seen = Landmarks(to_image(shape, FRONT), 1.0, (640, 480))
    fused = fusion.fuse(fusion.express(seen, 0.0), nothing(intensity), lids)
    rest = to_face_frame(points, estimate_pose(points))
    return np.stack([to_face_frame(fused, estimate_pose(points)), rest])


def gaze(pair: Array) -> Array:
    """Return the motion of the middles of the irises in their eyes, (2, 2), iod."""
    return iris_motion(pair[0] - pair[1])[::5, :2]


def closure(pair: Array) -> Array:
    return lid_closure(pair[0], pair[1])


def test_the_gain_of_the_gaze_moves_the_irises_alone(method: str) -> None:
    shape = looking_down_aside()
    usual = fused(method, shape)
    assert np.abs(gaze(usual)[:, 0]).min() > 0.04
    for gain in (0.0, 0.5, 2.0):
        other = fused(method, shape, gaze=gain)
        # The limits of a face bend wide glances.
        bound = 2e-3 if gain < 1 else 0.02
        np.testing.assert_allclose(gaze(other), gain * gaze(usual), atol=bound)
        np.testing.assert_allclose(closure(other), closure(usual), atol=1e-3)
        lips = region_weights()[0] == 1
        np.testing.assert_allclose(other[0][lips], usual[0][lips], atol=2e-3)


def test_the_gain_of_the_eyes_moves_the_lids_alone(method: str) -> None:
    shape = looking_down_aside()
    usual, held = fused(method, shape), fused(method, shape, eyes=0.0)
    assert closure(usual).mean() < 0.7
    np.testing.assert_allclose(closure(held), 1, atol=0.02)
    np.testing.assert_allclose(gaze(held), gaze(usual), atol=2e-3)


def test_lids_that_blink_by_themselves_take_nothing_from_the_actors(method: str) -> None:
    for lids, opening in ((OPEN, 1.0), (Lids(0.5, 1.0), 0.5), (SHUT, 0.0)):
        pairs = [
            fused(method, shape, lids, eyes=0.3, intensity=intensity)
            for shape in (canonical_face(), looking_down_aside())
            for intensity in (0.5, 1.0)
        ]
        for pair in pairs:
            np.testing.assert_allclose(closure(pair), opening, atol=0.05)
    assert np.abs(gaze(pairs[-1])[:, 0]).min() > 0.03  # the gaze stays the actor's


def test_between_both_kinds_of_lids_nothing_jumps() -> None:
    blinks = Blinks(3)
    wanted = np.repeat([False, True, False], 50)
    shares = [blinks.step(1 / FPS, bool(automatic)).share for automatic in wanted]
    assert [shares[i] for i in (0, 49, 99, 149)] == [0, 0, 1, 0]
    assert max(abs(b - a) for a, b in pairwise(shares)) < 0.2
    assert Blinks().step(0.0, automatic=True).share == 1, "a session that begins so eases nothing"
    wide = canonical_face() + deviation_of(eye_wide=1)
    openings = [closure(fused("direct", wide, Lids(0.0, share))).mean() for share in shares[48:65]]
    assert openings[0] > 1.2
    assert openings[-1] == pytest.approx(1, abs=0.02)
    assert max(abs(b - a) for a, b in pairwise(openings)) < 0.2 * (openings[0] - openings[-1])


def test_blinks_are_in_all_that_drives_a_renderer() -> None:
    units = units_of(blink_left=0.7, eye_wide=0.2, smile_left=0.5)
    acted = Expression(deviation_of(blink_left=0.7, smile_left=0.5), FRONT, units)
    acted.deviation[IRISES, 0] += np.float32(0.05)
    assert ACTORS_LIDS.of(acted) is acted
    for shut in (0.0, 1.0):
        shown = Lids(shut, 1.0).of(acted)
        wanted = units_of(blink_left=shut, blink_right=shut, smile_left=0.5)
        np.testing.assert_allclose(shown.action_units, wanted, atol=1e-6)
        shape = canonical_face() + shown.deviation
        assert lid_closure(shape, canonical_face()).mean() == pytest.approx(1 - shut, abs=0.1)
        assert shown.deviation[IRISES, 0].mean() > 0.045
        np.testing.assert_array_equal(shown.deviation[61], acted.deviation[61])
    assert acted.action_units[ACTION_UNITS.index("blink_left")] == np.float32(0.7)
