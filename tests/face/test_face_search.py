"""Which way up a photo is, and which of its faces is found."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.config import TrackingSettings
from reenact.face.face_search import (
    find_face,
    find_faces,
    find_upright_face,
    refine_face,
    several_faces,
)
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.imaging import turned
from reenact.sources.image_file import read_image
from reenact.targets.library import still_tracker
from reenact.types import Frame, Image
from support.faces import portrait, portrait_landmarks


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


def canvas_with(*faces: tuple[int, int, int], size: tuple[int, int] = (1600, 900)) -> Image:
    """Return a plain picture with the portrait's face at (left, top) with a side, px."""
    canvas = np.full((size[1], size[0], 3), 110, np.uint8)
    for left, top, side in faces:
        face = cv2.resize(portrait()[30:200, 140:310], (side, side), interpolation=cv2.INTER_AREA)
        canvas[top : top + side, left : left + side] = face
    return canvas


def test_small_faces_beside_a_large_one_are_searched_for_if_that_is_asked() -> None:
    photo = canvas_with((980, 200, 500), (100, 100, 90), (500, 600, 240))
    with closing(still_tracker()) as tracker:
        (large,) = find_faces(photo, tracker)
        every = find_faces(photo, tracker, thoroughly=True)
    middles = [points[:, :2].mean(axis=0) for points in every]
    np.testing.assert_allclose(middles, [(145, 145), (620, 720), (1230, 450)], atol=30)
    np.testing.assert_allclose(large[:, :2].mean(axis=0), middles[2], atol=5)


def test_a_face_that_is_larger_than_the_picture_is_found() -> None:
    left, top = 192, 84
    close = portrait()[top:162, left:258]
    photo = cv2.resize(close, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    with closing(still_tracker()) as tracker:
        found = find_face(np.asarray(photo, np.uint8), tracker)
    assert found is not None
    assert found.size == (264, 312)
    apart = found.points[:, :2] / 4 + (left, top) - portrait_landmarks().points[:, :2]
    assert np.abs(apart).mean() < 1.5


def test_a_texture_is_no_face() -> None:
    """The tracker finds a face in several views of it, and another one in each."""
    rng = np.random.default_rng(0)
    layers = []
    for px in (8, 16, 32, 64):
        coarse = rng.uniform(0, 1, (640 // px, 960 // px, 1)).repeat(3, 2)
        coarse += 0.15 * rng.uniform(0, 1, coarse.shape)
        layers.append(cv2.resize(coarse, (960, 640), interpolation=cv2.INTER_CUBIC))
    grey = np.sum(layers, axis=0)
    texture = np.asarray(255 * (grey - grey.min()) / np.ptp(grey), np.uint8)
    with closing(still_tracker()) as tracker:
        assert find_face(texture, tracker) is None
        assert find_faces(texture, tracker) == []


@pytest.mark.parametrize(("roll_deg", "turns"), [(-50, 0), (50, 0), (75, 3), (-75, 1)])
def test_a_face_that_leans_is_left_and_one_that_lies_is_turned(roll_deg: int, turns: int) -> None:
    affine = cv2.getRotationMatrix2D((225, 120), roll_deg, 1)
    rolled = cv2.warpAffine(portrait(), affine, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    with closing(still_tracker()) as tracker:
        found = find_upright_face(np.asarray(rolled, np.uint8), tracker)
    assert found is not None
    assert found[0] == turns


def test_a_face_that_is_clear_no_way_up_is_left_as_it_is() -> None:
    coarse = cv2.resize(portrait(), (51, 51), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC)
    with closing(still_tracker()) as tracker:
        found = find_upright_face(np.asarray(blurred, np.uint8), tracker)
    assert found is not None
    assert found[0] == 0
    apart = found[1].points[:, :2] - portrait_landmarks().points[:, :2]
    assert np.abs(apart).mean() < 10


def test_refined_landmarks_are_those_of_a_face_that_moves_a_little() -> None:
    """A face that keeps quite still, as in a photo, is cut out in the same way every time."""
    followed = []
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        for i, (x, y) in enumerate(np.random.default_rng(3).normal(size=(60, 2))):
            moved = cv2.warpAffine(
                portrait(), np.array([[1, 0, x], [0, 1, y]]), (512, 512), borderMode=1
            )
            landmarks = tracker.track(Frame(np.asarray(moved, np.uint8), i / 30, i))
            assert landmarks is not None
            followed.append(landmarks.points[:, :2] - (x, y))

    def apart_px(shaken: bool) -> float:
        known = portrait_landmarks().points
        with closing(still_tracker()) as tracker:
            refined = refine_face(portrait(), known, tracker, shaken=shaken)
        return float(np.abs(refined[:, :2] - np.mean(followed[6:], axis=0)).mean())

    assert apart_px(True) < 0.85 * apart_px(False)


def test_a_known_face_is_refined_and_never_exchanged_for_another() -> None:
    photo = canvas_with((100, 100, 300), (420, 100, 300), size=(900, 600))
    with closing(still_tracker()) as tracker:
        left, right = find_faces(photo, tracker)
        for face in (left, right):
            refined = refine_face(photo, face + np.float32(3), tracker)
            assert np.abs(refined - face)[:, :2].mean() < 1.5
        across = np.array([1, 0, 0], np.float32)
        for wrong in (
            left + 450 * across,  # nobody is there
            left + 150 * across,  # between the two
            (left - left.mean(axis=0)) * 1.6 + left.mean(axis=0),  # of another size
            (left - left.mean(axis=0)) * 0.6 + left.mean(axis=0),
        ):
            kept = refine_face(photo, np.asarray(wrong, np.float32), tracker)
            np.testing.assert_array_equal(kept, np.asarray(wrong, np.float32))
