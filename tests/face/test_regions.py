"""Regions share out the face, and lids and lips meet without crossing."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.face.action_units import LIP_PAIRS
from reenact.face.geometry import canonical_face
from reenact.face.regions import (
    LID_INDEX,
    PARTS,
    REGIONS,
    apply_contact,
    lid_gaps,
    lip_gaps,
    part_weights,
    region_weights,
)
from reenact.face.topology import BROW_LEFT, EYE_RIGHT, LIPS_OUTER


def test_regions_and_parts_share_out_the_face() -> None:
    weights, parts = region_weights(), part_weights()
    assert weights.min() >= 0
    assert weights.sum(axis=0).max() <= 1 + 1e-6
    np.testing.assert_allclose(parts.sum(axis=0), 1, atol=1e-6)
    for landmark, region, part in (
        (LIPS_OUTER[0], "mouth", "mouth"),
        (EYE_RIGHT[3], "eyes", "right eye"),
        (BROW_LEFT[2], "brows", "left brow"),
    ):
        assert weights[REGIONS.index(region), landmark] == 1
        assert parts[PARTS.index(part), landmark] == pytest.approx(1)


def test_shut_lids_meet_and_leave_the_skin_below_the_eyes_in_place() -> None:
    face = canonical_face()
    shut = apply_contact(face, face, np.zeros(len(LID_INDEX), np.float32))
    assert lid_gaps(face).max() > 0.1
    np.testing.assert_allclose(lid_gaps(shut), 0, atol=0.005)
    below = face[:, 1] > face[LID_INDEX[:, 1], 1].min()
    assert not (shut - face)[below].any()


@pytest.mark.parametrize("at_rest", [0.0, 0.02])
def test_lips_meet_half_way_or_where_they_cross_at_rest(at_rest: float) -> None:
    upper, lower = np.array(LIP_PAIRS).T
    rest = canonical_face().copy()
    rest[upper, 1] = rest[lower, 1] + np.float32(at_rest)
    np.testing.assert_array_equal(apply_contact(rest, rest, None)[upper], rest[upper])
    crossed = rest.copy()
    crossed[upper, 1] += 0.02
    crossed[lower, 1] -= 0.04
    moved = apply_contact(crossed, rest, None) - crossed
    np.testing.assert_allclose(lip_gaps(crossed + moved), -at_rest, atol=1e-5)
    np.testing.assert_allclose(moved[upper, 1], -0.03, atol=1e-5)
    assert not moved[[78, 308]].any(), "the corners stay"
