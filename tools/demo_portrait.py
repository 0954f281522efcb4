"""The invented face that `demo_actor` animates, composed from two portraits in the public domain.

Hat, uniform, hair and lips are Grace Hopper's (United States Navy, shipped with matplotlib). Her
upper face is replaced by Eileen Collins's (NASA, shipped with scikit-image), warped to her features
and given the colours of her skin; below the nose the two are mixed. Without the glasses, a tracker
sees the lids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import crop_transform, region_mask
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    NOSE_BASE,
    OVAL,
)
from reenact.imaging import crop_image
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.sources.image_file import read_image
from reenact.types import Array, Frame, Image, Tracker

SIZE_PX: Final = 512
"""Side of the crop in which the faces are mixed."""

_ABOVE_NAME_TAG: Final = 480
"""Rows of the officer's portrait above her name tag."""

_ZOOM: Final = 1.5
"""Enlargement of the portrait, after which its face has about the size of the crop's."""

_ARMS: Final = ((121, 152), (358, 399))
"""Columns of the crop where the arms of the glasses run to the ears."""

_DARK: Final = 130
"""HSV value below which a pixel belongs to these arms."""

_LOWER_SHARE: Final = 0.5
"""Share of the second face below the nose."""

_UPPER_LID: Final = 159
_BROW_TOPS: Final = [105, 334]


def composed_portrait(tracker: Tracker) -> Image:
    """Return the invented officer, uint8 (H, W, 3) RGB; `tracker` must track single pictures."""
    import matplotlib
    from skimage import data

    officer = read_image(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    portrait = np.asarray(cv2.resize(officer[:_ABOVE_NAME_TAG], None, fx=_ZOOM, fy=_ZOOM), np.uint8)
    picture, points, to_crop = _crop(portrait, tracker)
    other, other_points, _ = _crop(data.astronaut(), tracker)  # type: ignore[no-untyped-call]
    maps = head_mesh().maps(other_points, points, SIZE_PX, SIZE_PX // 2)
    warped = warp_image(other, source_map(maps, SIZE_PX))
    face = _with_colours(warped, picture, points)
    share = _share(points)
    blended = cv2.blendLinear(face, _without_arms(picture, points), share, 1 - share)
    cv2.warpAffine(
        blended,
        to_crop,
        portrait.shape[1::-1],
        dst=portrait,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return portrait


def _crop(picture: Image, tracker: Tracker) -> tuple[Image, Array, Array]:
    """Crop the face; return the crop, its landmarks, and the (2, 3) map to its px."""
    to_crop = crop_transform(_landmarks(picture, tracker), SIZE_PX)
    crop = crop_image(picture, to_crop, SIZE_PX)
    return crop, _landmarks(crop, tracker), to_crop


def _landmarks(image: Image, tracker: Tracker) -> Array:
    found = tracker.track(Frame(image, 0.0, 0))
    if found is None:
        raise RuntimeError("No face was found in the portrait.")
    return found.points


def _with_colours(face: Image, like: Image, points: Array) -> Image:
    """Give a face the mean and the contrast of the skin of another one with the same landmarks."""
    skin = np.asarray(cv2.erode(region_mask(points, OVAL, SIZE_PX), np.ones((15, 15))), np.uint8)
    for feature in (EYE_RIGHT, EYE_LEFT, BROW_RIGHT, BROW_LEFT, LIPS_INNER):
        around = cv2.dilate(region_mask(points, feature, SIZE_PX), np.ones((21, 21)))
        skin &= ~np.asarray(around, np.uint8)
    behind_glasses = slice(int(points[_UPPER_LID, 1]) - 35, int(points[_UPPER_LID, 1]) + 75)
    bare = skin.copy()
    bare[behind_glasses] = 0
    colours, wanted = (
        cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32) for picture in (face, like)
    )
    mean, contrast = _statistics(colours, skin)
    wanted_mean, wanted_contrast = _statistics(wanted, bare)
    gain = np.clip(wanted_contrast / contrast, 0.8, 1.2)
    moved = np.clip((colours - mean) * gain + wanted_mean, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), np.uint8)


def _statistics(picture: Array, mask: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Return mean and standard deviation of a picture's channels inside a mask."""
    inside = picture[mask > 0]
    return inside.mean(axis=0), inside.std(axis=0)


def _share(points: Array) -> Array:
    """Return the share of the second face, (512, 512): 0 on the lips and above the brows."""
    oval = cv2.erode(region_mask(points, OVAL, SIZE_PX), np.ones((21, 21)))
    lips = cv2.dilate(region_mask(points, LIPS_OUTER, SIZE_PX), np.ones((5, 5)))
    inside, on_lips = (
        cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32) / 255
        for mask, sigma in ((oval, 9), (lips, 6))
    )
    rows = np.arange(SIZE_PX, dtype=np.float32)[:, None]
    below_forehead = np.clip((rows - points[_BROW_TOPS, 1].min() + 24) / 20, 0, 1)
    below_nose = np.clip((rows - points[NOSE_BASE, 1] + 50) / 60, 0, 1)
    lower = 1 - (1 - _LOWER_SHARE) * below_nose
    return np.asarray(inside * (1 - on_lips) * below_forehead * lower, np.float32)


def _without_arms(picture: Image, points: Array) -> Image:
    """Inpaint the dark arms of the glasses beside the face."""
    value = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 2]
    band = np.zeros(value.shape, np.uint8)
    eye_line = int(points[_UPPER_LID, 1])
    for left, right in _ARMS:
        band[eye_line - 40 : eye_line + 22, left:right] = 255
    dark = np.where(value < _DARK, band, 0).astype(np.uint8)
    arms = cv2.dilate(dark, np.ones((7, 7), np.uint8))
    return np.asarray(cv2.inpaint(picture, arms, 3, cv2.INPAINT_TELEA), dtype=np.uint8)
