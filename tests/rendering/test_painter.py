"""Pictures that are composed from references."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.face.geometry import canonical_face, to_image
from reenact.models.warp_unet_inputs import FLOW, MapChannel
from reenact.rendering.layers import Reference
from reenact.rendering.painter import Painter
from reenact.types import Array, Body, MovedPart, Pose

SIZE = 256
AT_REST = Pose(np.eye(3, dtype=np.float32), np.array([128, 90, 0], np.float32), 40.0)


def photo_of_rows(turns: int = 0, rest: int = 0) -> tuple[Reference, Array]:
    """Return a photo whose rows become brighter downwards, and whose landmarks are calm.

    The photo is turned by quarters, counterclockwise. Its brightest rows are the last ones but
    `rest`, which show it mirrored.
    """
    rows = np.arange(SIZE - rest, dtype=np.uint8)
    rows = np.repeat(np.pad(rows, (0, rest), mode="reflect")[:, None], SIZE, axis=1)
    points = to_image(canonical_face(), AT_REST)
    picture = np.ascontiguousarray(np.rot90(np.dstack([rows] * 3), turns))
    return Reference.of(picture, np.full((SIZE, SIZE), 255, np.uint8), points), points


@pytest.mark.parametrize("rest", [0, 20])
@pytest.mark.parametrize(("turns", "shift"), [(0, (0, -0.1)), (1, (-0.1, 0)), (3, (0.1, 0))])
def test_a_body_that_leaves_an_edge_does_not_end_in_streaks(
    turns: int, shift: tuple[float, float], rest: int
) -> None:
    """The photo's last rows are stretched: each is shown, and none much more than twice."""
    reference, points = photo_of_rows(turns, rest)
    shown = np.zeros((SIZE // 2, SIZE // 2), bool)
    shown[: (SIZE - rest) // 2] = True
    rows, columns = np.nonzero(np.rot90(shown, turns))
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    painter = Painter(reference, inside=inside)
    moved = MovedPart(np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32), 1.0)
    for body, least in ((Body(torso=moved), 0.4), (Body(), 0.9)):
        picture = np.rot90(painter.paint(points, AT_REST, body=body)[0], -turns)
        place = SIZE // 2 if turns == 0 else {1: 20, 3: -20}[turns]
        last = picture[: SIZE - rest][-30:-2, place, 0].astype(int)
        assert np.diff(last).min() >= 0
        assert (last[-1] - last[0]) / (len(last) - 1) > least
        assert last[-1] > SIZE - rest - 11


def test_what_is_stretched_ends_beside_the_face() -> None:
    """A body that moves aside leaves the reference's face as it is, however near the edge is."""
    reference, points = photo_of_rows(1)
    inside = slice(None), slice(0, int(points[:, 0].max() / 2) + 4)
    moved = Body(torso=MovedPart(np.array([[1, 0, -0.05], [0, 1, 0]], np.float32), 1.0))
    calm, drawn = (
        Painter(reference, inside=inside).paint(points, AT_REST, body=body)[1]
        for body in (Body(), moved)
    )
    face = calm[..., MapChannel.SKIN] > 0.5
    np.testing.assert_allclose(drawn[face][:, FLOW], calm[face][:, FLOW], atol=1e-3)


def test_a_calm_face_is_its_reference() -> None:
    reference, points = photo_of_rows()
    picture, _ = Painter(reference).paint(points, AT_REST)
    assert np.abs(picture[..., 0].astype(int) - np.arange(SIZE)[:, None]).max() <= 2
