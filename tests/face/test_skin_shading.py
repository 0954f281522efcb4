"""How the light of a moving face's skin changes, and how it is learned."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import canonical_face, estimate_pose, to_face_frame, to_image
from reenact.face.skin_flow import MOTIONS, shipped_skin_flow
from reenact.face.skin_shading import (
    MAX_LOG,
    SkinShading,
    on_atlas,
    relit,
    sampled,
    shipped_skin_shading,
)
from reenact.training.augmentation import Pair
from reenact.types import Array
from support.faces import deviation_of, portrait_target, turned
from tools.skin_shading import LightChange, atlas_mask, explained, fit, measure

SIZE_PX = 256
RNG_SEED = 1


def acted(**amounts: float) -> tuple[Array, Array]:
    """Return the portrait's landmarks at rest, and with these action units, (478, 3) px."""
    rest = portrait_target(SIZE_PX).neutral
    pose = estimate_pose(rest)
    return rest, to_image(to_face_frame(rest, pose) + deviation_of(**amounts), pose)


def shipped_change(reference: Array, drive: Array) -> Array:
    return shipped_skin_shading().change(
        reference, drive, (estimate_pose(reference), estimate_pose(drive))
    )


def around(change: Array, landmarks: list[int]) -> float:
    """Return the mean change at landmarks of the canonical face."""
    x, y = canonical_face()[landmarks, :2].T.copy()
    return float(sampled(change, x[None], y[None]).mean())


def test_a_face_that_does_not_move_keeps_its_light() -> None:
    rest, _ = acted()
    assert np.abs(shipped_change(rest, rest)).max() < 1e-3


def test_a_smile_has_folds_and_raised_cheeks() -> None:
    """The folds from the nose's wings to the mouth become darker than the cheeks beside them."""
    smile = shipped_change(*acted(smile_left=1.0, smile_right=1.0))
    folds, cheeks = around(smile, [206, 426]), around(smile, [50, 280])
    assert folds < -0.04
    assert cheeks > folds + 0.04


def test_a_photo_that_smiles_loses_its_folds_at_rest() -> None:
    rest, smiling = acted(smile_left=1.0, smile_right=1.0)
    there, back = shipped_change(rest, smiling), shipped_change(smiling, rest)
    np.testing.assert_allclose(back, -there, atol=0.05)


def test_no_side_is_preferred() -> None:
    rest, _ = acted()
    left, right = (shipped_change(rest, turned(rest, degrees)) for degrees in (12, -12))
    # The portrait itself is not symmetric.
    assert np.abs(left - right[:, ::-1]).mean() < 0.25 * np.abs(left).mean()


def test_a_change_is_limited() -> None:
    rest, shouting = acted(mouth_open=4.0, jaw_drop=4.0, brow_lower=4.0)
    strong = SkinShading(shipped_skin_flow().components[:20], 10 * shipped_skin_shading().light)
    poses = estimate_pose(rest), estimate_pose(shouting)
    assert np.abs(strong.change(rest, shouting, poses)).max() == pytest.approx(MAX_LOG)


def test_the_atlas_holds_the_face_and_nothing_beyond_it() -> None:
    face = canonical_face()
    for places in on_atlas(face[:, 0], face[:, 1], 64):
        assert places.min() > 0
        assert places.max() < 63
    x, y = np.array([[[-2, 2, 0, 0, 0]], [[0, 0, -2, 3, 1]]], np.float32)
    np.testing.assert_allclose(sampled(np.ones((64, 64), np.float32), x, y), [[0, 0, 0, 0, 1]])


def test_light_changes_by_a_factor_and_black_stays_black() -> None:
    grey, black = (np.full((8, 8, 3), level, np.uint8) for level in (100, 0))
    brighter = np.full((4, 4), np.log(1.2), np.float32)
    luma = relit(grey, brighter) @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(luma, 110 * 1.2 - 10, rtol=0.01)
    assert (relit(black, brighter) < 2.5).all()
    np.testing.assert_allclose(relit(black, -brighter), 0)


def test_shaded_skin_is_redder() -> None:
    skin = np.full((8, 8, 3), (200, 150, 120), np.uint8)
    red, green, blue = relit(skin, np.full((8, 8), -0.2, np.float32))[4, 4] / (200, 150, 120)
    assert 0.75 < blue < green < red < 0.87


def test_the_light_of_a_pair_is_measured() -> None:
    """A portrait whose left half is darker by a fifth, and whose eyes are painted over."""
    target = portrait_target(SIZE_PX)
    points, picture = target.neutral, target.references[0]
    plane = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    plane[:, : round(float(points[4, 0]))] = np.log(0.8)
    truth = relit(picture, plane).astype(np.uint8)
    eye = points[[33, 133, 159, 145], :2].mean(axis=0).round().astype(int)
    truth[eye[1] - 1 : eye[1] + 2, eye[0] - 4 : eye[0] + 5] = 255
    found = measure(Pair(picture, points, truth, points)).light
    halves = [float(np.median(half[half != 0])) for half in (found[:, :28], found[:, 36:])]
    assert halves[0] - halves[1] == pytest.approx(np.log(0.8), abs=0.03)
    assert found.max() < 0.25, "eyes are no skin"


def changes_of(shading: SkinShading, count: int, noise: float) -> list[LightChange]:
    rng = np.random.default_rng(RNG_SEED)
    changes = []
    for _ in range(count):
        turn = rng.normal(0, 0.1, 3)
        motion = np.concatenate([turn, [0, 0]]).astype(np.float32)
        light = np.tensordot(motion, shading.light[: len(MOTIONS)], 1)
        light += rng.normal(0, noise, light.shape).astype(np.float32)
        shape = np.zeros((478, 3), np.float32)
        changes.append(LightChange(motion, shape, np.where(atlas_mask(), light, 0)))
    return changes


def test_the_fit_recovers_the_light_of_several_people() -> None:
    """Also of one whose pictures are noisy; the face's edge, where the light fades out, aside."""
    components = shipped_skin_flow().components[:2]
    true = SkinShading(components, np.zeros((len(MOTIONS) + 2, 64, 64), np.float32))
    true.light[0] = 1.0  # pitch, the same on both sides
    people = [changes_of(true, 80, noise) for noise in (0.02, 0.02, 0.5)]
    found = fit(people, components)
    inner = np.s_[24:40, 24:40]
    assert 0.7 < found.light[0][inner].mean() < 0.9, "the ridge takes a fifth"
    assert np.abs(found.light[1][inner]).mean() < 0.1
    assert found.light[0][~atlas_mask()].max() == 0
    assert explained(found, people[0]) > 0.8
    assert explained(replace_light(found, 0), people[0]) == pytest.approx(0, abs=1e-6)


def replace_light(shading: SkinShading, factor: float) -> SkinShading:
    return SkinShading(shading.components, shading.light * factor)


def test_a_mirrored_change_is_that_of_the_mirrored_pair() -> None:
    rng = np.random.default_rng(RNG_SEED)
    change = LightChange(
        np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32),
        rng.normal(0, 0.1, (478, 3)).astype(np.float32),
        rng.normal(0, 0.1, (64, 64)).astype(np.float32),
    )
    there = change.mirrored()
    np.testing.assert_allclose(there.motion, [0.1, -0.2, -0.3, -0.4, 0.5])
    np.testing.assert_array_equal(there.light, change.light[:, ::-1])
    back = there.mirrored()
    np.testing.assert_allclose(back.change, change.change, atol=1e-6)
