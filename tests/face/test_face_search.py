"""Which way up a photo is, and which of its faces is found."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.face.face_search import find_face, find_faces, find_upright_face, several_faces
from reenact.imaging import turned
from reenact.sources.image_file import read_image
from reenact.targets.library import still_tracker
from support.faces import portrait


@pytest.mark.faces
@pytest.mark.parametrize("name", ["s024", "s047", "s162"])
def test_photos_on_their_side_are_turned_and_upright_ones_are_not(
    faces_dir: Path, name: str
) -> None:
    """In these the landmarks of a detected and of a followed face are far apart."""
    photo = read_image(faces_dir / "stills" / "human" / f"{name}.jpg")
    with closing(still_tracker()) as tracker:
        for turns in range(4):
            found = find_upright_face(turned(photo, turns), tracker)
            assert found is not None
            assert (found[0] + turns) % 4 == 0, turns


@pytest.mark.parametrize(("chosen", "told"), [("1", "tracking.face=1 says"), ("2", "the last one")])
def test_a_number_that_is_too_high_is_told(chosen: str, told: str) -> None:
    what, remedy = several_faces(2, chosen)
    assert what == "There are 2 faces in the picture."
    assert told in remedy


@pytest.mark.parametrize("size", [(2000, 1333), (1333, 2000)])
def test_the_larger_of_two_small_faces_far_apart_is_found(size: tuple[int, int]) -> None:
    width, height = size
    photo = np.full((height, width, 3), 110, np.uint8)
    for left, top, side in ((60, 60, 100), (width - 320, height - 220, 130)):
        face = cv2.resize(portrait()[30:200, 140:310], (side, side), interpolation=cv2.INTER_AREA)
        photo[top : top + side, left : left + side] = face
    with closing(still_tracker()) as tracker:
        found, both = find_face(photo, tracker), find_faces(photo, tracker)
    assert found is not None
    middle = found.points[:, :2].mean(axis=0)
    np.testing.assert_allclose(middle, (width - 320 + 65, height - 220 + 65), atol=15)
    assert [points[:, 0].mean() > width / 2 for points in both] == [False, True]
