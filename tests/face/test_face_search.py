"""Which way up a photo is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from reenact.face.face_search import find_upright_face, several_faces
from reenact.imaging import turned
from reenact.sources.image_file import read_image
from reenact.targets.library import still_tracker


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
