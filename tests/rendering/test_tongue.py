"""A tongue that is put out: its place, its size, its light, and the edges of a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reenact import registry
from reenact.config import RendererSettings
from reenact.face.geometry import canonical_face, estimate_pose, rotation_matrix, to_image
from reenact.face.topology import CHIN, LIPS_INNER, LOWER_LIP, MOUTH_CORNERS, NOSE_BASE, UPPER_LIP
from reenact.live.drives import still_expression
from reenact.rendering.mouth_interior import MouthColours
from reenact.rendering.tongue import draw_tongue
from reenact.testing.portrait import portrait_target
from reenact.types import Array, Drive, Image, Pose

SIZE, SKIN = 256, (200, 150, 130)


def face(
    yaw: float = 0.0,
    roll: float = 0.0,
    x: float = 128.0,
    *,
    pitch: float = 0.0,
    gap_iod: float = 0.2,
) -> Array:
    """Return (478, 3) px of the canonical face with an open mouth; iod 60 px."""
    shape = canonical_face().copy()
    shape[[*LIPS_INNER[:10], CHIN], 1] += gap_iod
    turn = rotation_matrix(np.array([pitch, yaw, roll], np.float32))
    return to_image(shape, Pose(turn, np.array([x, 100, 0], np.float32), 60.0))


def drawn(points: Array, out: float, *, alpha: int = 255, zoom: float = 1.0) -> Image:
    """Draw the tongue of a face over plain skin, uint8 (S, S, 4)."""
    size = round(SIZE * zoom)
    person = np.full((size, size, 4), (*SKIN, alpha), np.uint8)
    colours = MouthColours.of(np.ascontiguousarray(person[..., :3]), points)
    red = np.array([190, 111, 104], np.float32)
    colours = replace(colours, tongue=red, exposure=1.0, colourful=1.0)
    draw_tongue(person, points, estimate_pose(points), colours=colours, zoom=zoom, out=out)
    return person


def of_tongue(picture: Image) -> Array:
    """Return which px show it: red, not only shaded skin."""
    red, green, _, _ = np.moveaxis(picture.astype(np.float32), -1, 0)
    return np.asarray(green / np.maximum(red, 1) < 0.68)


def rows_and_columns(picture: Image) -> tuple[Array, Array]:
    rows, columns = np.nonzero(of_tongue(picture))
    return rows.astype(np.float32), columns.astype(np.float32)


def test_it_hangs_over_the_lower_lip_as_far_as_it_is_out() -> None:
    points = face()
    lip, corners = points[LOWER_LIP, 1], points[list(MOUTH_CORNERS), 0]
    ends = []
    for out in (0.25, 0.5, 1.0):
        rows, columns = rows_and_columns(drawn(points, out))
        assert corners.min() < columns.min() < columns.max() < corners.max()
        assert abs(columns.mean() - points[LOWER_LIP, 0]) < 1
        assert rows.min() < lip
        ends.append(rows.max() - lip)
    assert ends[0] < ends[1] < ends[2]
    assert 20 < ends[2] < 40  # 25 mm of 34, which it hangs over the lip, are 24 px
    rows, _ = rows_and_columns(drawn(points, 1.0))
    assert rows.min() > points[NOSE_BASE, 1]


def test_a_larger_picture_shows_the_same_larger() -> None:
    small, large = (drawn(face(), 1.0, zoom=zoom) for zoom in (1.0, 2.0))
    assert of_tongue(large).sum() == pytest.approx(4 * of_tongue(small).sum(), rel=0.1)


def test_it_follows_a_turned_and_a_tilted_head() -> None:
    straight = rows_and_columns(drawn(face(), 1.0))[1].mean()
    for yaw in (0.5, -0.5):
        points = face(yaw)
        rows, columns = rows_and_columns(drawn(points, 1.0))
        ahead = np.sign(points[NOSE_BASE, 0] - points[CHIN, 0]) or 1
        tip = columns[rows > rows.max() - 6].mean()
        assert (tip - points[LOWER_LIP, 0]) * ahead > 2, "it stands out to where the head looks"
        assert abs(columns.mean() - straight) > 5
    points = face(roll=0.6)
    rows, columns = rows_and_columns(drawn(points, 1.0))
    ways = np.stack([columns, rows], axis=1) - points[LOWER_LIP, :2]
    down = points[CHIN, :2] - points[NOSE_BASE, :2]
    way = ways[np.argsort(np.linalg.norm(ways, axis=1))[-20:]].mean(axis=0)
    assert way @ down > 0.95 * np.linalg.norm(way) * np.linalg.norm(down)


def test_it_is_opaque_lit_from_above_and_shades_the_chin() -> None:
    points = face()
    picture = drawn(points, 1.0, alpha=0)
    tongue = of_tongue(picture)
    assert (picture[tongue, 3] > 100).mean() > 0.9
    assert (picture[:20, :, 3] == 0).all()
    picture = drawn(points, 1.0)
    rows, _ = np.nonzero(tongue)
    column = round(float(points[LOWER_LIP, 0])) + 4  # beside the groove
    bright = picture[rows.min() : rows.max(), column, 0].astype(int)
    lip = round(float(points[LOWER_LIP, 1])) - rows.min()
    assert bright[lip - 2 : lip + 10].mean() > bright[-4:].mean() + 20
    assert bright[lip - 2 : lip + 10].mean() > bright[:4].mean() + 20
    below = picture[rows.max() + 3, column, :3].astype(int)
    assert (below < np.array(SKIN) - 4).all()
    assert (picture[rows.max() + 30, column, :3] == SKIN).all()


def test_it_stays_whole_while_the_head_nods() -> None:
    lengths = []
    for pitch in (-0.4, -0.2, 0.0, 0.2, 0.4, 0.5):
        for yaw in (0.0, 0.4):
            tongue = drawn(face(yaw, pitch=pitch), 1.0, zoom=2.0, alpha=0)[..., 3] > 127
            rows, columns = np.nonzero(tongue)
            for column in np.unique(columns)[8:-8]:
                ones = rows[columns == column]
                assert np.ptp(ones) + 1 - len(ones) <= 1, (pitch, yaw, "a seam")
        lengths.append(np.ptp(rows))
    assert np.abs(np.diff(lengths)).max() < 20


def test_closed_lips_keep_it_in() -> None:
    points = canonical_face()
    parted = float(points[LOWER_LIP, 1] - points[UPPER_LIP, 1])
    assert not of_tongue(drawn(face(gap_iod=-parted), 1.0)).any()
    seen = [
        of_tongue(drawn(face(gap_iod=gap - parted), 1.0)).sum() for gap in (0.02, 0.04, 0.06, 0.1)
    ]
    assert np.all(np.diff(seen) >= 0)
    assert seen[-1] > 300


def test_nothing_changes_beside_it() -> None:
    picture = drawn(face(), 1.0)
    assert (picture[:60, :, :3] == SKIN).all()
    assert (picture[:, :60, :3] == SKIN).all()


@pytest.mark.parametrize("x", [-400.0, -5.0, 252.0, 700.0])
def test_a_face_that_leaves_the_picture_takes_it_along(x: float) -> None:
    picture = drawn(face(x=x), 1.0)
    assert picture.shape == (SIZE, SIZE, 4)
    assert of_tongue(picture).any() == (-30 < x < 280)


def test_the_live_generator_shows_it() -> None:
    target = portrait_target()
    renderer = registry.load("renderers", "warp_unet").make(RendererSettings())
    renderer.prepare(target)
    pictures = []
    for tongue in (0.0, 1.0):
        renderer.reset()
        expression = replace(still_expression(), tongue=tongue)
        pictures.append(renderer.render(Drive(target.neutral, expression)).astype(int))
    changed = np.abs(pictures[1] - pictures[0]).max(axis=-1) > 40
    rows, columns = np.nonzero(changed)
    lip = target.neutral[LOWER_LIP]
    assert changed.sum() > 150
    assert abs(columns.mean() - lip[0]) < 12
    assert rows.mean() > lip[1]
