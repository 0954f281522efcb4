"""A drawn character on a transparent background, dark enough that white beside it shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from reenact.face.geometry import canonical_face, to_image
from reenact.types import Array, Pose

SIZE: tuple[int, int] = (400, 500)
"""Width and height, px."""

BRIGHTEST = 110
"""The largest value of its colours."""

_FINE = 4


def drawn_character() -> NDArray[np.uint8]:
    """Return it as uint8 (H, W, 4) RGBA with soft edges; clear px are black, as editors store."""
    canvas = np.zeros((SIZE[1] * _FINE, SIZE[0] * _FINE, 4), np.float32)
    cv2.rectangle(canvas, _at(120, 370), _at(280, 520), (30, 50, 90, 255), -1)
    cv2.ellipse(canvas, _at(200, 235), _at(120, 170), 0, 0, 360, (BRIGHTEST, 80, 60, 255), -1)
    for x in (158, 242):
        cv2.circle(canvas, _at(x, 200), 14 * _FINE, (20, 20, 60, 255), -1)
    cv2.ellipse(canvas, _at(200, 320), _at(40, 6), 0, 0, 360, (80, 20, 20, 255), -1)
    blurred = cv2.GaussianBlur(canvas, (0, 0), 1.2 * _FINE)
    small = cv2.resize(blurred, SIZE, interpolation=cv2.INTER_AREA)
    alpha = small[..., 3:]
    colours = np.where(alpha >= 0.5, 255 * small[..., :3] / np.maximum(alpha, 0.5), 0)
    return np.dstack([np.round(colours), np.round(alpha)]).clip(0, 255).astype(np.uint8)


def character_landmarks() -> Array:
    """Return its (478, 3) landmarks, px."""
    middle = np.array([200, 235, 0], np.float32)
    return to_image(canonical_face(), Pose(np.eye(3, dtype=np.float32), middle, 90.0))


def write_rgba(path: Path, rgba: NDArray[np.uint8]) -> Path:
    """Store RGBA px and return the path."""
    PillowImage.fromarray(rgba).save(path)
    return path


def _at(x: int, y: int) -> tuple[int, int]:
    return x * _FINE, y * _FINE
