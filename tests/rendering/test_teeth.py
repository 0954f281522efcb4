from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact import registry
from reenact.config import RendererSettings
from reenact.face.geometry import canonical_face, region_mask, rotation_matrix, to_image
from reenact.face.topology import LIPS_INNER
from reenact.models.warp_unet_inputs import UNKNOWN_PERSON
from reenact.rendering import warp_unet as renderers
from reenact.rendering.mouth import UpperTeeth
from reenact.rendering.warp_unet import WarpUNetSettings
from reenact.types import Array, Image, Pose, Renderer
from support.faces import drive, opened_mouth, portrait_target

SIDE = 256
UPPER = [191, 80, 81, 82, 13, 312, 311, 310, 415]
LOWER = [95, 88, 178, 87, 14, 317, 402, 318, 324]
"""The lips' inner edges without their corners, from the image's left."""


def face(gap_iod: float, yaw: float = 0.0) -> Array:
    """Return (478, 3) px of the canonical face, its lips so far apart."""
    shape = canonical_face().copy()
    aside = shape[LOWER, 0] / (np.abs(shape[LOWER, 0]).max() * 1.2)
    shape[LOWER, 1] = shape[UPPER, 1] + gap_iod * (1 - aside**2)
    rotation = rotation_matrix(np.array([0, yaw, 0], np.float32))
    return to_image(shape, Pose(rotation, np.array([128, 128, 0], np.float32), 80.0))


def bar(points: Array) -> tuple[Image, Array]:
    """Return a dark mouth with one white bar under its upper lip, and the cells inside it."""
    unseen = region_mask((points + 0.5) / 2 - 0.5, LIPS_INNER, SIDE // 2) / np.float32(255)
    picture = np.full((SIDE, SIDE, 3), (60, 20, 20), np.uint8)
    upper = points[[78, *UPPER, 308], :2]
    outline = np.concatenate([upper, upper[::-1] + np.array([0, 9])])
    cv2.fillPoly(picture, [np.round(outline).astype(np.int32)], (225, 225, 225))
    return picture, unseen


def dark_columns(picture: Image, points: Array) -> NDArray[np.intp]:
    """Return the columns of the gaps: where the bar, 4 px below the lip, is darkest."""
    row = round(float(points[13, 1])) + 4
    left, right = (round(float(points[corner, 0])) for corner in (78, 308))
    line = picture[row, left:right, 1].astype(int)
    inner = line[1:-1]
    lowest = (inner <= line[:-2]) & (inner < line[2:]) & (inner < line.max() - 15)
    return np.flatnonzero(lowest) + left + 1


def test_gaps_lie_where_teeth_meet() -> None:
    points = face(0.3)
    picture, unseen = bar(points)
    UpperTeeth(face(0.0)[None]).draw(picture, points, unseen)
    found = dark_columns(picture, points)
    from_middle = (found - points[13, 0]) / 80.0 * 63
    middle = from_middle[np.abs(from_middle).argmin()]
    assert abs(middle) < 1, "between the two incisors"
    for side in (-1, 1):
        outwards = np.sort(side * from_middle[side * from_middle > 1])
        assert outwards[0] == pytest.approx(8.5, abs=1), "a central incisor, mm"
        assert outwards[1] == pytest.approx(13.6, abs=1), "15 mm along the arch, which bends back"


def test_the_middle_gap_turns_with_the_head() -> None:
    columns = []
    for yaw in (-0.4, 0.4):
        points = face(0.3, yaw)
        picture, unseen = bar(points)
        UpperTeeth(face(0.0)[None]).draw(picture, points, unseen)
        found = dark_columns(picture, points)
        columns.append(np.abs(found - points[13, 0]).min())
    assert max(columns) < 5, "px from the middle of the lip, behind which it lies"


def test_what_is_not_white_or_not_unseen_stays() -> None:
    points = face(0.3)
    picture, unseen = bar(points)
    shown = picture.copy()
    teeth = UpperTeeth(face(0.0)[None])
    teeth.draw(shown, points, np.zeros_like(unseen))
    np.testing.assert_array_equal(shown, picture)
    tongue = np.full_like(picture, (180, 90, 90))
    shown = tongue.copy()
    teeth.draw(shown, points, unseen)
    np.testing.assert_array_equal(shown, tongue)
    shown = picture.copy()
    teeth.draw(shown, points, unseen)
    outside = cv2.resize(unseen, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) == 0
    np.testing.assert_array_equal(shown[outside], picture[outside])
    assert (shown != picture).any()


def test_a_target_that_shows_its_teeth_keeps_them() -> None:
    points = face(0.3)
    picture, unseen = bar(points)
    shown = picture.copy()
    UpperTeeth(np.stack([face(0.0), face(0.15)])).draw(shown, points, unseen)
    np.testing.assert_array_equal(shown, picture)


def test_a_slit_is_no_error_and_shows_no_teeth() -> None:
    points = face(0.02)
    picture, _ = bar(face(0.3))
    row = round(float(points[13, 1])) // 2
    unseen = np.zeros((SIDE // 2, SIDE // 2), np.float32)
    unseen[row, 56:72] = 0.6
    shown = picture.copy()
    UpperTeeth(face(0.0)[None]).draw(shown, points, unseen)
    np.testing.assert_array_equal(shown, picture)


@pytest.mark.parametrize("where", [(-300.0, 0.0), (0.0, 400.0), (105.0, 0.0)])
def test_a_mouth_beyond_the_edge_is_no_error(where: tuple[float, float]) -> None:
    points = face(0.3)
    points[:, :2] += np.array(where, np.float32)
    picture, unseen = bar(points)
    UpperTeeth(face(0.0)[None]).draw(picture, points, unseen)
    assert picture.shape == (SIDE, SIDE, 3)


def rendered(person: float, teeth: bool, monkeypatch: pytest.MonkeyPatch) -> Image:
    """Draw the portrait with its mouth open, as if its lips had been together in the photo."""
    portrait = portrait_target()
    shut = portrait.neutral.copy()
    shut[LOWER, 1] = shut[UPPER, 1]
    target = dataclasses.replace(portrait, neutral=shut, landmarks=shut[None])

    def people(pictures: Array, landmarks: Array) -> list[Array]:
        return [np.full((SIDE, SIDE), person, np.float32)]

    monkeypatch.setattr(renderers, "person_coverage", people)
    renderer: Renderer = registry.load("renderers", "warp_unet").make(
        RendererSettings(warp_unet=WarpUNetSettings(teeth=teeth))
    )
    renderer.prepare(target)
    return renderer.render(drive(opened_mouth(shut, 14)))


@pytest.mark.parametrize(("person", "drawn"), [(1.0, True), (UNKNOWN_PERSON, False)])
def test_the_generator_draws_them_for_people_and_where_they_are_wanted(
    person: float, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gaps = rendered(person, True, monkeypatch)
    without = rendered(person, False, monkeypatch)
    assert (with_gaps != without).any() == drawn
