"""The invented face that `demo_actor` animates, composed from two portraits in the public domain.

Hat, uniform, hair and lower face are Grace Hopper's (United States Navy, shipped with matplotlib).
The region of the eyes is Eileen Collins's (NASA, shipped with scikit-image), warped to the other
face and blended in (Pérez 2003, Poisson image editing). Without the glasses, a tracker sees the
lids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import crop_transform, region_mask
from reenact.face.topology import BROW_LEFT, BROW_RIGHT
from reenact.imaging import crop_image
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.sources.image_file import read_image
from reenact.types import Array, Frame, Image, Tracker

SIZE_PX: Final = 512

_PATCH: Final = (
    (127, -4, -10), (70, 0, -16), (105, 0, -14), (107, 0, -14), (336, 0, -14), (334, 0, -14),
    (300, 0, -16), (356, 4, -10), (454, 2, 0), (352, 10, 14), (280, 20, 26), (329, 12, 26),
    (420, 12, 10), (195, 0, 10), (198, -12, 10), (100, -12, 26), (50, -20, 26), (123, -10, 14),
    (234, -2, 0),
)  # fmt: skip
"""Outline of the replaced patch, from the brows to below the glasses: (landmark, dx, dy) in px."""

_ARMS: Final = ((92, 150), (365, 415))
"""Columns of the crop where the arms of the glasses run to the ears."""

_DARK: Final = 120
"""HSV value below which a pixel belongs to these arms."""

_BROWS: Final = 0.3
"""Share by which the brows, which are pale in the portrait, are darkened."""


def composed_portrait(tracker: Tracker) -> Image:
    """Return the invented face, uint8 (512, 512, 3) RGB; `tracker` must track single pictures."""
    import matplotlib

    officer = read_image(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    picture, points = _crop(officer[: officer.shape[1]], tracker)
    other, other_points = _astronaut(tracker)
    maps = head_mesh().maps(other_points, points, SIZE_PX, SIZE_PX // 2)
    eyes = warp_image(other, source_map(maps, SIZE_PX))
    outline = np.array([points[i, :2] + (dx, dy) for i, dx, dy in _PATCH])
    patch = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    cv2.fillPoly(patch, [np.round(outline).astype(np.int32)], (255,))
    x, y, width, height = cv2.boundingRect(patch)
    blended = cv2.seamlessClone(
        eyes,
        _without_arms(picture, points),
        patch,
        (x + width // 2, y + height // 2),
        cv2.NORMAL_CLONE,
    )
    brows = region_mask(points, BROW_RIGHT, SIZE_PX) | region_mask(points, BROW_LEFT, SIZE_PX)
    shade = _BROWS * cv2.GaussianBlur(brows.astype(np.float32) / 255, (0, 0), 3)
    return np.asarray(blended * (1 - shade[..., None]), dtype=np.uint8)


def _astronaut(tracker: Tracker) -> tuple[Image, Array]:
    from skimage import data

    return _crop(data.astronaut(), tracker)  # type: ignore[no-untyped-call]


def _crop(picture: Image, tracker: Tracker) -> tuple[Image, Array]:
    """Crop the face, and track its landmarks in the crop."""
    image = np.ascontiguousarray(picture)
    crop = crop_image(image, crop_transform(_landmarks(image, tracker), SIZE_PX), SIZE_PX)
    return crop, _landmarks(crop, tracker)


def _landmarks(image: Image, tracker: Tracker) -> Array:
    found = tracker.track(Frame(image, 0.0, 0))
    if found is None:
        raise RuntimeError("No face was found in the portrait.")
    return found.points


def _without_arms(picture: Image, points: Array) -> Image:
    """Inpaint the dark arms of the glasses beside the face."""
    value = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 2]
    band = np.zeros(value.shape, np.uint8)
    eye_line = int(points[159, 1])
    for left, right in _ARMS:
        band[eye_line - 35 : eye_line + 18, left:right] = 255
    dark = np.where(value < _DARK, band, 0).astype(np.uint8)
    arms = cv2.dilate(dark, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(picture, arms, 3, cv2.INPAINT_TELEA), dtype=np.uint8)
