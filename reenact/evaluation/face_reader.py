"""Reads faces off single pictures for the evaluation protocols: landmarks, action units, identity.

Every picture is tracked by itself, so that a rendered face is found by what it shows and not by
where the last one was.
"""

from __future__ import annotations

import numpy as np

from reenact.config import Settings
from reenact.evaluation.identity import distance, open_descriptor
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.lifecycle import ClosesOnExit
from reenact.types import Array, Frame, Image


def own_shape(points: Array, template: Array) -> Array:
    """Take (478, 3) px landmarks into the face frame (iod), with the pose fitted to a template."""
    return to_face_frame(points, estimate_pose(points, template))


def median_shape(points: Array) -> Array:
    """Return the (478, 3) median shape in the face frame of a person's (N, 478, 3) px landmarks.

    The people in the clips are at rest most of the time, so it stands for the neutral if none is
    known. Comparisons use the same one for both sides.
    """
    shapes = np.stack([to_face_frame(one, estimate_pose(one)) for one in points])
    return np.asarray(np.median(shapes, axis=0), dtype=np.float32)


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
        found = self._tracker.track(Frame(np.ascontiguousarray(image), 0.0, 0))
        return None if found is None else found.points

    def describe(self, image: Image, landmarks: Array) -> Array | None:
        """Return the (128,) identity descriptor; None without the optional dependency."""
        if self._descriptor is None:
            return None
        return self._descriptor.describe(np.ascontiguousarray(image), landmarks)

    def identity(self, reference: Array | None, image: Image, landmarks: Array) -> float | None:
        """Return the distance of a face's descriptor to that of a reference, see `identity`."""
        if reference is None or self._descriptor is None:
            return None
        return distance(
            reference, self._descriptor.describe(np.ascontiguousarray(image), landmarks)
        )
