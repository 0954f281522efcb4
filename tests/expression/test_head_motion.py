"""The target's head turns and moves like the actor's, each way within its own limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from reenact.config import FusionSettings
from reenact.expression.head_motion import HeadMotion
from reenact.face.geometry import estimate_pose, face_box, rotation_matrix, rotation_vector
from reenact.face.skull import joint_of, turned_at_neck
from reenact.types import Array, Pose
from support.faces import portrait_target

REST = Pose(np.eye(3, dtype=np.float32), np.array([320, 240, 9], np.float32), 90.0)
LIMITS = FusionSettings(max_pitch=10, max_yaw=20, max_roll=30)


def actor(turn: Array | None = None, shift: tuple[float, ...] = (0, 0, 0), size: float = 1) -> Pose:
    """Return the actor turned, moved by iods and grown since `REST`."""
    rotation = REST.rotation if turn is None else rotation_matrix(turn)
    moved = REST.translation + np.float32(REST.scale) * np.array(shift, np.float32)
    return Pose(rotation, moved, REST.scale * size)


def followed(pose: Pose, settings: FusionSettings, headroom: float = math.inf) -> tuple[Pose, Pose]:
    """Return the portrait's pose at rest, and where it follows the actor."""
    neutral = portrait_target().neutral
    rest = estimate_pose(neutral)
    return rest, HeadMotion(rest, neutral, headroom).follow(pose, REST, settings)


@pytest.mark.parametrize(("axis", "limit_deg"), [(0, 10), (1, 20), (2, 30)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_pitch_yaw_and_roll_have_their_own_limits(axis: int, limit_deg: float, sign: int) -> None:
    turn = np.zeros(3, np.float32)
    turn[axis] = sign * 1.2
    rest, pose = followed(actor(turn), LIMITS)
    found = np.degrees(rotation_vector(pose.rotation @ rest.rotation.T))
    expected = np.zeros(3)
    expected[axis] = sign * limit_deg
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0])
def test_one_gain_scales_how_far_a_head_moves_and_how_near_it_comes(gain: float) -> None:
    settings = FusionSettings(translation=gain)
    rest, pose = followed(actor(shift=(0.1, 0.05, 3), size=1.1), settings)
    expected = gain * rest.scale * np.array([0.1, 0.05, 0])
    np.testing.assert_allclose(pose.translation - rest.translation, expected, atol=0.01)
    assert pose.scale == pytest.approx(rest.scale * 1.1**gain, rel=1e-4)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("turn", [(0.2, 0, 0), (-0.2, 0, 0), (0, 0.2, 0), (0.1, -0.1, 0.2)])
def test_a_head_that_nods_or_turns_about_its_neck_keeps_the_neck_in_place(
    turn: tuple[float, ...], gain: float
) -> None:
    """Whatever the gain of movements: shoulders follow the neck, and would shrug in a nod."""
    nod = turned_at_neck(REST, rotation_matrix(np.array(turn, np.float32)))
    rest, pose = followed(nod, FusionSettings(translation=gain))
    assert np.abs(pose.translation - rest.translation)[:2].max() > 0.1 * rest.scale
    np.testing.assert_allclose(joint_of(pose)[:2], joint_of(rest)[:2], atol=0.01)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("side", [-1, 1])
def test_the_neck_of_a_turned_head_moves_by_the_gain(side: int, mirror: bool) -> None:
    turned = turned_at_neck(REST, rotation_matrix(np.array([0.1, side * 0.2, 0], np.float32)))
    moved = replace(turned, translation=turned.translation + np.array([9, 4.5, 0], np.float32))
    rest, pose = followed(moved, FusionSettings(translation=0.5, mirror=mirror))
    expected = rest.scale * np.array([-0.05 if mirror else 0.05, 0.025])
    np.testing.assert_allclose((joint_of(pose) - joint_of(rest))[:2], expected, atol=0.01)


@pytest.mark.parametrize("size", [0.9, 1.0, 1.1])
def test_a_head_below_the_pictures_edge_comes_down_as_far_as_its_hair_can_be_continued(
    size: float,
) -> None:
    """The hairline stays at the edge, however near the head comes meanwhile."""
    neutral = portrait_target().neutral
    top, bottom = face_box(neutral)[1::2]
    rest, pose = followed(actor(shift=(0, 9, 0), size=size), FusionSettings(), 0.3 * (bottom - top))
    grown = (top - rest.translation[1]) * (pose.scale / rest.scale)
    descent = pose.translation[1] + grown - top
    assert descent == pytest.approx((0.3 - 0.16) * (bottom - top), abs=0.1)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(
    ("own_deg", "away_deg", "back_deg"),
    [(2, 25, 25), (14, 25, 25), (30, 10, 25), (45, 5, 10), (60, 5, 5)],
)
def test_a_face_that_looks_aside_turns_less_the_farther_it_is_turned(
    own_deg: float, away_deg: float, back_deg: float, side: int, mirror: bool
) -> None:
    """Its profile would be torn, and its far cheek is unknown; one from the front loses nothing."""
    own = Pose(rotation_matrix(np.radians([0, side * own_deg, 0])), REST.translation, REST.scale)
    motion = HeadMotion(own, portrait_target().neutral)
    settings = FusionSettings(max_yaw=25, mirror=mirror)
    for aside, most in (side, away_deg), (-side, back_deg):
        turn = np.radians([0, -90 * aside if mirror else 90 * aside, 0])
        pose = motion.follow(actor(turn), REST, settings)
        found = np.degrees(rotation_vector(pose.rotation @ own.rotation.T))
        np.testing.assert_allclose(found, [0, aside * most, 0], atol=0.1)
