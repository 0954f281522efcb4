"""Tells whom a picture shows, by dlib's face descriptor. For evaluation only.

An optional dependency (`pip install reenact[identity]`). Five of MediaPipe's landmarks align the
face, so that dlib's own landmark model, which is for non-commercial use only, is never loaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from reenact.types import Array, Image

_NETWORK: Final = "models/dlib_face_recognition_resnet_model_v1.dat"

_FIVE_POINTS: Final = (263, 362, 33, 133, 2)
"""In dlib's order: outer and inner corner of the eye on the picture's right, the same on its left,
and the point where the nose meets the lip."""


class FaceDescriptor:
    """Turns a face into 128 numbers; their Euclidean distance tells how alike two faces are.

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
    # The package with the weights is not imported, because that needs an old setuptools.
    package = find_spec("face_recognition_models")
    for folder in (package.submodule_search_locations or ()) if package else ():
        network = Path(folder) / _NETWORK
        if network.is_file():
            return FaceDescriptor(dlib, network)
    return None


def distance(first: Array, second: Array) -> float:
    """Return the Euclidean distance of two descriptors; below 0.6 they are of the same person."""
    return float(np.linalg.norm(first - second))
