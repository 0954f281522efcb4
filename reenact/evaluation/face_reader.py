"""Reads faces from single pictures for the evaluation: landmarks, action units and identity.

Each picture is tracked independently, so that a face is found by what the picture shows and not by
where the previous face was.

The identity is dlib's face descriptor, an optional dependency (`pip install '.[identity]'`). Five
of MediaPipe's landmarks align the face. dlib's own landmark model is never loaded, because it is
licensed for non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from reenact.config import Settings
from reenact.evaluation.clips import Clip
from reenact.face.action_units import action_units
from reenact.face.face_search import refine_face
from reenact.face.geometry import estimate_pose, to_face_frame, to_face_frames
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.lifecycle import ClosesOnExit
from reenact.types import Array, Frame, Image

_NETWORK: Final = "models/dlib_face_recognition_resnet_model_v1.dat"

_FIVE_POINTS: Final = (263, 362, 33, 133, 2)
"""In dlib's order: outer and inner corner of the eye on the right of the picture, the same for the
eye on the left, and the point where the nose meets the lip."""


class FaceDescriptor:
    """Maps a face to 128 numbers; their Euclidean distance measures how different two faces are.

    Below 0.6 two pictures count as the same person (dlib's own threshold). Not thread-safe.
    """

    def __init__(self, dlib: Any, network: Path) -> None:
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(network))

    def describe(self, image: Image, landmarks: Array) -> Array:
        """Return the float32 (128,) descriptor of one face.

        Args:
            image: uint8 (H, W, 3) RGB.
            landmarks: (478, 3) px of that picture.
        """
        points = [
            self._dlib.point(round(float(landmarks[i, 0])), round(float(landmarks[i, 1])))
            for i in _FIVE_POINTS
        ]
        xs, ys = landmarks[:468, 0], landmarks[:468, 1]
        box = self._dlib.rectangle(int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
        shape = self._dlib.full_object_detection(box, self._dlib.points(points))
        return np.asarray(self._network.compute_face_descriptor(image, shape), dtype=np.float32)


def open_descriptor() -> FaceDescriptor | None:
    """Load the descriptor; None if the optional dependency is not installed."""
    try:
        import dlib
    except ImportError:
        return None
    # The package that holds the weights is not imported, because it needs an old setuptools.
    package = find_spec("face_recognition_models")
    for folder in (package.submodule_search_locations or ()) if package else ():
        network = Path(folder) / _NETWORK
        if network.is_file():
            return FaceDescriptor(dlib, network)
    return None


def distance(first: Array, second: Array) -> float:
    """Return the Euclidean distance of two descriptors; below 0.6 they show the same person."""
    return float(np.linalg.norm(first - second))


def own_shape(points: Array, template: Array) -> Array:
    """Map (478, 3) px landmarks to the face frame (iod), with the pose fitted to a template."""
    return to_face_frame(points, estimate_pose(points, template))


def median_shape(points: Array) -> Array:
    """Return the (478, 3) median shape in the face frame of a person's (N, 478, 3) px landmarks.

    People in the clips are mostly at rest, so the median stands in for an unknown neutral.
    Comparisons use the same one on both sides.
    """
    return np.asarray(np.median(to_face_frames(points)[0], axis=0), dtype=np.float32)


def units_of(points: Array, neutral: Array) -> Array:
    """Return the (17,) action units of (478, 3) px landmarks relative to a neutral shape (iod)."""
    return action_units(own_shape(points, neutral), neutral)


class FaceReader(ClosesOnExit):
    """Finds and identifies faces in single pictures. A context manager; not thread-safe."""

    def __init__(self) -> None:
        self._tracker = MediaPipeTracker(Settings().tracking, static=True)
        self._descriptor = open_descriptor()

    def close(self) -> None:
        """Release the tracker's models."""
        self._tracker.close()

    def track(self, image: Image) -> Array | None:
        """Return the (478, 3) px landmarks of the face in a picture; None without a face."""
        self._tracker.reset()
        found = self._tracker.track(Frame(np.ascontiguousarray(image), 0.0, 0))
        return None if found is None else found.points

    def refine(self, image: Image, points: Array) -> Array:
        """Return (478, 3) px landmarks as `target create` finds them, see `refine_face`."""
        return refine_face(np.ascontiguousarray(image), points, self._tracker)

    def refine_photo(self, clip: Clip) -> Clip:
        """Return the clip with the landmarks of its first face, the target's photo, refined."""
        first, landmarks = clip.usable[0], clip.landmarks.copy()
        landmarks[first] = self.refine(clip.images[first], landmarks[first])
        return replace(clip, landmarks=landmarks)

    def describe(self, image: Image, landmarks: Array) -> Array | None:
        """Return the (128,) identity descriptor; None without the optional dependency."""
        if self._descriptor is None:
            return None
        return self._descriptor.describe(np.ascontiguousarray(image), landmarks)

    def person(self, faces: Iterable[tuple[Image, Array]]) -> Array | None:
        """Return the mean descriptor of pictures with landmarks; None if there is no descriptor."""
        known = [self.describe(*one) for one in faces]
        found = [one for one in known if one is not None]
        return np.asarray(np.mean(found, axis=0)) if found else None

    def identity(self, reference: Array | None, image: Image, landmarks: Array) -> float | None:
        """Return the distance between a face's descriptor and a reference descriptor."""
        if reference is None or self._descriptor is None:
            return None
        return distance(
            reference, self._descriptor.describe(np.ascontiguousarray(image), landmarks)
        )
