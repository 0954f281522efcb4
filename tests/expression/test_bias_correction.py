"""What is read too much off a driven face is learned, and taken away beforehand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from reenact.config import ActorSettings, FusionSettings, Settings, SmoothingSettings
from reenact.evaluation.face_reader import FaceReader
from reenact.expression.bias_correction import MAX_CORRECTION, ReadBack, known_read_back
from reenact.expression.fusion import Fusion
from reenact.face.action_units import RANGES, action_unit_basis, measures
from reenact.face.expression_components import component_weights, expression_components
from reenact.face.geometry import canonical_face, estimate_pose, mirrored_deviation, to_image
from reenact.face.topology import ACTION_UNITS, LIPS_OUTER
from reenact.registry import load
from reenact.training.augmentation import Pair
from reenact.types import Array, Landmarks, Pose
from support.faces import deviation_of, portrait_target
from tools.read_back import LEFT_ALONE, Reader, fit, learn

NAMES = list(ACTION_UNITS)


def smile_of(amount: float) -> Array:
    return deviation_of(smile_left=amount, smile_right=amount)


def too_much_of(unit: str, amount: float) -> ReadBack:
    """Return one for which so much of a unit is read for one of what smiles have most of."""
    components = expression_components()
    smile = component_weights(smile_of(0.8), components)
    errors = np.zeros((len(components), len(NAMES)), np.float32)
    errors[np.abs(smile).argmax(), NAMES.index(unit)] = amount
    return ReadBack(components, errors)


def test_nothing_acted_needs_no_correction() -> None:
    rest = np.zeros((478, 3), np.float32)
    np.testing.assert_allclose(known_read_back().correction(rest), 0, atol=1e-7)


def test_the_shipped_correction_knows_no_left_and_right() -> None:
    acted = deviation_of(smile_left=0.6, brow_raise_left=0.6)
    known = known_read_back()
    here = known.correction(acted)
    assert np.abs(here).max() > 0.005
    there = known.correction(mirrored_deviation(acted))
    np.testing.assert_allclose(mirrored_deviation(there), here, atol=0.003)


@pytest.mark.parametrize("unit", ["brow_lower", "upper_lip_raise"])
def test_what_is_read_too_much_is_taken_away_and_nothing_else(unit: str) -> None:
    face = canonical_face()
    correction = too_much_of(unit, 0.1).correction(smile_of(0.8))
    changed = (measures(face + correction, face) - measures(face, face)) / RANGES
    row = NAMES.index(unit)
    assert 0.02 < abs(changed[row]) < MAX_CORRECTION
    assert np.abs(np.delete(changed, row)).max() < 0.25 * abs(changed[row])


def test_a_correction_stays_small_whatever_is_acted() -> None:
    face = canonical_face()
    correction = too_much_of("brow_lower", 9.0).correction(smile_of(1.0))
    changed = (measures(face + correction, face) - measures(face, face)) / RANGES
    assert abs(changed[NAMES.index("brow_lower")]) == pytest.approx(MAX_CORRECTION, rel=0.1)


def test_a_linear_error_is_found_in_noise() -> None:
    rng = np.random.default_rng(1)
    components = expression_components()
    basis = action_unit_basis()
    changes = np.tensordot(rng.uniform(0, 0.6, (400, len(NAMES))), basis, 1).astype(np.float32)
    planted = too_much_of("brow_lower", 0.2)
    known = component_weights(changes, components) @ planted.errors
    errors = known + rng.normal(0, 0.05, known.shape).astype(np.float32)
    found = ReadBack(components, fit(changes, errors, components))
    one = smile_of(0.4)
    wanted = planted.correction(one)
    assert np.linalg.norm(found.correction(one) - wanted) < 0.4 * np.linalg.norm(wanted)


def test_mouths_and_eyes_open_as_wide_as_acted() -> None:
    rows = [NAMES.index(name) for name in LEFT_ALONE]
    assert not known_read_back().errors[:, rows].any()
    assert np.abs(known_read_back().errors).max() > 0.01


def driven(settings: FusionSettings, acting: Array) -> Array:
    """Return the portrait's landmarks for an actor who rests, and then acts."""
    target = portrait_target(256).neutral
    fusion = Fusion(
        settings, SmoothingSettings(enabled=False), target, ActorSettings(neutral="fresh")
    )
    pose = Pose(np.eye(3, dtype=np.float32), np.array([320, 240, 0], np.float32), 90.0)
    face = canonical_face()
    for number in range(30):
        rest = Landmarks(to_image(face, pose), 1.0, (640, 480))
        fusion.express(rest, number / 25)
    moved = Landmarks(to_image(face + acting, pose), 1.0, (640, 480))
    return fusion.fuse(fusion.express(moved, 2.0))


def test_fusion_corrects_what_it_puts_onto_the_target_and_can_leave_it() -> None:
    acting = smile_of(0.7)
    without = driven(FusionSettings(read_back=False), acting)
    with_it = driven(FusionSettings(), acting)
    assert 0.1 < np.linalg.norm(with_it - without, axis=1).max() < 6


def test_a_mouth_that_is_not_to_move_is_not_corrected_either() -> None:
    acting = deviation_of(brow_raise_left=0.7, brow_raise_right=0.7)
    settings = FusionSettings(mouth=0.0)
    lips = driven(settings, acting)[list(LIPS_OUTER)]
    settings = FusionSettings(mouth=0.0, read_back=False)
    np.testing.assert_allclose(lips, driven(settings, acting)[list(LIPS_OUTER)], atol=0.05)


def portrait_acts(rng: np.random.Generator) -> Iterator[Pair]:
    """Yield the built-in portrait, which is to act some of the action units."""
    target = portrait_target(256)
    picture, points = target.references[0], target.neutral
    pose = estimate_pose(points)
    while True:
        amounts = rng.uniform(0, 0.4, len(NAMES)).astype(np.float32)
        turned = np.tensordot(amounts, action_unit_basis(), 1) @ pose.rotation.T
        acted = (points + np.float32(pose.scale) * turned).astype(np.float32)
        yield Pair(picture, points, picture, acted)


@pytest.mark.slow
def test_it_is_learned_from_what_a_tracker_reads_off_drawn_faces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On one face many components can explain a few pictures: the second round begins lower."""
    settings = Settings().renderer
    settings.name = "warp_unet"
    renderer = load("renderers", "warp_unet").make(settings)
    pairs = portrait_acts(np.random.default_rng(3))
    with FaceReader() as face_reader:
        answer = learn(pairs, 40, 2, Reader(face_reader, renderer))
    before, after = (
        float(line.split(": ")[1].split()[0])
        for line in capsys.readouterr().out.splitlines()
        if "mean error" in line
    )
    assert after < 0.97 * before
    assert answer.errors.shape == known_read_back().errors.shape
