"""Glasses that are found in a picture of a face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import canonical_face, estimate_pose, filled_outline, to_image
from reenact.face.glasses import Rim, find_glasses
from reenact.targets.library import open_target
from reenact.types import Pose
from support.spectacles import bare_face, put_on, rims

SIDE, IOD = 384, 90.0
POINTS = to_image(
    canonical_face(), Pose(np.eye(3, dtype=np.float32), np.array([192, 150, 0], np.float32), IOD)
)


def on_rims(found: tuple[Rim, Rim], coverage: NDArray[np.uint8]) -> float:
    """Return the share of what is covered that lies on the rims."""
    lenses, within = (
        filled_outline(first, coverage.shape) | filled_outline(second, coverage.shape)
        for first, second in zip(*found, strict=True)
    )
    return float(((within > 127) & (lenses < 128))[coverage > 127].mean())


def test_glasses_are_found() -> None:
    coverage = rims(POINTS, SIDE, IOD)
    found = find_glasses(put_on(bare_face(POINTS, SIDE), coverage), POINTS)
    assert found is not None
    assert on_rims(found, rims(POINTS, SIDE, IOD, bridge=False)) > 0.95
    for edge in (edge for rim in found for edge in rim):
        x, y = np.round(edge).astype(int).T
        assert (coverage[y, x] > 127).mean() < 0.15, "beside the rim, or at the bridge"
    right, left = found
    assert right.inner[:, 0].max() < POINTS[168, 0] < left.inner[:, 0].min()


def test_a_bare_face_wears_none() -> None:
    assert find_glasses(bare_face(POINTS, SIDE), POINTS) is None


def test_the_outlines_of_large_drawn_eyes_are_no_glasses() -> None:
    drawn = put_on(bare_face(POINTS, SIDE), rims(POINTS, SIDE, IOD, bridge=False))
    assert find_glasses(drawn, POINTS) is None


def test_a_real_face_wears_what_it_wears() -> None:
    target = open_target("astronaut", 512)
    picture, points = np.asarray(target.references[0]), target.neutral
    assert find_glasses(picture, points) is None
    size, iod = len(picture), estimate_pose(points).scale
    found = find_glasses(put_on(picture, rims(points, size, iod)), points)
    assert found is not None
    assert on_rims(found, rims(points, size, iod, bridge=False)) > 0.7


def test_a_face_at_the_pictures_edge_is_looked_at_as_far_as_it_is_seen() -> None:
    points = POINTS - np.array([150, 120, 0], np.float32)
    assert find_glasses(bare_face(points, SIDE), points) is None


def test_only_a_clear_bridge_makes_weak_rims_count() -> None:
    coverage = rims(POINTS, SIDE, IOD, bridge=False)
    bridge = np.where(coverage > 0, 0, rims(POINTS, SIDE, IOD))
    for share, counts in (0.5, False), (1.0, True):
        worn = np.round(coverage / 6 + share * bridge).astype(np.uint8)
        found = find_glasses(put_on(bare_face(POINTS, SIDE), worn), POINTS)
        assert (found is not None) == counts
