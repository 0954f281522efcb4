from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reenact.face.body_placement import hair, torso
from reenact.face.geometry import (
    canonical_face,
    region_mask,
    rotation_matrix,
    to_face_frame,
    to_image,
    triangulate,
)
from reenact.face.skull import rings, turned_at_neck
from reenact.face.topology import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT, N_LANDMARKS, OVAL
from reenact.models.warp_unet_inputs import FLOW, MapChannel
from reenact.rendering.head_mesh import head_mesh, steadied
from reenact.rendering.mesh_warp import grid_to_crop, interpolate, rasterise, warp_image
from reenact.types import Array, Body, Pose
from support.faces import deviation_of, posed_face


def square_mesh() -> tuple[Array, Array]:
    points = np.array([[0, 0], [31, 0], [0, 31], [31, 31], [14, 17]], np.float32)
    depth = np.zeros(5, np.float32)
    return points, depth


def test_interpolation_is_exact_for_an_affine_attribute() -> None:
    points, depth = square_mesh()
    triangles = triangulate(points)
    cells = rasterise(points, triangles, 32, depth)
    assert (cells >= 0).all()
    attributes = np.stack([points[:, 0] * 2 - points[:, 1], points[:, 1] + 3], axis=1)
    result = interpolate(cells, points, triangles, attributes)
    ys, xs = np.mgrid[:32, :32].astype(np.float32)
    np.testing.assert_allclose(result[..., 0], xs * 2 - ys, atol=1e-3)
    np.testing.assert_allclose(result[..., 1], ys + 3, atol=1e-3)


def test_near_triangles_hide_far_ones() -> None:
    points = np.array([[0, 0], [15, 0], [0, 15]] * 2, np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    near_first = np.array([0, 0, 0, 9, 9, 9], np.float32)
    assert rasterise(points, triangles, 16, near_first)[3, 3] == 0
    assert rasterise(points, triangles, 16, near_first[::-1].copy())[3, 3] == 1


def test_a_flat_triangle_leaves_no_infinite_value() -> None:
    points = np.array([[2, 2], [8, 2], [14, 2]], np.float32)
    triangles = np.array([[0, 1, 2]], np.int32)
    cells = rasterise(points, triangles, 16, np.zeros(3, np.float32))
    values = interpolate(cells, points, triangles, np.ones((3, 2), np.float32))
    assert np.isfinite(values).all()
    assert values.max() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_each_cell_has_the_nearest_triangle_over_its_centre(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-10, 34, (40, 2)).astype(np.float32)
    depth = rng.uniform(0, 1, 40).astype(np.float32)
    triangles = rng.permuted(np.tile(np.arange(40), (60, 1)), axis=1)[:, :3].astype(np.int32)
    ys, xs = np.mgrid[:24, :24]
    nearest = np.full((24, 24), -1)
    for number in np.argsort(-depth[triangles].max(axis=1), kind="stable"):
        a, b, c = points[triangles[number]].astype(np.float64)
        sides = [
            (q[0] - p[0]) * (ys - p[1]) - (q[1] - p[1]) * (xs - p[0])
            for p, q in ((a, b), (b, c), (c, a))
        ]
        nearest[(np.min(sides, axis=0) >= 0) | (np.max(sides, axis=0) <= 0)] = number
    np.testing.assert_array_equal(rasterise(points, triangles, 24, depth), nearest)


def test_the_same_face_is_not_moved() -> None:
    points, _ = posed_face(10)
    maps = head_mesh().maps(points, points, 256, 128)
    assert maps.shape == (128, 128, len(MapChannel))
    assert np.abs(maps[..., FLOW]).max() < 1e-3
    assert 0.08 < maps[..., MapChannel.SKIN].mean() < 0.4  # the face's share of the crop
    assert maps[..., MapChannel.EYES].max() == pytest.approx(1)  # eyes are open


def test_the_light_of_the_skin_changes_and_that_of_eyes_and_mouth_does_not() -> None:
    points, pose = posed_face()
    shape = to_face_frame(points, pose)
    smiling = to_image(shape + deviation_of(smile_left=1.0, smile_right=1.0, mouth_open=0.5), pose)
    rest, smile = (head_mesh().maps(points, face, 256, 128) for face in (points, smiling))
    assert np.abs(rest[..., MapChannel.SHADING]).max() < 1e-3
    shading = smile[..., MapChannel.SHADING]
    assert shading.min() < -0.05
    inside = smile[..., MapChannel.MOUTH] + smile[..., MapChannel.EYES] == 1
    assert inside.sum() > 50
    assert (shading[inside | (smile[..., MapChannel.SKIN] == 0)] == 0).all()


def test_a_moved_face_is_looked_up_where_it_was() -> None:
    points, pose = posed_face(0)
    moved = points + np.array([12, -6, 0], np.float32)
    maps = head_mesh().maps(points, moved, 256, 128)
    scale, shift = grid_to_crop(128, 256)
    x, y = np.round((moved[1, :2] - shift) / scale).astype(int)
    np.testing.assert_allclose(maps[y, x, FLOW] * 128, [-12, 6], atol=0.1)
    above = y - int(1.35 * pose.scale / scale)  # hair goes along
    np.testing.assert_allclose(maps[above, x, FLOW] * 128, [-12, 6], atol=4)
    assert np.abs(maps[0, 0, FLOW]).max() * 128 < 8  # the background's corner hardly moves


def test_an_opened_mouth_has_an_inside() -> None:
    points, pose = posed_face(0)
    shape = to_face_frame(points, pose)
    lower = [87, 14, 317, 88, 178, 402, 318, 95, 324]
    shape[lower, 1] += 0.3
    opened = to_image(shape, pose)
    before = head_mesh().maps(points, points, 256, 128)[..., MapChannel.MOUTH].sum()
    after = head_mesh().maps(points, opened, 256, 128)[..., MapChannel.MOUTH].sum()
    assert after > before + 40


def test_a_turned_head_hides_the_far_cheek() -> None:
    """At 60 degrees the far side folds behind the nose; the near side must be what is drawn."""
    shape = posed_face(0)
    face = to_face_frame(shape[0], shape[1])
    turn = Pose(
        rotation_matrix(np.array([0, 1.05, 0], np.float32)), shape[1].translation, shape[1].scale
    )
    turned = to_image(face, turn)
    maps = head_mesh().maps(shape[0], turned, 256, 256)
    nose = np.round(turned[1, :2]).astype(int)
    atlas_x = maps[nose[1], nose[0], MapChannel.ATLAS_X]
    assert abs(atlas_x) < 0.05  # the tip of the nose is in front of everything


@pytest.mark.parametrize("yaw", [0.3, 0.5, 0.7])
def test_a_folded_head_leaves_no_single_cells_that_look_elsewhere(yaw: float) -> None:
    points, pose = posed_face(0)
    turn = rotation_matrix(np.array([0.1, yaw, 0.1], np.float32))
    turned = to_image(to_face_frame(points, pose), Pose(turn, pose.translation, pose.scale))
    flow = np.ascontiguousarray(head_mesh().maps(points, turned, 256, 128)[..., FLOW])
    assert np.abs(flow - cv2.medianBlur(flow, 3)).max() < 0.1


def maps_turned_by(yaw: float) -> Array:
    """Return the maps of a frontal face that turns, 128×128 cells."""
    face, pose = posed_face(0)
    shape = to_face_frame(face, pose)
    start, end = (
        replace(pose, rotation=rotation_matrix(np.array([0, angle, 0], np.float32)))
        for angle in (0.0, yaw)
    )
    return head_mesh().maps(to_image(shape, start), to_image(shape, end), 256, 128)


@pytest.mark.parametrize(("yaw", "column"), [(-0.6, 102), (-0.4, 102), (0.4, 26), (0.6, 26)])
def test_hair_beside_a_turned_head_has_no_kinks(yaw: float, column: int) -> None:
    """Down a column of cells the flow bends nowhere by as much as at an edge of the mesh."""
    maps = maps_turned_by(yaw)
    hair_cells = maps[24:64, column]
    assert not hair_cells[:, MapChannel.SKIN].any(), "or it is no hair"
    bends_px = 128 * np.abs(np.diff(hair_cells[:, FLOW], n=2, axis=0))
    assert bends_px.max() < 0.1


@pytest.mark.parametrize("yaw", [-0.45, -0.3, 0.3, 0.45])
def test_hair_over_a_widened_cheek_has_no_kinks(yaw: float) -> None:
    maps = maps_turned_by(yaw)
    x = np.sign(yaw) * maps[..., MapChannel.ATLAS_X] * maps[..., MapChannel.SKIN]
    at_eyes = np.abs(maps[..., MapChannel.ATLAS_Y]) < 0.1
    column = int(np.median(np.argwhere((x > 0.44) & at_eyes)[:, 1]))
    cheek_cells = maps[44:84, column]
    assert cheek_cells[:, MapChannel.SKIN].mean() > 0.5
    bends_px = 128 * np.abs(np.diff(cheek_cells[:, FLOW], n=2, axis=0))
    assert bends_px.max() < 0.1


@pytest.mark.parametrize("yaw", [-0.9, -0.7, 0.7, 0.9])
def test_the_far_eye_of_a_turned_head_is_behind_its_nose(yaw: float) -> None:
    """Its iris would be drawn on the bridge."""
    maps = maps_turned_by(yaw)
    eyes = maps[..., MapChannel.EYES] > 0
    corner = np.abs(canonical_face()[[*EYE_CORNERS_LEFT, *EYE_CORNERS_RIGHT], 0]).min() / 2
    assert eyes.any()
    assert np.abs(maps[..., MapChannel.ATLAS_X][eyes]).min() > 0.98 * corner


def test_warp_image_samples_where_the_map_points() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[5, 7] = (10, 200, 30)
    source = np.zeros((20, 20, 2), np.float32)
    source[..., 0], source[..., 1] = 7, 5
    assert (warp_image(image, source) == (10, 200, 30)).all()


def test_shoulders_follow_a_head_that_moves_and_not_one_that_turns() -> None:
    points, pose = posed_face(0, scale=35)
    side = 64
    across, down = (points[152, :2] / 256 * side).astype(int)
    shoulder = (slice(down + 10, down + 14), slice(across - 12, across + 12))

    def carried(face: Array) -> Array:
        """Return how far the place an iod below the chin is carried, px."""
        flow = head_mesh().maps(points, face, 256, side)[..., FLOW] * -128
        return np.asarray(flow[shoulder].mean(axis=(0, 1)))

    shift = np.array([0, 10, 0], np.float32)
    assert 4 < carried(points + shift)[1] < 10
    neck = points[152] + pose.rotation @ np.array([0, -0.8, 1.8], np.float32) * pose.scale
    turn = rotation_matrix(np.array([0.05, 0.25, 0], np.float32))
    turned = np.asarray((points - neck) @ turn.T + neck, np.float32)
    assert np.abs(turned[1] - points[1])[:2].max() > 15
    assert np.abs(carried(turned)).max() < 2.5


@pytest.mark.parametrize(("shift_iod", "least", "most"), [(0.01, 0.0, 0.1), (0.3, 0.8, 1.0)])
def test_hair_follows_large_motions_of_the_face_and_no_small_ones(
    shift_iod: float, least: float, most: float
) -> None:
    points, pose = posed_face(0, scale=35)
    shift = np.array([shift_iod * pose.scale, 0, 0], np.float32)
    start, end = head_mesh().vertices(
        points, points + shift, (pose, replace(pose, translation=pose.translation + shift)), 256
    )
    crown = start[478:496, 1].argmin() + 478
    assert least <= (end - start)[crown, 0] / shift[0] <= most


@pytest.mark.parametrize("pitch", [-0.25, 0.25])
def test_hair_goes_on_where_the_forehead_ends(pitch: float) -> None:
    """A head tilted back must not press the hairline and all above it into a seam."""
    points, pose = posed_face(0)
    turn = rotation_matrix(np.array([pitch, 0, 0], np.float32))
    tilted = to_image(to_face_frame(points, pose), Pose(turn, pose.translation, pose.scale))
    flow = head_mesh().maps(points, tilted, 256, 256)[..., MapChannel.FLOW_Y] * 128
    column, top = np.round(tilted[10, :2]).astype(int)
    above = slice(top - int(0.4 * pose.scale), top + 2)
    source = np.arange(256)[above] + flow[above, column]
    steps = np.diff(source)
    assert steps.min() > 0.3
    assert steps.max() < 3


def test_hair_that_is_seen_moves_the_rings_and_not_the_face() -> None:
    points, pose = posed_face(0)
    moved = hair(np.array([0.1, 0, 0, 0], np.float32), pose, pose.scale, 256)
    head = head_mesh().maps(points, points, 256, 128)
    both = head_mesh().maps(points, points, 256, 128, body=Body(hair=moved))
    none = head_mesh().maps(points, points, 256, 128, body=Body(hair=replace(moved, share=0.0)))
    np.testing.assert_allclose(none, head, atol=1e-5)
    face = head[..., MapChannel.SKIN] > 0
    np.testing.assert_allclose(both[face], head[face], atol=1e-3)
    above = np.round(rings(points)[:, :2] / 2).astype(int)
    column, row = above[above[:, 1].argmin()]
    assert both[row, column, MapChannel.FLOW_X] * -128 == pytest.approx(0.1 * pose.scale, rel=0.2)


def test_the_torso_moves_shoulders_and_neither_face_nor_what_follows_the_head() -> None:
    points = (posed_face(0)[0] * 0.6 + [51, 20, 0]).astype(np.float32)
    turned = points + np.array([10, 0, 0], np.float32)
    iod = 0.6 * posed_face(0)[1].scale
    aside = torso(np.array([-0.2, 0, 0, 0], np.float32), points, iod, 256)
    head = head_mesh().maps(points, turned, 256, 128)
    both = head_mesh().maps(points, turned, 256, 128, body=Body(aside))
    none = head_mesh().maps(points, turned, 256, 128, body=Body(replace(aside, share=0.0)))
    np.testing.assert_array_equal(none, head)
    column, chin = np.round(turned[152, :2] / 2).astype(int)
    np.testing.assert_array_equal(both[: chin - 30], head[: chin - 30])
    face = head[..., MapChannel.SKIN] > 0
    np.testing.assert_allclose(both[face], head[face], atol=1e-3)
    shoulder = both[110:, 20:108, MapChannel.FLOW_X] * -128
    np.testing.assert_allclose(shoulder, -0.2 * iod, rtol=0.02)
    assert head[chin + 24, column, MapChannel.FLOW_X] * -128 > 3


@pytest.mark.parametrize("pushed", [True, False])
def test_a_neck_below_a_risen_chin_is_no_second_chin(
    pushed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless its sources are pushed out of the face, a still torso shows the resting chin there."""
    if not pushed:
        monkeypatch.setattr("reenact.rendering.head_mesh.out_of_skin", lambda _, flow: flow)
    points = (posed_face(0)[0] * 0.6 + [51, 40, 0]).astype(np.float32)
    still = Body(torso(np.zeros(4, np.float32), points, 0.6 * posed_face(0)[1].scale, 256))
    maps = head_mesh().maps(points, points - np.array([0, 40, 0], np.float32), 256, 128, body=still)
    depth = cv2.distanceTransform(region_mask(points / 2, OVAL, 128), cv2.DIST_L2, 5)
    flow = np.moveaxis(maps[..., FLOW] * np.float32(64), -1, 0)
    axis = np.arange(128, dtype=np.float32)
    shown = cv2.remap(depth, flow[0] + axis, flow[1] + axis[:, None], cv2.INTER_LINEAR)
    chin = round(float(points[152, 1] - 40) / 2)
    deepest = float(shown[chin + 8 :][maps[chin + 8 :, :, MapChannel.SKIN] == 0].max())
    assert deepest < 3 if pushed else deepest > 4, deepest
    if pushed:
        below = flow[:, chin + 8 : chin + 40, 40:88]
        assert max(np.abs(np.diff(below, axis=axis)).max() for axis in (1, 2)) < 4


def test_no_triangle_beside_the_face_reaches_into_it() -> None:
    """One that does shows hair in a notch of the cheek when the head turns."""
    beside = [corners for corners in head_mesh().triangles.tolist() if max(corners) >= N_LANDMARKS]
    assert beside
    assert min(min(corners) for corners in beside) >= N_LANDMARKS


@pytest.mark.parametrize("turn", [(0.3, 0, 0), (0.2, 0, 0), (0.3, 0, 0.3), (0.2, 0, -0.2)])
def test_a_neck_below_a_nod_has_no_steps(
    turn: tuple[float, ...],
) -> None:
    """A squeezed one folds to a line below the chin; steps are px between neighbouring cells."""
    shape = canonical_face()
    start = Pose(np.eye(3, dtype=np.float32), np.array([128, 110, 0], np.float32), 45.0)
    end = turned_at_neck(start, rotation_matrix(np.array(turn, np.float32)))
    points = to_image(shape, end)
    maps = head_mesh().maps(to_image(shape, start), points, 256, 128)
    jaw = int(points[[172, 397], 1].min() / 2)
    flow, outside = 128 * maps[jaw:, :, FLOW], maps[jaw:, :, MapChannel.SKIN] == 0
    for axis in (0, 1):
        steps = np.abs(np.diff(flow, axis=axis)).max(axis=-1)
        beside = outside & np.roll(outside, -1, axis)
        assert steps[beside[:-1] if axis == 0 else beside[:, :-1]].max() < 4


def test_what_trembles_is_held_and_what_moves_is_followed() -> None:
    start = Pose(np.eye(3, dtype=np.float32), np.array([128, 128, 0], np.float32), 60.0)
    for shift_px, least, most in ((0.2, 0.0, 0.04), (6.0, 5.5, 6.0)):
        moved = replace(start, translation=start.translation + np.float32(shift_px))
        held = steadied(start, moved).translation[0] - 128
        assert least <= held <= most
    held = start
    for frame in range(60):  # slowly, to the right
        pose = replace(start, translation=start.translation + np.float32(0.2 * frame))
        held = steadied(held, pose)
        assert pose.translation[0] - held.translation[0] < 1
