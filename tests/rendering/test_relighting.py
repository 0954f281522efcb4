"""The light that stays where it is while a head turns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from reenact.face.geometry import estimate_pose, rotation_matrix
from reenact.face.topology import N_SKIN
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import MAP_CHANNELS, SEEN_CHANNELS, MapChannel
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import grid_to_crop, interpolate, rasterise
from reenact.rendering.relighting import MAX_LOG_GAIN, TRUST, Lighting, normals
from reenact.types import Array, Image
from support.faces import portrait_target, posed_face, turned

LAMP = np.array([0.4, -0.3, -0.2], np.float32)
"""By how much the logarithm of the luma grows along a normal: from the right, above and before."""

RIGHT_CHEEK, LEFT_CHEEK = 50, 280
"""Of the person: at the left and at the right of the picture."""


def frontal_face() -> Array:
    points, _ = posed_face(yaw_degrees=0)
    return points


def lit_face(points: Array, size_px: int = 256, lamp: Array = LAMP) -> Image:
    """Draw a face of even skin, lit by a lamp."""
    bright = 100 * np.exp(normals(points, estimate_pose(points)) @ lamp)
    mesh = head_mesh()
    skin = mesh.triangles[mesh.triangles.max(axis=1) < N_SKIN]
    scale, shift = grid_to_crop(size_px, size_px)
    places = (points[:, :2] - shift) / scale
    cells = rasterise(places, skin, size_px, points[:, 2])
    values = np.concatenate([bright, np.zeros(len(points) - N_SKIN)])[:, None]
    luma = interpolate(cells, places, skin, values.astype(np.float32))
    return np.asarray(np.repeat(np.round(luma), 3, axis=-1), np.uint8)


def gain(picture: Image, points: Array, driven: Array) -> Array:
    lighting = Lighting.of(picture, points)
    return lighting.gain(driven, estimate_pose(driven))


def test_normals_point_out_of_the_face() -> None:
    points = frontal_face()
    facing = normals(points, estimate_pose(points))
    np.testing.assert_allclose(np.linalg.norm(facing, axis=1), 1, atol=1e-4)
    nose, chin, right_temple, left_temple = facing[[4, 152, 234, 454]]
    assert nose[2] < -0.9
    assert chin[1] > 0.5
    assert right_temple[0] < -0.7
    assert left_temple[0] > 0.7
    around = normals(turned(points, 40), estimate_pose(turned(points, 40)))
    expected = facing @ rotation_matrix(np.radians(np.array([0, 40, 0], np.float32))).T
    np.testing.assert_allclose(around, expected, atol=0.02)


@pytest.mark.parametrize("size_px", [256, 512])
def test_a_turned_face_is_as_bright_as_the_lamp_makes_it(size_px: int) -> None:
    points = frontal_face() * np.float32(size_px / 256)
    driven = turned(points, 25)
    seen = gain(lit_face(points, size_px), points, driven)
    facing, before = (normals(face, estimate_pose(face)) for face in (driven, points))
    true = (facing - before) @ LAMP
    inner = (facing[:, 2] < -0.5) & (before[:, 2] < -0.5)
    told = np.log(seen)
    assert np.corrcoef(told[inner], true[inner])[0, 1] > 0.98
    assert (told @ true) / (true @ true) == pytest.approx(TRUST, abs=0.15)


def test_a_face_darkens_as_it_turns_away_from_the_lamp() -> None:
    points = frontal_face()
    picture = lit_face(points)
    for yaw_deg in (25, -25):
        driven = turned(points, yaw_deg)
        nose = normals(driven, estimate_pose(driven))[4]
        cheeks = gain(picture, points, driven)[[RIGHT_CHEEK, LEFT_CHEEK]]
        # The lamp stands at the right of the picture.
        assert (cheeks > 1.01).all() if nose[0] > 0.2 else (cheeks < 0.95).all()


def test_a_face_at_rest_or_in_even_light_keeps_its_brightness() -> None:
    points = frontal_face()
    np.testing.assert_array_equal(gain(lit_face(points), points, points), 1)
    even = np.full((256, 256, 3), 120, np.uint8)
    np.testing.assert_allclose(gain(even, points, turned(points, 30)), 1, atol=1e-3)


def test_light_is_told_from_beards_spots_and_black() -> None:
    """A dark beard counts for little; nothing makes a gain without bounds."""
    points = frontal_face()
    picture = lit_face(points)
    driven = turned(points, 20)
    plain = gain(picture, points, driven)
    bearded = picture.copy()
    chin = points[152, :2].astype(int)
    cv2.circle(bearded, chin.tolist(), 25, (15, 15, 15), -1)
    assert np.abs(np.log(gain(bearded, points, driven)) - np.log(plain)).max() < 0.1
    noise = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)
    for wild in (np.zeros_like(picture), lit_face(points, lamp=8 * LAMP), noise):
        seen = gain(wild, points, turned(points, 60))
        assert np.isfinite(seen).all()
        assert (np.abs(np.log(seen)) <= MAX_LOG_GAIN + 1e-5).all()


def test_maps_carry_the_light_of_skin_alone() -> None:
    points = frontal_face()
    lighting = Lighting.of(lit_face(points), points)
    driven = turned(points, 25)
    maps = head_mesh().maps(points, driven, 256, 128, lighting)
    light = maps[..., MapChannel.LIGHT]
    assert light[maps[..., MapChannel.SKIN] > 0].std() > 0.02
    assert (light[:3] == 0).all()
    unlit = head_mesh().maps(points, driven, 256, 128)
    assert (unlit[..., MapChannel.LIGHT] == 0).all()
    np.testing.assert_array_equal(unlit[..., :SEEN_CHANNELS], maps[..., :SEEN_CHANNELS])


def test_the_generator_makes_the_head_brighter_by_so_much() -> None:
    target = portrait_target()
    network = WarpUNet().eval()
    reference = torch.from_numpy(target.references[0]).permute(2, 0, 1)[None] / 127.5 - 1
    background, features = network.encode(reference, torch.ones_like(reference[:, :1]), reference)
    maps = torch.zeros(1, MAP_CHANNELS, 128, 128)
    lit = maps.clone()
    lit[:, MapChannel.LIGHT] = -0.2
    with torch.no_grad():
        plain, dark = (network(reference, background, features, m)[1] + 1 for m in (maps, lit))
    # An untrained network's share of the head is one half, everywhere.
    torch.testing.assert_close(dark, plain * 0.9)
