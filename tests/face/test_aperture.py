"""Openings keep their shape as the head moves."""

from __future__ import annotations

import pytest

from reenact.face.aperture import LEFT_EYE, MOUTH, RIGHT_EYE, Edges, Opening, growth
from support.faces import posed_face


@pytest.mark.parametrize("edges", [MOUTH, RIGHT_EYE, LEFT_EYE])
@pytest.mark.parametrize(("before_deg", "after_deg"), [(0, 40), (35, 0), (-30, 20), (-20, -45)])
def test_a_rigid_opening_grows_as_its_corners_move_apart(
    edges: Edges, before_deg: float, after_deg: float
) -> None:
    (before, start), (after, end) = posed_face(before_deg), posed_face(after_deg, 75.0)
    shown = Opening(before, edges)
    along, across = growth(shown, start, end)
    assert along == pytest.approx(Opening(after, edges).reach / shown.reach, rel=1e-4)
    assert across == pytest.approx(75 / 60)
