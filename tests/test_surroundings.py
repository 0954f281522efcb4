"""What moves around a face: the flow that is added to the mesh's, and how it is learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import portrait_target

from reenact.geometry import estimate_pose, rotation_matrix
from reenact.surroundings import (
    MOTIONS,
    SIDE,
    SPAN,
    Surroundings,
    head_motion,
    known_surroundings,
)
from reenact.training.data import Clip
from reenact.training.surroundings import Lack, fit, observe
from reenact.types import Array, Pose
from reenact.warping import HeadMesh, _unless_onto

SIZE_PX = 256


def posed(turn_deg: tuple[float, float, float] = (0, 0, 0), x: float = 128, y: float = 120) -> Pose:
    rotation = rotation_matrix(np.radians(np.array(turn_deg, np.float32)))
    return Pose(rotation, np.array([x, y, 0], np.float32), 50.0)


def field_of(motion: str, place: tuple[float, float], flow: tuple[float, float]) -> Surroundings:
    """Return a field that is `flow` iod near a place, for one unit of a motion."""
    field = np.zeros((SIDE, SIDE, len(MOTIONS), 2), np.float32)
    column, row = (round((at + SPAN) / (2 * SPAN) * (SIDE - 1)) for at in place)
    field[row - 1 : row + 2, column - 1 : column + 2, MOTIONS.index(motion)] = flow
    return Surroundings(field)


def nothing() -> Surroundings:
    return Surroundings(np.zeros((SIDE, SIDE, len(MOTIONS), 2), np.float32))


def test_a_head_that_does_not_move_adds_no_flow() -> None:
    pose = posed((5, -10, 20))
    assert np.abs(head_motion(pose, pose)).max() < 1e-6
    assert np.abs(known_surroundings().flow(pose, pose, SIZE_PX, 128)).max() < 1e-6


@pytest.mark.parametrize("roll", [0, 30, -60])
def test_the_field_stands_upright_with_the_head(roll: float) -> None:
    upright = rotation_matrix(np.radians(np.array([0, 0, roll], np.float32)))[:2, :2]
    drive = posed((0, 0, roll))
    along_head = upright @ np.array([0.3, 0], np.float32) * 50
    reference = posed((0, 0, roll), 128 - along_head[0], 120 - along_head[1])
    np.testing.assert_allclose(head_motion(reference, drive), [0, 0, 0, 0.3, 0], atol=1e-4)
    flow = field_of("across", (0, -1.5), (0.2, 0.1)).flow(reference, drive, SIZE_PX, 128)
    x, y = drive.translation[:2] + upright @ np.array([0, -1.5], np.float32) * 50
    found = flow[round((y - 0.5) / 2), round((x - 0.5) / 2)]
    np.testing.assert_allclose(
        found, upright @ np.array([0.2, 0.1]) * 0.3 * 50 * 2 / SIZE_PX, atol=2e-3
    )
    assert np.abs(flow[round((120 + 40) / 2), 64]).max() < 1e-6  # the other side of the head


def test_a_large_turn_is_not_gone_on_with_linearly() -> None:
    around = field_of("yaw", (1.3, 0.5), (-0.3, 0))
    small, large = (
        float(np.abs(around.flow(posed(), posed((0, yaw, 0)), SIZE_PX, 128)).max())
        for yaw in (3, 60)
    )
    assert small > 0.9 * 0.3 * np.radians(3) * 50 * 2 / SIZE_PX
    assert large < 7 * small


def test_what_was_learned_is_what_heads_do() -> None:
    """Ears lie deeper than the guessed rings, hair above the forehead less deep; no side is
    preferred; the face itself hardly needs anything."""
    field = known_surroundings().field
    assert field.shape == (SIDE, SIDE, len(MOTIONS), 2)
    signs = np.array([1, -1, -1, -1, 1], np.float32)[:, None] * np.array([-1, 1], np.float32)
    np.testing.assert_allclose(field, field[:, ::-1] * signs, atol=2e-3)

    def at(x: float, y: float, motion: str) -> Array:
        column, row = (round((v + SPAN) / (2 * SPAN) * (SIDE - 1)) for v in (x, y))
        return np.asarray(field[row, column, MOTIONS.index(motion)])

    assert at(1.3, 0.5, "yaw")[0] < -0.1
    assert at(1.3, 0.5, "pitch")[1] > 0.1
    assert at(0, -1.1, "yaw")[0] > 0.1
    assert np.abs(at(0, 0.5, "across")).max() < 0.03


def lacks_of(field: Array, count: int) -> list[Lack]:
    rng = np.random.default_rng(1)
    lacks = []
    for number in range(count):
        motion = rng.normal(0, 0.2, len(MOTIONS)).astype(np.float32)
        flow = np.einsum("ijkc,k->ijc", field, motion) + rng.normal(0, 0.005, (SIDE, SIDE, 2))
        if number % 10 == 0:
            flow += 0.5  # the flow was mistaken
        lacks.append(Lack(motion, flow.astype(np.float32), rng.random((SIDE, SIDE)) < 0.5))
    return lacks


def test_the_fit_finds_a_field_in_spite_of_mistaken_flow() -> None:
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    field = np.zeros((SIDE, SIDE, len(MOTIONS), 2), np.float32)
    field[..., MOTIONS.index("yaw"), 0] = 0.4 * axis[:, None]
    field[..., MOTIONS.index("along"), 1] = 0.2
    np.testing.assert_allclose(fit(lacks_of(field, 120)), field, atol=0.06)


def shifted_clip(shift_px: int) -> tuple[Clip, Array]:
    """Return a clip of the portrait and the portrait moved as a whole, and its landmarks."""
    target = portrait_target(SIZE_PX)
    affine = np.array([[1, 0, shift_px], [0, 1, 0]], np.float32)
    picture = target.references[0]
    moved = cv2.warpAffine(picture, affine, (SIZE_PX,) * 2, borderMode=cv2.BORDER_REPLICATE)
    points = np.stack([target.neutral, target.neutral + np.array([shift_px, 0, 0], np.float32)])
    return Clip("portrait", Path(), points, np.arange(2)), np.stack([picture, moved])


def test_optical_flow_sees_what_the_mesh_leaves_behind(
    tmp_path: Path,
) -> None:
    clip, images = shifted_clip(14)
    np.save(tmp_path / "frames.npy", images)
    clip = Clip(clip.name, tmp_path / "frames.npy", clip.landmarks, clip.usable)
    scale = estimate_pose(clip.landmarks[0]).scale
    left_behind = []
    for surroundings in (nothing(), known_surroundings()):
        lack = observe(clip, 0, 1, HeadMesh(surroundings))
        assert lack is not None
        assert lack.motion[3] == pytest.approx(14 / scale, abs=0.01)
        row, columns = round((SPAN - 1.4) / (2 * SPAN) * (SIDE - 1)), slice(16, 24)
        assert lack.seen[row, columns].any()
        hair = lack.flow[row, columns][lack.seen[row, columns]]
        left_behind.append(float(hair[:, 0].mean()))
        assert np.abs(lack.flow[SIDE // 2, SIDE // 2]).max() < 0.02  # the face itself
    assert left_behind[0] < -0.02, "the rings carry hair less far than the head goes"
    assert abs(left_behind[1]) < 0.6 * abs(left_behind[0])
    assert observe(clip, 0, 0, HeadMesh(nothing())) is None


def test_nothing_beside_a_face_comes_from_its_skin() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    more = np.full((32, 32, 2), (8 / 16, 0), np.float32)  # from 8 cells to the right
    kept = _unless_onto(mask, np.zeros_like(more), more)
    np.testing.assert_allclose(kept[:, :7], more[:, :7])
    assert np.abs(kept[:, 9:23]).max() < 1e-6
