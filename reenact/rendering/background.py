"""What lies behind a person: the first guess of the background that a moving head uncovers.

Once for a target; the generator corrects it. Pure functions of arrays; any thread may call them.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.types import Array, Image

_PERSON: Final = 32
"""From this value of 255 on a pixel may be a person's: hair is cut out half transparent."""

_AROUND: Final = 9 / 256
"""Width, as a share of the side, of what a person is widened by: twice what is added. So far no
colour is taken from, lest hair tint the wall."""

_REPLACED: Final = 5 / 256
"""The same for what is painted over: beyond, the picture knows better."""

_COARSE: Final = 4
"""Backgrounds are painted at so many times less than the picture's resolution."""

_RADIUS_PX: Final = 3
_SOFT: Final = 1 / 256

_KEPT: Final = (-0.9, -0.3)
"""Depth below the chin (negative: above it) from which the person stays, at first in part, then
whole: collars, shoulders and what hair lies on them rest while heads turn. This and what follows in
eye spans: distances of the outer eye corners."""

_BESIDE: Final = 0.2
"""Distance from the face from which hair that leaves the picture stays."""

_ROOM: Final = 0.45
"""Room beside the face without which there is no such hair: only ears and temples."""

_GAP: Final = 31 / 256
"""Of such hair, gaps of so many rows, as a share of the side, are closed."""

_FOREHEAD, _CHIN, _EYES = 10, 152, (33, 263)


def without_person(image: Image, person: NDArray[np.uint8]) -> Image:
    """Paint all people over with what surrounds them, uint8 (S, S, 3) RGB (Telea 2004).

    Args:
        image: uint8 (S, S, 3) RGB.
        person: (S, S), 0 to 255, how far each pixel belongs to a person; a picture with nothing
            else in it stays as it is.
    """
    hidden = _widened(person, _AROUND)
    if hidden.all():
        return image
    return _blended(image, _painted(image, hidden), hidden.astype(np.float32))


def scene_behind(image: Image, person: NDArray[np.uint8], landmarks: Array) -> Image:
    """Paint a head with its hair over, uint8 (S, S, 3) RGB; the person's body stays.

    So do other people, and hair that leaves the picture at the side: where the head moves away
    from there, more of it comes in.

    Args:
        image: uint8 (S, S, 3) RGB.
        person: (S, S), 0 to 255, how far each pixel belongs to a person; where that is not known,
            all alike: then the picture stays as it is.
        landmarks: (478, 3) px.
    """
    hidden, replaced = _widened(person, _AROUND), _widened(person, _REPLACED)
    size = len(image)
    _, groups = cv2.connectedComponents(replaced)
    column, row = np.clip(np.round(landmarks[:468, :2]), 0, size - 1).astype(int).T
    own = np.bincount(groups[row, column]).argmax()
    if hidden.all() or own == 0:
        return image
    share = (groups == own) * _above_shoulders(landmarks, size) * (1 - _leaving(hidden, landmarks))
    return _blended(image, _painted(image, hidden), share.astype(np.float32))


def _widened(person: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """Return (S, S) of 0 and 1: what is or may be a person, widened by a share of the side."""
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
    soft = cv2.GaussianBlur(share, (0, 0), _SOFT * len(image))[..., None]
    return np.asarray(image + soft * (painted.astype(np.float32) - image)).astype(np.uint8)


def _leaving(hidden: NDArray[np.uint8], landmarks: Array) -> NDArray[np.uint8]:
    """Return (S, S) of 0 and 1: where hidden pixels reach from beside the face to the side."""
    size, span = len(hidden), _eye_span(landmarks)
    first, last = landmarks[:468, 0].min(), landmarks[:468, 0].max()
    left = _leaving_left(hidden, first / span, span)
    right = _leaving_left(hidden[:, ::-1], (size - 1 - last) / span, span)[:, ::-1]
    rows = np.ones((round(_GAP * size) | 1, 1), np.uint8)
    return np.asarray(cv2.morphologyEx(left | right, cv2.MORPH_CLOSE, rows), np.uint8)


def _leaving_left(hidden: NDArray[np.uint8], room: float, span: float) -> NDArray[np.uint8]:
    """Do so on the left, where there is so much room beside the face, eye spans of so many px."""
    found = np.zeros_like(hidden)
    if room >= _ROOM:
        width = round((room - _BESIDE) * span)
        found[:, :width] = np.cumprod(hidden[:, :width], axis=1)
    return found


def _above_shoulders(landmarks: Array, size_px: int) -> Array:
    """Return float32 (S, S): along the face, 1 down to the nose, 0 from just above the chin on."""
    chin = landmarks[_CHIN, :2]
    down = chin - landmarks[_FOREHEAD, :2]
    down = down / (np.linalg.norm(down) * _eye_span(landmarks) + 1e-6)
    axis = np.arange(size_px, dtype=np.float32)
    depth = (axis - chin[0])[None, :] * down[0] + (axis - chin[1])[:, None] * down[1]
    first, last = _KEPT
    return np.asarray(np.clip((last - depth) / (last - first), 0, 1), np.float32)


def _eye_span(landmarks: Array) -> float:
    """Return the distance of the outer eye corners, px; 1 at least."""
    return max(float(np.linalg.norm(landmarks[_EYES[0], :2] - landmarks[_EYES[1], :2])), 1.0)
