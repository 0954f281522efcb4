"""Splits a reference into a person and the background, filled in where the person is."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import region_mask
from reenact.face.topology import OVAL
from reenact.imaging import in_bytes
from reenact.types import Array, Image

_PERSON: Final = 32
"""Mask value, of 255, from which a pixel may belong to a person: hair is half transparent."""

_HIDDEN_DILATION: Final = 9 / 256
"""Kernel, as a share of the side, that widens the person for inpainting. No colour is taken from
this rim, so that hair does not tint the wall."""

_FILLED_DILATION: Final = 5 / 256
"""Kernel that widens the person for compositing; the picture itself is kept beyond this rim."""

_FACE_DILATION: Final = 25 / 256
"""Kernel that widens the face, which is the person's whatever the segmentation says."""

_COARSE: Final = 4
"""Inpainting runs at this fraction of the picture's resolution."""

_COVERAGE: Final = (0.05, 0.3)
"""Refined coverage that becomes 0 and 1 of the share without a rim."""

_RIM: Final = 0.02
"""Width of that rim, as a share of the side."""

_SMOOTHNESS: Final = 30.0
"""Regularisation of the guided filter, in squared levels."""

_RADIUS_PX: Final = 3
_SOFT: Final = 1 / 256


def without_person(image: Image, person: NDArray[np.uint8]) -> Image:
    """Return a picture with all people inpainted, uint8 (S, S, 3) RGB.

    `person` is (S, S), 0 to 255. A picture that people fill entirely is returned unchanged.
    """
    hidden = _widened(person, _HIDDEN_DILATION)
    if hidden.all():
        return image
    return _filled_in(image, hidden, hidden.astype(np.float32))


def layers_of(
    image: Image, person: NDArray[np.uint8], landmarks: Array
) -> tuple[Image, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the scene behind the person of the landmarks, and that person's share twice.

    The scene is uint8 (S, S, 3) RGB, where the person is inpainted and others stay. The shares are
    uint8 (S, S), 0 to 255: with a rim of the wall, so that no hair is missed, and without it.
    `person` is (S, S), 0 to 255, of all people. If it is uniform, nothing is known: the scene is
    the picture, and the shares are whole.
    """
    hidden, replaced = _widened(person, _HIDDEN_DILATION), _widened(person, _FILLED_DILATION)
    size = len(image)
    _, groups = cv2.connectedComponents(replaced)
    column, row = np.clip(np.round(landmarks[:468, :2]), 0, size - 1).astype(int).T
    own = np.bincount(groups[row, column]).argmax()
    if hidden.all() or own == 0:
        whole_picture = np.full(image.shape[:2], 255, np.uint8)
        return image, whole_picture, whole_picture
    whole = (groups == own).astype(np.float32)
    face = _dilated(region_mask(landmarks, OVAL, size), _FACE_DILATION)
    share = in_bytes(_softened(np.maximum(whole, face.astype(np.float32) / 255)))
    reach_px = max(2, round(_RIM * size))
    fine = in_bytes(refined(person.astype(np.float32) / 255, image, reach_px, _COVERAGE))
    return _filled_in(image, hidden, whole), share, np.minimum(share, np.maximum(fine, face))


def refined(mask: Array, image: Image, reach_px: int, coverage: tuple[float, float]) -> Array:
    """Align a mask's coarse edge with the picture's (guided filter, He et al. 2010).

    Args:
        mask: (H, W), 0 to 1.
        image: uint8 (H, W, 3) RGB.
        reach_px: how far the edges may be from each other.
        coverage: what becomes 0 and 1 of the result, (H, W).
    """
    low, high = coverage
    fine = cv2.ximgproc.guidedFilter(image, mask, reach_px, _SMOOTHNESS)
    return np.asarray(np.clip((fine - low) / (high - low), 0, 1), np.float32)


def _widened(person: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """Return a (S, S) mask, 0 or 1, of what may be a person, dilated by a share of the side."""
    return _dilated((person > _PERSON).astype(np.uint8), width)


def _dilated(mask: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    around = round(width * len(mask)) | 1
    return np.asarray(cv2.dilate(mask, np.ones((around, around), np.uint8)), np.uint8)


def _filled_in(image: Image, hidden: NDArray[np.uint8], share: Array) -> Image:
    """Inpaint what is hidden (Telea 2004), and blend that in by a share, softened."""
    size = len(image)
    small = (size // _COARSE, size // _COARSE)
    filled = cv2.inpaint(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA),
        cv2.resize(hidden, small, interpolation=cv2.INTER_NEAREST),
        _RADIUS_PX,
        cv2.INPAINT_TELEA,
    )
    painted = cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return np.asarray(image + _softened(share)[..., None] * (painted - image), np.uint8)


def _softened(share: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(share, (0, 0), _SOFT * len(share)), np.float32)
