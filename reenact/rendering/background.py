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

_CAP_ROWS: Final = (0.02, 0.08)
"""Depths below the picture's upper edge, as shares of the side, at which a head that the edge cuts
is measured. Nearer to it the segmentation is not exact."""

_ROUNDING: Final = 1.3
"""Heads narrow faster above the edge than below it, like ellipses."""

_CAP: Final = (0.8, 3.0)
"""Half the width of such a head at the edge, over the height that is missing: least and most."""

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


def closed_above(
    picture: Image, person: NDArray[np.uint8], first_row: int, column: float
) -> tuple[Image, NDArray[np.uint8]]:
    """Return a picture and its people, where a head that the upper edge cuts is closed above it.

    The head goes on in its mirror image, which narrows as its outline does at the edge.

    Args:
        picture: uint8 (H, W, 3) RGB.
        person: uint8 (H, W), by people; 255 is all.
        first_row: the first row that is known; those above are drawn.
        column: of the middle of the face.
    """
    picture, person = picture.copy(), person.copy()
    person[:first_row] = 0
    depths = [max(1, round(share * len(picture))) for share in _CAP_ROWS]
    upper, lower = (_span(person[first_row + depth], column) for depth in depths)
    if upper is None or lower is None:
        return picture, person
    (left, right), (lower_left, lower_right) = upper, lower
    middle, half, below = (left + right) / 2, (right - left) / 2, (lower_right - lower_left) / 2
    # The outline is taken for a parabola: the square of its width grows evenly with the depth.
    growth = _ROUNDING * (below**2 - half**2) / (depths[1] - depths[0])
    growth = float(np.clip(growth, half * _CAP[0], half * _CAP[1]))
    square = half**2 - growth * depths[0]
    above = np.arange(first_row, 0, -1, dtype=np.float32)[:, None] - np.float32(0.5)
    own = np.sqrt(np.maximum(square - growth * above, 1))
    mirrored = np.sqrt(np.maximum(square + growth * above, 1))
    aside = np.arange(picture.shape[1], dtype=np.float32) - np.float32(middle)
    inside = (np.abs(aside) <= own) & (square > growth * above)
    # Beside the head, the wall that is next to it at the edge goes on.
    reach = half + _HIDDEN_DILATION * len(picture)
    wall = np.where(aside < 0, np.minimum(aside, -reach), np.maximum(aside, reach))
    across = middle + np.where(inside, aside * (mirrored / own), wall)
    down = first_row + np.where(inside, above, 0)
    picture[:first_row] = cv2.remap(
        picture,
        across.astype(np.float32),
        down.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    person[:first_row][inside] = 255
    return picture, person


def _span(row: NDArray[np.uint8], column: float) -> tuple[int, int] | None:
    """Return the first and last px of the people in a row around a column; None: nobody."""
    covered = np.flatnonzero(np.diff(np.pad(row > 127, 1).astype(np.int8)))
    spans = covered.reshape(-1, 2) - [0, 1]
    near = [(int(a), int(b)) for a, b in spans if a <= column <= b and b > a]
    return near[0] if near else None


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
