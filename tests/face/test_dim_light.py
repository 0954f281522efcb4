"""Dim faces, and what the tracker sees of them."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from reenact.config import TrackingSettings
from reenact.face import face_search, mediapipe_tracker
from reenact.face.dim_light import brightened
from reenact.face.face_search import find_face, refine_face
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.types import Array, Frame, Image
from support.actor import acted

FACE = np.array([[30, 30, 0], [70, 80, 0]], np.float32)


def test_a_face_in_good_light_stays_as_it_is() -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    assert brightened(image, FACE) is image


def test_a_dim_face_becomes_as_bright_as_one_in_good_light_and_the_window_behind_it_stays() -> None:
    image = np.full((200, 200, 3), 250, np.uint8)
    image[20:100, 20:90] = 25
    before = image.copy()
    result = brightened(image, FACE)
    assert np.abs(result[30:80, 30:70].astype(int) - 100).max() <= 1
    assert np.array_equal(result[150:], image[150:])
    assert np.array_equal(image, before)


def test_a_black_picture_and_a_face_that_has_left_it_are_no_error() -> None:
    assert brightened(np.zeros((50, 50, 3), np.uint8), FACE).shape == (50, 50, 3)
    image = np.full((50, 50, 3), 10, np.uint8)
    assert brightened(image, FACE + np.float32(100)) is image
    assert brightened(image, FACE - np.float32(100)) is image


def darkened(image: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.clip(image * 0.25 + noise, 0, 255).astype(np.uint8)


def tracked(images: list[Image]) -> Array:
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [tracker.track(Frame(image, i / 25, i)) for i, image in enumerate(images)]
    assert None not in found
    return np.stack([one.points for one in found if one is not None])


def test_the_tracker_sees_more_of_a_dim_face(monkeypatch: pytest.MonkeyPatch) -> None:
    bright = acted()[40:80]  # she speaks
    dim = [darkened(image) for image in bright]
    true = tracked(bright)

    def error() -> float:
        return float(np.linalg.norm((tracked(dim) - true)[5:, :468, :2], axis=-1).mean())

    with_light = error()
    monkeypatch.setattr(mediapipe_tracker, "brightened", lambda image, face: image)
    assert with_light < 0.85 * error()


def test_a_dim_photos_landmarks_are_found_more_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    image = acted()[0]
    with closing(MediaPipeTracker(TrackingSettings(), static=True)) as tracker:
        found = find_face(image, tracker)
        assert found is not None
        true = refine_face(image, found.points, tracker)

        def error() -> float:
            seen = refine_face(darkened(image), found.points, tracker)
            return float(np.linalg.norm((seen - true)[:468, :2], axis=-1).mean())

        with_light = error()
        monkeypatch.setattr(face_search, "brightened", lambda image, face: image)
        assert with_light < 0.9 * error()
