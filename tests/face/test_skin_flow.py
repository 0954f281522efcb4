"""How far landmarks slide over the skin, and how it is learned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.geometry import estimate_pose, mirror_index, rotation_matrix
from reenact.face.skin_flow import (
    MAX_CHANGE,
    MAX_TURN,
    MOTIONS,
    SkinFlow,
    head_motion,
    limited_causes,
    shipped_skin_flow,
)
from reenact.face.topology import N_SKIN
from reenact.rendering.head_mesh import HeadMesh
from reenact.training.augmentation import Pair
from reenact.types import Array, Pose
from support.faces import portrait_target
from tools.skin_flow import FlowResidual, fit, measure, principal_components

SIZE_PX = 256
COMPONENTS = 2
CAUSES = len(MOTIONS) + COMPONENTS
RNG_SEED = 1


def posed(turn_deg: tuple[float, float, float] = (0, 0, 0), x: float = 128, y: float = 120) -> Pose:
    rotation = rotation_matrix(np.radians(np.array(turn_deg, np.float32)))
    return Pose(rotation, np.array([x, y, 0], np.float32), 50.0)


def some_components() -> Array:
    """Return two components, one in the first landmarks, one in the last."""
    components = np.zeros((COMPONENTS, N_SKIN, 3), np.float32)
    components[0, :10, 1] = components[1, -10:, 0] = 1.0
    return components


def nothing() -> SkinFlow:
    return SkinFlow(some_components(), np.zeros((N_SKIN, CAUSES, 2), np.float32))


def test_a_face_that_does_not_move_stays() -> None:
    face = portrait_target(SIZE_PX).neutral
    pose = estimate_pose(face)
    moved = shipped_skin_flow().moved(face, face, (pose, pose))
    np.testing.assert_allclose(moved, face, atol=1e-3)


@pytest.mark.parametrize("roll", [0, 30, -60])
def test_a_shift_is_measured_upright_with_the_head(roll: float) -> None:
    upright = rotation_matrix(np.radians(np.array([0, 0, roll], np.float32)))[:2, :2]
    drive = posed((0, 0, roll))
    along_head = upright @ np.array([0.3, 0], np.float32) * 50
    reference = posed((0, 0, roll), 128 - along_head[0], 120 - along_head[1])
    np.testing.assert_allclose(head_motion(reference, drive), [0, 0, 0, 0.3, 0], atol=1e-4)


@pytest.mark.parametrize("roll", [0, 40])
def test_a_landmark_is_sought_where_its_skin_is(roll: float) -> None:
    """By the change of expression, upright with the reference's head; irises stay."""
    skin = np.zeros((N_SKIN, CAUSES, 2), np.float32)
    skin[50, len(MOTIONS)] = (0.1, 0)
    reference = posed((0, 0, roll))
    face = (known_shape() @ reference.rotation.T * 50 + reference.translation).astype(np.float32)
    smiling = known_shape()
    smiling[:10, 1] += 0.05  # half a component: ten landmarks by .05
    driven = (smiling * 50 + posed().translation).astype(np.float32)
    change = MAX_CHANGE * np.tanh(0.5 / MAX_CHANGE)
    moved = SkinFlow(some_components(), skin).moved(face, driven, (reference, posed())) - face
    turned = reference.rotation[:2, 0] * 0.1 * change * 50
    np.testing.assert_allclose(moved[50, :2], turned, atol=1e-2)
    assert np.abs(np.delete(moved, 50, axis=0)).max() == 0


def known_shape() -> Array:
    """Return a face in its own frame."""
    face = portrait_target(SIZE_PX).neutral
    pose = estimate_pose(face)
    return np.asarray((face - pose.translation) @ pose.rotation / pose.scale, dtype=np.float32)


def test_a_large_turn_or_change_is_not_gone_on_with_linearly() -> None:
    far = np.full((N_SKIN, 3), 100, np.float32)
    causes = limited_causes(np.array([0.05, 1.0, 0, 0, 0], np.float32), far, some_components())
    assert causes[0] == pytest.approx(0.05, rel=0.01)
    assert 0.9 * MAX_TURN < causes[1] < MAX_TURN
    assert causes.max() <= MAX_CHANGE


def test_what_was_learned_is_what_skin_does() -> None:
    """No side is preferred; skin slides in a turn and hardly when a head shifts."""
    skin = shipped_skin_flow().skin[:, : len(MOTIONS)]
    signs = np.array([1, -1, -1, -1, 1], np.float32)[:, None] * np.array([-1, 1], np.float32)
    np.testing.assert_allclose(skin, skin[mirror_index()[:N_SKIN]] * signs, atol=5e-3)
    assert np.abs(skin[:, MOTIONS.index("across")]).mean() < 0.02
    assert 0.02 < np.abs(skin[:, MOTIONS.index("yaw")]).mean() < 0.1


def residuals_of(flow: SkinFlow, count: int) -> list[FlowResidual]:
    rng = np.random.default_rng(RNG_SEED)
    residuals = []
    for number in range(count):
        motion = rng.normal(0, 0.2, len(MOTIONS)).astype(np.float32)
        change = np.zeros((478, 3), np.float32)
        change[:10, 1], change[458:468, 0] = rng.normal(0, 0.1, (2, 1))
        causes = limited_causes(motion, change, flow.components)
        skin = np.einsum("lkc,k->lc", flow.skin, causes)
        outlier = 0.5 if number % 10 == 0 else 0.0
        noisy = (skin + outlier + rng.normal(0, 0.005, skin.shape)).astype(np.float32)
        residuals.append(FlowResidual(motion, change, noisy, rng.random(N_SKIN) < 0.5))
    return residuals


def test_the_fit_recovers_the_flow_despite_outliers() -> None:
    flow = nothing()
    flow.skin[:, MOTIONS.index("pitch"), 1] = 0.3
    found = fit(residuals_of(flow, 400), flow.components)
    np.testing.assert_allclose(found.skin, flow.skin, atol=0.06)


def test_components_of_a_change_have_unit_variance() -> None:
    rng = np.random.default_rng(RNG_SEED)
    directions = rng.normal(size=(3, 478, 3))
    changes = np.einsum("nk,kij->nij", rng.normal(size=(200, 3)), directions).astype(np.float32)
    components = principal_components(changes, 4)
    found = np.einsum("nij,kij->nk", changes[:, :N_SKIN], components)
    assert 0.7 < float(np.sqrt((found**2).mean())) < 1.3


def test_optical_flow_measures_what_the_mesh_leaves_over() -> None:
    """The skin of a portrait that moves as a whole, and of one whose landmarks are wrong."""
    target, shift = portrait_target(SIZE_PX), np.array([14, 0, 0], np.float32)
    affine = np.array([[1, 0, 14], [0, 1, 0]], np.float32)
    picture = target.references[0]
    moved = cv2.warpAffine(picture, affine, (SIZE_PX,) * 2, borderMode=cv2.BORDER_REPLICATE)
    truth = np.asarray(moved, np.uint8)
    scale = estimate_pose(target.neutral).scale
    for slid_px in (0, 3):
        wrong = np.array([slid_px, 0, 0], np.float32)
        pair = Pair(picture, target.neutral + wrong, truth, target.neutral + shift)
        residual = measure(pair, None, HeadMesh(nothing()))
        assert residual.motion[3] == pytest.approx((14 - slid_px) / scale, abs=0.01)
        left = np.median(residual.skin[residual.known], axis=0) * scale
        np.testing.assert_allclose(left, [-slid_px, 0], atol=0.5)
