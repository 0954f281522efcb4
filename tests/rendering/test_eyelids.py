from __future__ import annotations

import cv2
import numpy as np
import pytest

from reenact.face.geometry import canonical_face, estimate_pose, rotation_matrix, to_image
from reenact.rendering.eyes import UPPER_LIDS, lid_sources, smooth_shut_lids
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.residual_flow import ResidualFlow, shipped_residual_flow
from reenact.types import Array, Image, Pose

BOTH = pytest.mark.parametrize("lid", [0, 1])

SCALE = 90.0
LASHES_PX = 3.0
"""Shorter than lashes are, so surely part of them."""


def face(dropped_iod: float = 0.0, roll: float = 0.0, scale: float = SCALE) -> Array:
    """Return (478, 3) px of the canonical face whose lids' edges have gone down."""
    shape = canonical_face().copy()
    for _, edge in UPPER_LIDS:
        shape[edge[1:-1], 1] += dropped_iod
    rotation = rotation_matrix(np.array([0, 0, roll], np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 128, 0], np.float32), scale))


def above_edge(points: Array, lid: int, heights: Array) -> Array:
    """Return (H, 3, 2) places above the middle of a lid's edge, across the eye, px."""
    edge = points[UPPER_LIDS[lid][1], :2]
    x, y = edge[-1] - edge[0]
    upwards = np.array([y, -x]) / np.hypot(x, y)
    return np.asarray(edge[3:6] + heights[:, None, None] * upwards, np.float32)


def sources(places: Array, reference: Array, drive: Array, lid: int) -> tuple[Array, Array]:
    poses = estimate_pose(reference), estimate_pose(drive)
    found, trust = lid_sources(places.reshape(-1, 2), reference, drive, lid, poses)
    return found.reshape(places.shape), trust.reshape(places.shape[:-1])


@BOTH
def test_a_lid_that_rests_is_left_to_the_mesh(lid: int) -> None:
    reference, drive = face(), face(roll=0.2, scale=70.0)
    _, trust = sources(above_edge(drive, lid, np.linspace(0, 5, 6)), reference, drive, lid)
    assert trust.max() < 0.05


@BOTH
def test_lashes_keep_their_length_on_a_shut_lid(lid: int) -> None:
    reference, drive = face(), face(0.12)
    heights = np.linspace(0, LASHES_PX, 7)
    found, trust = sources(above_edge(drive, lid, heights), reference, drive, lid)
    assert trust.min() == 1
    np.testing.assert_allclose(found, above_edge(reference, lid, heights), atol=0.6)


@BOTH
def test_the_crease_stays_the_crease(lid: int) -> None:
    reference, drive = face(), face(0.12, roll=0.3, scale=70.0)
    crease = UPPER_LIDS[lid][0][3:6]
    found, _ = sources(drive[None, crease, :2], reference, drive, lid)
    np.testing.assert_allclose(found[0], reference[crease, :2], atol=1.0)


@BOTH
def test_heights_never_turn_round(lid: int) -> None:
    reference, drive = face(), face(0.15)
    crease, edge = (drive[line[4], :2] for line in UPPER_LIDS[lid])
    shares = np.linspace(0, 1, 30)[:, None]
    found, _ = sources(
        np.asarray(edge + shares * (crease - edge), np.float32), reference, drive, lid
    )
    assert (np.diff(found[:, 1]) <= 0).all()


@BOTH
def test_at_the_corners_the_mesh_takes_over(lid: int) -> None:
    reference, drive = face(), face(0.12)
    corners = [UPPER_LIDS[lid][0][0], UPPER_LIDS[lid][0][-1]]
    assert sources(drive[corners, :2], reference, drive, lid)[1].max() < 0.01


def test_a_lid_without_height_is_no_error() -> None:
    flat = face()
    for crease, edge in UPPER_LIDS:
        flat[edge] = flat[crease]
    for reference, drive in ((flat, face(0.1)), (face(), flat), (flat, flat)):
        found, trust = sources(above_edge(face(), 0, np.linspace(0, 5, 6)), reference, drive, 0)
        assert np.isfinite(found).all()
        assert np.isfinite(trust).all()


def test_the_maps_lead_a_shut_lids_lashes_to_lashes() -> None:
    """Stretched over all of the lid, the mesh alone leads higher and higher above them."""
    reference, drive = face(), face(0.12)
    known = shipped_residual_flow()
    nothing = ResidualFlow(known.components, 0 * known.skin, 0 * known.around)
    flow = HeadMesh(nothing).maps(reference, drive, 256, 128)[..., :2] * 128
    edge = drive[UPPER_LIDS[0][1][4], :2]
    row, column = np.round((edge - (0, 2)) / 2 - 0.25).astype(int)[::-1]
    place = np.array([column, row]) * 2 + 0.5
    height = reference[UPPER_LIDS[0][1][4], 1] - (place + flow[row, column])[1]
    assert height == pytest.approx(edge[1] - place[1], abs=0.6)


def striped() -> Image:
    """Return a picture of skin with dark stripes, as lashes that were pulled out."""
    picture = np.full((256, 256, 3), (200, 160, 140), np.uint8)
    picture[:, ::3] = (90, 70, 60)
    return picture


@BOTH
def test_the_skin_of_a_shut_lid_is_smooth(lid: int) -> None:
    reference, drive = face(), face(0.15)
    picture = striped()
    smooth_shut_lids(picture, reference, drive)
    crease, edge = (drive[line[4], :2] for line in UPPER_LIDS[lid])
    column, row = np.round(edge + 0.6 * (crease - edge)).astype(int)
    skin = picture[row, column - 3 : column + 4].astype(int)
    assert np.ptp(skin, axis=0).max() < 12
    assert skin.mean() > 140, "as bright as skin is without what is dark on it"


def test_lashes_and_all_beside_the_lids_stay() -> None:
    reference, drive = face(), face(0.15)
    picture = striped()
    smooth_shut_lids(picture, reference, drive)
    changed = (picture != striped()).any(axis=2)
    assert changed.any()
    inside = np.zeros((256, 256), np.uint8)
    for crease, edge in UPPER_LIDS:
        outline = np.concatenate([drive[crease, :2], drive[edge[::-1], :2]])
        cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], (1,))
        column, row = np.round(drive[edge[4], :2]).astype(int)
        assert not changed[row - int(LASHES_PX) : row, column - 3 : column + 4].any()
    assert not changed[cv2.dilate(inside, np.ones((3, 3), np.uint8)) == 0].any()


def test_raised_brows_leave_open_eyes_as_they_are() -> None:
    drive = face()
    creases = [point for crease, _ in UPPER_LIDS for point in crease[1:-1]]
    drive[creases, 1] -= 0.15 * SCALE
    picture = striped()
    smooth_shut_lids(picture, face(), drive)
    np.testing.assert_array_equal(picture, striped())


def test_open_eyes_and_eyes_beyond_the_edge_are_left_alone() -> None:
    picture = striped()
    smooth_shut_lids(picture, face(), face(roll=0.2, scale=70.0))
    np.testing.assert_array_equal(picture, striped())
    far_off = face(0.15) + np.array([400, 0, 0], np.float32)
    smooth_shut_lids(picture, face(), far_off)
    np.testing.assert_array_equal(picture, striped())
