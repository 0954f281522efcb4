"""Splits a reference into the person and the background, which is inpainted behind the person."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import region_mask
from reenact.face.topology import OVAL
from reenact.imaging import in_bytes
from reenact.rendering.inpainting import diffused
from reenact.types import Array, Image

_MIN_PERSON: Final = 32
"""Mask value, of 255, from which a pixel may show a person: hair is half transparent."""

_STRAND: Final = 7 / 256
"""Kernel, as a share of the side, in which a strand fits: what is wider, and not surely a person's,
is a wall that has the colours of the hair."""

_MIN_STRAND: Final = 0.1
"""Refined coverage by which a strand that the mask misses stands out. If it stayed on the wall, it
would outline where the head was."""

_INEXACT: Final = 2 / 256
"""Kernel that dilates the mask, but not the strands."""

_FILLED_DILATION: Final = 3 / 256
"""Kernel that dilates both for compositing; the picture is kept beyond this rim."""

_HIDDEN_DILATION: Final = 7 / 256
"""Kernel that dilates both for inpainting. No colour is taken from this rim, so that hair does not
tint the background."""

_COVERAGE: Final = (0.05, 0.3)
"""Refined coverage that becomes 0 and 1 of the alpha."""

_RIM: Final = 0.02
"""Maximum width of the rim that refinement removes, as a share of the side."""

_SMOOTHNESS: Final = 30.0
"""Regularisation of the guided filter, in squared grey levels."""

_CAP_ROWS: Final = (0.02, 0.08)
"""Depths below the picture's upper edge, as shares of the side, between which a head that the edge
cuts is found. Nearer to the edge the segmentation is inexact."""

_GAP_RIM_PX: Final = 2.0
"""Distance from such a head's outline within which gaps in the segmentation are kept."""

_NARROWING: Final = 2.2
"""Decrease of its squared half width for each row above the edge, as a factor on half the width of
head or face, whichever is wider: a narrow crown is as flat as the head is wide."""

_MIRRORED_HAIR: Final = 0.4
"""Depth to which hair is mirrored at the edge, as a share of the distance between edge and face: a
second forehead above the hair would be seen at once."""

_STRANDS: Final = 0.03
"""Half the width over which the direction of strands is averaged, as a share of the side."""

_STEADY: Final = 0.05
"""Share of all gradients that is added to those across, so that no strand is drawn far aside."""

_EDGE_MARGIN: Final = 9 / 256
"""Distance from a head that the upper edge cuts from which the wall above it is continued, as a
share of the side."""

_SOFT: Final = 1 / 256
"""Blur of masks, as a share of the side."""


def without_person(image: Image, person: NDArray[np.uint8]) -> Image:
    """Return a picture with all people inpainted, uint8 (S, S, 3) RGB.

    `person` is their coverage, (S, S), 0 to 255. A picture that people fill is returned unchanged.
    """
    hidden = hidden_in(image, person)
    if hidden.all():
        return image
    return _blended(image, diffused(image, hidden), hidden.astype(np.float32))


def hidden_in(picture: Image, person: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels of a picture, uint8 (H, W, 3), that people hide: uint8 (H, W), 1: hidden.

    `person` is their coverage, uint8 of any size, 255: full.
    """
    people = np.asarray(cv2.resize(person, picture.shape[1::-1]), np.uint8)
    return _dilated(_shown(people, _aligned(people, picture)), _HIDDEN_DILATION)


def layers_of(
    image: Image, person: NDArray[np.uint8], landmarks: Array, filled: Image | None = None
) -> tuple[Image, NDArray[np.uint8]]:
    """Split a picture into the background and the person whom the landmarks name.

    If the landmarks' person is not covered, or people fill the picture, the background is the
    picture and the alpha is 255 everywhere.

    Args:
        image: uint8 (S, S, 3) RGB.
        person: coverage by all people, uint8 (S, S), 255: full.
        landmarks: (478, 3) px.
        filled: the picture with all pixels of `hidden_in` filled; None: they are `diffused`.

    Returns:
        The background, uint8 (S, S, 3) RGB, in which other people remain; and the person's alpha,
        uint8 (S, S), which ends at the picture's own edges.
    """
    size = len(image)
    aligned = _aligned(person, image)
    shown = _shown(person, aligned)
    hidden = _dilated(shown, _HIDDEN_DILATION)
    _, labels = cv2.connectedComponents(_dilated(shown, _FILLED_DILATION))
    column, row = np.clip(np.round(landmarks[:468, :2]), 0, size - 1).astype(int).T
    label = np.bincount(labels[row, column]).argmax()
    if hidden.all() or label == 0:
        return image, np.full(image.shape[:2], 255, np.uint8)
    inside = (labels == label).astype(np.float32)
    low, high = _COVERAGE
    fine = np.clip((aligned - low) / (high - low), 0, 1)
    own = in_bytes(np.minimum(fine, _blurred(inside)))
    filled = diffused(image, hidden) if filled is None else filled
    return _blended(image, filled, inside), np.maximum(own, region_mask(landmarks, OVAL, size))


def closed_above(
    picture: Image,
    person: NDArray[np.uint8],
    first_row: int,
    face: Array,
    *,
    exact: bool = False,
) -> tuple[Image, NDArray[np.uint8]]:
    """Return a picture and its coverage by people, with a head that the upper edge cut completed.

    Above the edge the head is continued by its mirror image, which narrows as a parabola, and in
    which straight strands stay straight. Above a head that ends just below the edge, the background
    is continued.

    Args:
        picture: uint8 (H, W, 3) RGB.
        person: coverage by people, uint8 of any size, 255: full.
        first_row: first row of the original picture; the rows above it are drawn.
        face: (N, 2) px or more columns, its landmarks.
        exact: True if the coverage is the picture's own alpha: it is mirrored like the picture.
    """
    if first_row == 0:
        return picture, person
    picture = picture.copy()
    person = np.asarray(cv2.resize(person, picture.shape[1::-1]), np.uint8)
    person[:first_row] = 0
    first, last = (max(round(share * len(picture)), 1) for share in _CAP_ROWS)
    below = picture[first_row:], person[first_row:]
    head = _head_at_edge(*below, (first, last), float(face[:, 0].mean()), exact)
    if head is None:
        return picture, person
    middle, half_width = head
    widest = max(half_width, float(np.ptp(face[:, 0])) / 2)
    height = np.arange(first_row, 0, -1, dtype=np.float32)[:, None] - np.float32(0.5)
    square = half_width**2 - _NARROWING * widest * height
    reach = np.sqrt(np.maximum(square, 1))
    deepest = max(_MIRRORED_HAIR * (float(face[:, 1].min()) - first_row), 1.0)
    offset = np.arange(picture.shape[1], dtype=np.float32) - np.float32(middle)
    inside = (np.abs(offset) <= reach) & (square > 0)
    x = middle + offset * (half_width / reach)
    depth = deepest * np.tanh(height / deepest)
    rows = picture[first_row : first_row + max(round(2 * deepest), 3)]
    slant = _slant(rows, np.abs(offset) < half_width - _GAP_RIM_PX)
    x = np.clip(x + (height + depth) * slant, middle - half_width, middle + half_width)
    y = np.broadcast_to(first_row + depth, x.shape).astype(np.float32)
    x = x.astype(np.float32)
    hair = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Above and behind the head, the background on its sides is continued.
    margin = _EDGE_MARGIN * len(picture)
    near_edge = person[first_row : first_row + first].max(axis=0, keepdims=True)
    hidden = np.abs(offset) < half_width + margin
    hidden |= _dilated((near_edge > _MIN_PERSON).astype(np.uint8), 2 * margin)[0] > 0
    beside = picture[first_row].astype(np.float32)
    for channel in () if hidden.all() else beside.T:
        channel[hidden] = np.interp(offset[hidden], offset[~hidden], channel[~hidden])
    picture[:first_row] = np.where(inside[..., None], hair, beside.astype(np.uint8))
    if exact:
        alpha = cv2.remap(person, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        person[:first_row][inside] = alpha[inside]
        return picture, person
    person[:first_row][inside] = 255
    gaps = np.abs(offset) <= half_width - _GAP_RIM_PX
    person[first_row : first_row + first, gaps] = 255
    return picture, person


def _slant(hair: Image, inside: NDArray[np.bool_]) -> Array:
    """Return by how many columns strands move to the right from row to row, for each column.

    It is 0 where there are none. `inside` says which columns, (W,), show hair.
    """
    grey = cv2.cvtColor(hair, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) * inside for order in ((1, 0), (0, 1)))
    window = 2 * round(_STRANDS * len(inside)) + 1
    products = across * across, down * down, across * down
    sums = (cv2.blur(one.sum(axis=0, keepdims=True), (window, 1))[0] for one in products)
    horizontal, vertical, both = sums
    return np.asarray(-both / (horizontal + _STEADY * (horizontal + vertical) + 1), np.float32)


def _head_at_edge(
    picture: Image, person: NDArray[np.uint8], rows: tuple[int, int], column: float, exact: bool
) -> tuple[float, float] | None:
    """Return the middle of a head in a picture's first three rows, and half its width there, px.

    The width follows the picture's own edges, as the segmentation misses the top of a flat crown.
    It is 0 if the head ends within the first of `rows`, between which the head is found that has
    this column; None: it ends further below.
    """
    first, last = rows
    runs = _runs(np.median(person[first : max(last, first + 2)], axis=0) > 127)
    head = next(((a, b - 1) for a, b in runs if a <= column < b), None)
    if head is None:
        return None
    mask = person[: 4 * first].astype(np.float32) / 255
    if not exact:
        reach_px = max(2, round(_RIM * len(picture)))
        mask = refined(mask, np.ascontiguousarray(picture[: 4 * first]), reach_px, (0.0, 1.0))
    runs = _runs(np.median(mask[:3], axis=0) > 0.5)
    runs = runs[(runs[:, 1] > head[0]) & (runs[:, 0] <= head[1])]
    middle = sum(head) / 2
    if not len(runs) or not runs[0, 0] - first <= middle < runs[-1, 1] + first:
        return middle, 0.0
    return float(runs[0, 0] + runs[-1, 1] - 1) / 2, float(runs[-1, 1] - runs[0, 0]) / 2


def _runs(covered: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the runs of True in a row: the first of each and the one after its last, (N, 2)."""
    return np.flatnonzero(np.diff(np.pad(covered, 1).astype(np.int8))).reshape(-1, 2)


def refined(mask: Array, image: Image, reach_px: int, coverage: tuple[float, float]) -> Array:
    """Align a mask's coarse edge with the picture's (guided filter, He et al. 2010).

    Args:
        mask: (H, W), 0 to 1.
        image: uint8 (H, W, 3) RGB.
        reach_px: maximum distance between the two edges.
        coverage: filtered values that become 0 and 1 of the result, (H, W).
    """
    low, high = coverage
    fine = cv2.ximgproc.guidedFilter(image, mask, reach_px, _SMOOTHNESS)
    return np.asarray(np.clip((fine - low) / (high - low), 0, 1), np.float32)


def _aligned(person: NDArray[np.uint8], image: Image) -> Array:
    """Return a coverage, uint8 (S, S), aligned with the picture's edges: float32, 0 to 1."""
    reach_px = max(2, round(_RIM * len(image)))
    return refined(person.astype(np.float32) / 255, image, reach_px, (0.0, 1.0))


def _shown(person: NDArray[np.uint8], aligned: Array) -> NDArray[np.uint8]:
    """Return which pixels may show a person, uint8 (S, S), 0 or 1.

    `aligned` is the coverage from `_aligned`, in which strands are seen.
    """
    mask = _dilated((person > _MIN_PERSON).astype(np.uint8), _INEXACT)
    thin = cv2.morphologyEx(aligned, cv2.MORPH_TOPHAT, _kernel(_STRAND, len(aligned)))
    return mask | ((thin > _MIN_STRAND) | (aligned > _COVERAGE[1])).astype(np.uint8)


def _dilated(mask: NDArray[np.uint8], width: float) -> NDArray[np.uint8]:
    """Dilate a mask with a square kernel, whose width is a share of the mask's side."""
    return np.asarray(cv2.dilate(mask, _kernel(width, len(mask))), np.uint8)


def _kernel(width: float, side: int) -> NDArray[np.uint8]:
    """Return a square kernel whose width is a share of a side."""
    size = round(width * side) | 1
    return np.ones((size, size), np.uint8)


def _blended(image: Image, filled: Image, alpha: Array) -> Image:
    """Blend a filled picture into another by a blurred alpha."""
    change = filled.astype(np.float32) - image
    return np.asarray(image + _blurred(alpha)[..., None] * change, np.uint8)


def _blurred(mask: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), _SOFT * len(mask)), np.float32)
