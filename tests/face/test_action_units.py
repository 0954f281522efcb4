"""Action units and their basis: zero at rest, monotone, separate and symmetric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact.face.action_units import (
    MIRRORED_UNITS,
    action_unit_basis,
    action_units,
    mirrored_units,
)
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    mirrored_deviation,
    rotation_matrix,
    to_face_frame,
    to_image,
)
from reenact.face.regions import lid_gaps, lip_gaps
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Pose

NAMES = list(ACTION_UNITS)
RELATED = {
    "mouth_open": {"jaw_drop"},  # the jaw opens the mouth
    "frown": {"pucker"},
    "stretch": {"frown"},
}


def units_of(deviation: Array) -> Array:
    face = canonical_face()
    return action_units(face + deviation, face)


def test_nothing_is_active_at_rest() -> None:
    assert np.array_equal(units_of(np.zeros((478, 3), np.float32)), np.zeros(17))


@pytest.mark.parametrize("name", NAMES)
def test_each_unit_of_the_basis_measures_itself(name: str) -> None:
    row = NAMES.index(name)
    amounts = np.linspace(0, 1, 21, dtype=np.float32)
    track = np.array([units_of(a * action_unit_basis()[row])[row] for a in amounts])
    assert np.all(np.diff(track) >= 0)
    assert 0.9 <= track[-1] <= 1
    assert np.abs(track - amounts).max() < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_single_unit_hardly_moves_another(name: str) -> None:
    row = NAMES.index(name)
    units = units_of(action_unit_basis()[row])
    others = {NAMES[k] for k in np.flatnonzero(units > 0.15)} - {name}
    assert others <= RELATED.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_mirrored_face_has_mirrored_units(name: str) -> None:
    deviation = 0.7 * action_unit_basis()[NAMES.index(name)]
    expected = mirrored_units(units_of(deviation))
    np.testing.assert_allclose(units_of(mirrored_deviation(deviation)), expected, atol=0.02)


def test_the_basis_is_symmetric() -> None:
    basis = action_unit_basis()
    np.testing.assert_allclose(basis, mirrored_deviation(basis[list(MIRRORED_UNITS)]), atol=2e-3)


def test_a_blink_closes_its_own_eye_onto_the_lower_lid() -> None:
    face = canonical_face()
    closed = lid_gaps(face + action_unit_basis()[NAMES.index("blink_left")])
    rest = lid_gaps(face)
    middle_right, middle_left = slice(2, 5), slice(9, 12)
    assert np.all(closed[middle_left] < 0.2 * rest[middle_left])
    assert np.all(closed[middle_left] > -0.005)
    np.testing.assert_allclose(closed[middle_right], rest[middle_right], atol=0.01)


def test_an_opening_mouth_moves_lips_and_jaw() -> None:
    deviation = action_unit_basis()[NAMES.index("mouth_open")]
    face = canonical_face()
    assert lip_gaps(face + deviation)[4] - lip_gaps(face)[4] > 0.25
    assert deviation[152, 1] > 0.08
    assert np.abs(deviation[[33, 263, 159, 386, 107, 336]]).max() < 0.02


def test_the_head_pose_does_not_count() -> None:
    face = canonical_face()
    acting = face + 0.6 * action_unit_basis()[NAMES.index("smile_left")]
    pose = Pose(
        rotation_matrix(np.array([0.2, -0.4, 0.15], np.float32)),
        np.array([300, 200, 5], np.float32),
        80.0,
    )
    points = to_image(acting, pose)
    seen = to_face_frame(points, estimate_pose(points, face))
    np.testing.assert_allclose(action_units(seen, face), action_units(acting, face), atol=0.05)


def test_a_blink_is_relative_to_the_persons_own_eye() -> None:
    narrow = canonical_face().copy()
    upper = [158, 159, 160, 385, 386, 387]
    lower = [153, 145, 144, 380, 374, 373]
    narrow[upper, 1] += 0.4 * (narrow[lower, 1] - narrow[upper, 1])
    assert action_units(narrow, narrow)[NAMES.index("blink_left")] == 0
    shut = narrow.copy()
    shut[upper, 1] = shut[lower, 1] - 0.003
    assert action_units(shut, narrow)[NAMES.index("blink_left")] > 0.9


@pytest.mark.faces
def test_real_clips_use_the_whole_range(faces_dir: Path) -> None:
    from reenact.training.deformation_transfer import load_motions

    tracks = [
        action_units(shape, motion.rest)
        for motion in load_motions(faces_dir / "val", stride=2)
        for shape in motion.shapes
    ]
    units = np.stack(tracks)
    assert units.min() >= 0
    assert units.max() <= 1
    for name in ("mouth_open", "smile_left", "brow_raise_left", "blink_left", "blink_right"):
        column = units[:, NAMES.index(name)]
        assert np.percentile(column, 99) > 0.6, name
        assert np.median(column) < 0.35, name


def test_the_basis_is_learned_from_clips(tmp_path: Path) -> None:
    from reenact.training.deformation_transfer import load_motions
    from tools.expression_basis import cross_talk, fit

    rng = np.random.default_rng(2)
    for number in range(4):
        person = canonical_face() * (1 + rng.uniform(-0.05, 0.05, 3)).astype(np.float32)
        amounts = rng.uniform(0, 1, (80, 17)) * (rng.random((80, 17)) < 0.2)
        shapes = person + np.tensordot(amounts.astype(np.float32), action_unit_basis(), 1)
        np.savez(tmp_path / f"p{number}__01.npz", landmarks=shapes * 60 + 120)
    arrays = fit(load_motions(tmp_path))
    measured = cross_talk(arrays["basis"])
    assert measured.diagonal().min() > 0.8
    learned, known = arrays["basis"].reshape(17, -1), action_unit_basis().reshape(17, -1)
    for name in ("mouth_open", "smile_left", "blink_right", "brow_raise_left"):
        row = NAMES.index(name)
        assert np.corrcoef(learned[row], known[row])[0, 1] > 0.9
    assert arrays["identity_modes"].shape == arrays["expression_modes"].shape == (16, 478, 3)
