"""Pictures that are composed from references."""

from __future__ import annotations

import numpy as np

from reenact.face.geometry import canonical_face, to_image
from reenact.rendering.layers import Reference
from reenact.rendering.painter import Painter
from reenact.types import Array, Body, MovedPart, Pose

SIZE = 256
AT_REST = Pose(np.eye(3, dtype=np.float32), np.array([128, 90, 0], np.float32), 40.0)


def photo_of_rows() -> tuple[Reference, Array]:
    """Return a photo whose rows become brighter downwards, and whose landmarks are calm."""
    rows = np.repeat(np.arange(SIZE, dtype=np.uint8)[:, None], SIZE, axis=1)
    points = to_image(canonical_face(), AT_REST)
    picture = np.dstack([rows] * 3)
    return Reference.of(picture, np.full((SIZE, SIZE), 255, np.uint8), points), points


def test_a_body_that_rises_does_not_end_in_streaks() -> None:
    """The lowest rows are stretched: each is shown, and none more than twice."""
    reference, points = photo_of_rows()
    risen = MovedPart(np.array([[1, 0, 0], [0, 1, -0.1]], np.float32), 1.0)
    painter = Painter(reference)
    for body, least in ((Body(torso=risen), 0.4), (Body(), 0.9)):
        picture, _ = painter.paint(points, AT_REST, body=body)
        lowest = picture[-30:-2, SIZE // 2, 0].astype(int)
        assert np.diff(lowest).min() >= 0
        assert (lowest[-1] - lowest[0]) / (len(lowest) - 1) > least
        assert lowest[-1] > 245


def test_a_calm_face_is_its_reference() -> None:
    reference, points = photo_of_rows()
    picture, _ = Painter(reference).paint(points, AT_REST)
    assert np.abs(picture[..., 0].astype(int) - np.arange(SIZE)[:, None]).max() <= 2
