"""Fills in the background behind a person, which a moving head uncovers.

It runs once per target; the generator refines the result.
"""

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

_RADIUS_PX: Final = 3
_SOFT: Final = 1 / 256

_KEPT: Final = (-0.9, -0.3)
"""Depth relative to the chin (negative: above it) between which the person is kept partly, and
below which wholly: collars, shoulders and the hair on them stay in place while heads turn. This and
the following lengths are in eye spans, the distance between the outer eye corners."""

_BESIDE: Final = 0.2
"""Distance from the face beyond which hair that leaves the picture is kept."""

_MIN_ROOM: Final = 0.45
"""With less room beside the face, only ears and temples touch the border, no such hair."""

_GAP: Final = 31 / 256
"""Gaps in such hair, in rows as a share of the side, that are closed."""

_FOREHEAD, _CHIN, _EYES = 10, 152, (33, 263)


def without_person(image: Image, person: NDArray[np.uint8]) -> Image:
    """Return a picture with all people inpainted, uint8 (S, S, 3) RGB (Telea 2004).

    `person` is (S, S), 0 to 255. A picture that people fill entirely is returned unchanged.
    """
    hidden = _widened(person, _HIDDEN_DILATION)
    if hidden.all():
        return image
    return _blended(image, _painted(image, hidden), _softened(hidden.astype(np.float32)))


def layers_of(
    image: Image, person: NDArray[np.uint8], landmarks: Array
) -> tuple[Image, NDArray[np.uint8]]:
    """Return the scene behind a head, uint8 (S, S, 3) RGB, and the person's share, uint8 (S, S).

    In the scene the head and its hair are inpainted. The body is kept, and so are other people, and
    hair that leaves the picture at the side: when the head moves away from that side, more hair
    comes into view. `person` is (S, S), 0 to 255; if it is uniform, nothing is known: the scene is
    the picture, and the share is whole.
    """
    hidden, replaced = _widened(person, _HIDDEN_DILATION), _widened(person, _FILLED_DILATION)
    size = len(image)
    _, groups = cv2.connectedComponents(replaced)
    column, row = np.clip(np.round(landmarks[:468, :2]), 0, size - 1).astype(int).T
    own = np.bincount(groups[row, column]).argmax()
    if hidden.all() or own == 0:
        return image, np.full(image.shape[:2], 255, np.uint8)
    whole = (groups == own).astype(np.float32)
    head = whole * _above_shoulders(landmarks, size) * (1 - _leaving(hidden, landmarks))
    around = round(_FACE_DILATION * size) | 1
    face = cv2.dilate(region_mask(landmarks, OVAL, size), np.ones((around, around), np.uint8))
    share = np.maximum(whole, face.astype(np.float32) / 255)
    scene = _blended(image, _painted(image, hidden), _softened(head.astype(np.float32)))
    return scene, in_bytes(_softened(share))


def _widened(person: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """Return a (S, S) mask, 0 or 1, of what may be a person, dilated by a share of the side."""
    around = round(width * len(person)) | 1
    found = (person > _PERSON).astype(np.uint8)
    return np.asarray(cv2.dilate(found, np.ones((around, around), np.uint8)), np.uint8)


def _painted(image: Image, hidden: NDArray[np.uint8]) -> Image:
    size = len(image)
    small = (size // _COARSE, size // _COARSE)
    filled = cv2.inpaint(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA),
        cv2.resize(hidden, small, interpolation=cv2.INTER_NEAREST),
        _RADIUS_PX,
        cv2.INPAINT_TELEA,
    )
    return np.asarray(cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blended(image: Image, painted: Image, share: Array) -> Image:
    mixed = image + share[..., None] * (painted.astype(np.float32) - image)
    return np.asarray(mixed).astype(np.uint8)


def _softened(share: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(share, (0, 0), _SOFT * len(share)), np.float32)


def _leaving(hidden: NDArray[np.uint8], landmarks: Array) -> NDArray[np.uint8]:
    """Return a (S, S) mask, 0 or 1, of hidden pixels that extend from the face to a side."""
    size, span = len(hidden), _eye_span(landmarks)
    first, last = landmarks[:468, 0].min(), landmarks[:468, 0].max()
    left = _leaving_left(hidden, first / span, span)
    right = _leaving_left(hidden[:, ::-1], (size - 1 - last) / span, span)[:, ::-1]
    rows = np.ones((round(_GAP * size) | 1, 1), np.uint8)
    return np.asarray(cv2.morphologyEx(left | right, cv2.MORPH_CLOSE, rows), np.uint8)


def _leaving_left(hidden: NDArray[np.uint8], room: float, span: float) -> NDArray[np.uint8]:
    """Do so on the left; `room` is the space beside the face in eye spans of `span` px."""
    found = np.zeros_like(hidden)
    if room >= _MIN_ROOM:
        width = round((room - _BESIDE) * span)
        found[:, :width] = np.cumprod(hidden[:, :width], axis=1)
    return found


def _above_shoulders(landmarks: Array, size_px: int) -> Array:
    """Return float32 (S, S): 1 down to the nose, falling to 0 just above the chin."""
    chin = landmarks[_CHIN, :2]
    down = chin - landmarks[_FOREHEAD, :2]
    down = down / (np.linalg.norm(down) * _eye_span(landmarks) + 1e-6)
    axis = np.arange(size_px, dtype=np.float32)
    depth = (axis - chin[0])[None, :] * down[0] + (axis - chin[1])[:, None] * down[1]
    first, last = _KEPT
    return np.asarray(np.clip((last - depth) / (last - first), 0, 1), np.float32)


def _eye_span(landmarks: Array) -> float:
    """Return the distance between the outer eye corners, at least 1 px."""
    return max(float(np.linalg.norm(landmarks[_EYES[0], :2] - landmarks[_EYES[1], :2])), 1.0)
