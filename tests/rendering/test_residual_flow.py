"""What is added to the mesh's flow, on skin and around the face, and how it is learned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.expression_components import MAX_CHANGE
from reenact.face.geometry import estimate_pose, mirror_index, rotation_matrix
from reenact.face.topology import N_SKIN
from reenact.rendering.head_mesh import HeadMesh, _outside
from reenact.rendering.residual_flow import (
    MOTIONS,
    SIDE,
    SPAN,
    ResidualFlow,
    head_motion,
    limited_causes,
    shipped_residual_flow,
)
from reenact.training.augmentation import Pair
from reenact.training.residual_flow import FlowResidual, fit, measure, refine
from reenact.types import Array, Pose
from support.faces import portrait_target
from tools.residual_flow import principal_components

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


def residual_of(cause: int, place: tuple[float, float], flow: tuple[float, float]) -> ResidualFlow:
    """Return one that is `flow` iod near a place, for one unit of a cause."""
    around = np.zeros((SIDE, SIDE, CAUSES, 2), np.float32)
    column, row = (round((at + SPAN) / (2 * SPAN) * (SIDE - 1)) for at in place)
    around[row - 1 : row + 2, column - 1 : column + 2, cause] = flow
    return ResidualFlow(some_components(), np.zeros((N_SKIN, CAUSES, 2), np.float32), around)


def nothing() -> ResidualFlow:
    return residual_of(0, (0, 0), (0, 0))


def causes_of(reference: Pose, drive: Pose) -> Array:
    """Return the causes of a head that moves and keeps its expression."""
    causes = np.zeros(CAUSES, np.float32)
    causes[: len(MOTIONS)] = limited_causes(
        head_motion(reference, drive), np.zeros((N_SKIN, 3), np.float32), some_components()
    )[: len(MOTIONS)]
    return causes


def test_a_face_that_does_not_move_adds_no_flow() -> None:
    face = portrait_target(SIZE_PX).neutral
    pose, known = estimate_pose(face), shipped_residual_flow()
    causes = known.causes(face, face, (pose, pose))
    assert np.abs(causes).max() < 1e-5
    np.testing.assert_allclose(known.skin_landmarks(causes, face, pose), face, atol=1e-3)
    assert np.abs(known.flow(causes, pose, SIZE_PX, 128)).max() < 1e-5


@pytest.mark.parametrize("roll", [0, 30, -60])
def test_the_field_stands_upright_with_the_head(roll: float) -> None:
    upright = rotation_matrix(np.radians(np.array([0, 0, roll], np.float32)))[:2, :2]
    drive = posed((0, 0, roll))
    along_head = upright @ np.array([0.3, 0], np.float32) * 50
    reference = posed((0, 0, roll), 128 - along_head[0], 120 - along_head[1])
    np.testing.assert_allclose(head_motion(reference, drive), [0, 0, 0, 0.3, 0], atol=1e-4)
    residual = residual_of(MOTIONS.index("across"), (0, -1.5), (0.2, 0.1))
    flow = residual.flow(causes_of(reference, drive), drive, SIZE_PX, 128)
    x, y = drive.translation[:2] + upright @ np.array([0, -1.5], np.float32) * 50
    found = flow[round((y - 0.5) / 2), round((x - 0.5) / 2)]
    np.testing.assert_allclose(
        found, upright @ np.array([0.2, 0.1]) * 0.3 * 50 * 2 / SIZE_PX, atol=2e-3
    )
    assert np.abs(flow[round((120 + 40) / 2), 64]).max() < 1e-6  # the other side of the head


@pytest.mark.parametrize("roll", [0, 40])
def test_a_landmark_is_sought_where_its_skin_is(roll: float) -> None:
    """By the change of expression, upright with the reference's head; irises stay."""
    skin = np.zeros((N_SKIN, CAUSES, 2), np.float32)
    skin[50, len(MOTIONS)] = (0.1, 0)
    residual = ResidualFlow(some_components(), skin, nothing().around)
    reference = posed((0, 0, roll))
    face = (known_shape() @ reference.rotation.T * 50 + reference.translation).astype(np.float32)
    smiling = known_shape()
    smiling[:10, 1] += 0.05  # half a component: ten landmarks by .05
    driven = (smiling * 50 + posed().translation).astype(np.float32)
    causes = residual.causes(face, driven, (reference, posed()))
    change = causes[len(MOTIONS)]
    assert change == pytest.approx(MAX_CHANGE * np.tanh(0.5 / MAX_CHANGE), abs=1e-3)
    moved = residual.skin_landmarks(causes, face, reference) - face
    turned = reference.rotation[:2, 0] * 0.1 * change * 50
    np.testing.assert_allclose(moved[50, :2], turned, atol=1e-2)
    assert np.abs(np.delete(moved, 50, axis=0)).max() == 0


def known_shape() -> Array:
    """Return a face in its own frame."""
    face = portrait_target(SIZE_PX).neutral
    pose = estimate_pose(face)
    return np.asarray((face - pose.translation) @ pose.rotation / pose.scale, dtype=np.float32)


def test_a_large_turn_or_change_is_not_gone_on_with_linearly() -> None:
    residual = residual_of(MOTIONS.index("yaw"), (1.3, 0.5), (-0.3, 0))
    small, large = (
        float(
            np.abs(
                residual.flow(
                    causes_of(posed(), posed((0, yaw, 0))), posed((0, yaw, 0)), SIZE_PX, 128
                )
            ).max()
        )
        for yaw in (3, 60)
    )
    assert small > 0.9 * 0.3 * np.radians(3) * 50 * 2 / SIZE_PX
    assert large < 7 * small
    far = np.full((N_SKIN, 3), 100, np.float32)
    assert limited_causes(np.zeros(5, np.float32), far, some_components()).max() <= MAX_CHANGE


def test_what_was_learned_is_what_heads_do() -> None:
    """Hair and ears lie on the skull, about; no side is preferred; skin needs little."""
    known = shipped_residual_flow()
    moved = len(MOTIONS)
    signs = np.array([1, -1, -1, -1, 1], np.float32)[:, None] * np.array([-1, 1], np.float32)
    field, skin = known.around[:, :, :moved], known.skin[:, :moved]
    np.testing.assert_allclose(field, field[:, ::-1] * signs, atol=5e-3)
    np.testing.assert_allclose(skin, skin[mirror_index()[:N_SKIN]] * signs, atol=5e-3)

    def at(x: float, y: float, motion: str) -> Array:
        column, row = (round((v + SPAN) / (2 * SPAN) * (SIDE - 1)) for v in (x, y))
        return np.asarray(field[row, column, MOTIONS.index(motion)])

    assert np.abs(at(1.3, 0.5, "yaw")).max() < 0.2
    assert np.abs(at(0, -1.1, "yaw")).max() < 0.2
    assert np.abs(at(0, -1.1, "pitch")).max() < 0.2
    assert np.abs(skin[:, MOTIONS.index("across")]).mean() < 0.02
    assert -0.4 < at(0, -1.5, "across")[0] < -0.1, "hair lags behind a head that shifts"
    assert -0.4 < at(0, -1.5, "along")[1] < -0.1
    assert 0.02 < np.abs(skin[:, MOTIONS.index("yaw")]).mean() < 0.1, "skin slides in a turn"


def test_the_sign_of_each_component_is_fixed() -> None:
    """`read_back.npz` was fitted with these signs; either sign explains as much."""
    rng = np.random.default_rng(RNG_SEED)
    changes = rng.normal(0, 0.01, (40, 478, 3)).astype(np.float32)
    for components in (shipped_residual_flow().components, principal_components(changes, 4)):
        one_side = np.arange(N_SKIN) <= mirror_index()[:N_SKIN]
        flat = components[:, one_side].reshape(len(components), -1)
        largest = np.take_along_axis(flat, np.abs(flat).argmax(axis=1)[:, None], axis=1)
        assert (largest > 0).all()


def residuals_of(residual: ResidualFlow, count: int) -> list[FlowResidual]:
    rng = np.random.default_rng(RNG_SEED)
    residuals = []
    for number in range(count):
        motion = rng.normal(0, 0.2, len(MOTIONS)).astype(np.float32)
        change = np.zeros((478, 3), np.float32)
        change[:10, 1], change[458:468, 0] = rng.normal(0, 0.1, (2, 1))
        causes = limited_causes(motion, change, residual.components)
        around = np.einsum("ijkc,k->ijc", residual.around, causes)
        skin = np.einsum("lkc,k->lc", residual.skin, causes)
        outlier = 0.5 if number % 10 == 0 else 0.0
        residuals.append(
            FlowResidual(
                motion,
                change,
                (skin + outlier + rng.normal(0, 0.005, skin.shape)).astype(np.float32),
                rng.random(N_SKIN) < 0.5,
                (around + outlier + rng.normal(0, 0.005, around.shape)).astype(np.float32),
                rng.random((SIDE, SIDE)) < 0.5,
            )
        )
    return residuals


def test_the_fit_recovers_the_flow_despite_outliers() -> None:
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    residual = nothing()
    residual.around[..., MOTIONS.index("yaw"), 0] = 0.4 * axis[:, None]
    residual.around[..., MOTIONS.index("along"), 1] = 0.2
    residual.skin[:, MOTIONS.index("pitch"), 1] = 0.3
    found = fit(residuals_of(residual, 400), residual.components, (0.003, 0.15))
    np.testing.assert_allclose(found.around, residual.around, atol=0.06)
    np.testing.assert_allclose(found.skin, residual.skin, atol=0.06)


def test_components_of_a_change_have_unit_variance() -> None:
    rng = np.random.default_rng(RNG_SEED)
    directions = rng.normal(size=(3, 478, 3))
    changes = np.einsum("nk,kij->nij", rng.normal(size=(200, 3)), directions).astype(np.float32)
    components = principal_components(changes, 4)
    found = np.einsum("nij,kij->nk", changes[:, :N_SKIN], components)
    assert 0.7 < float(np.sqrt((found**2).mean())) < 1.3


def shifted_pair(shift_px: int) -> Pair:
    """Return the portrait, and the portrait moved as a whole."""
    target = portrait_target(SIZE_PX)
    affine = np.array([[1, 0, shift_px], [0, 1, 0]], np.float32)
    picture = target.references[0]
    moved = cv2.warpAffine(picture, affine, (SIZE_PX,) * 2, borderMode=cv2.BORDER_REPLICATE)
    shift = np.array([shift_px, 0, 0], np.float32)
    return Pair(picture, target.neutral, np.asarray(moved, np.uint8), target.neutral + shift)


def hair_left_behind(pair: Pair, flow: ResidualFlow) -> float:
    """Return the mean residual (iod) of the hair that was measured, across the picture."""
    residual = measure(pair, HeadMesh(flow))
    row, columns = round((SPAN - 1.4) / (2 * SPAN) * (SIDE - 1)), slice(16, 24)
    assert residual.around_known[row, columns].any()
    return float(residual.around[row, columns][residual.around_known[row, columns]][:, 0].mean())


def test_optical_flow_measures_what_the_mesh_leaves_over() -> None:
    pair = shifted_pair(14)
    residual = measure(pair, HeadMesh(nothing()))
    scale = estimate_pose(pair.reference_landmarks).scale
    assert residual.motion[3] == pytest.approx(14 / scale, abs=0.01)
    assert np.abs(residual.around[SIDE // 2, SIDE // 2]).max() < 0.02  # the face itself
    assert np.abs(residual.skin[residual.skin_known]).mean() < 0.02
    bare, known = (hair_left_behind(pair, of) for of in (nothing(), shipped_residual_flow()))
    assert bare < -0.02, "the rings carry hair less far than the head goes"
    assert abs(known) < 0.6 * abs(bare)


def test_refining_on_one_person_reduces_the_residual() -> None:
    pairs = [shifted_pair(shift) for shift in range(-14, 15, 2) for _ in range(8)]
    own = refine(nothing(), pairs)
    bare, better = (hair_left_behind(shifted_pair(11), of) for of in (nothing(), own))
    assert abs(better) < 0.7 * abs(bare)
    assert refine(own, []) is own


def test_nothing_beside_a_face_comes_from_its_skin() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    more = np.zeros((2, 32, 32), np.float32)
    more[0] = 8 / 16  # from 8 cells to the right
    kept = _outside(mask, np.zeros_like(more), more)
    np.testing.assert_allclose(kept[..., :7], more[..., :7])
    assert np.abs(kept[..., 9:23]).max() < 1e-6
