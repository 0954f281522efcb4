"""Finds the rims of glasses in a picture of a face.

Around each eye, the closed outline with the strongest edge is found by dynamic programming in polar
coordinates. Below the eyes, where skin alone has no edges, its contrast tells rims from skin; the
bridge over the nose tells them from the outlines of large drawn eyes. Thin and rimless glasses are
missed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, filled_outline
from reenact.face.topology import (
    EYE_CORNERS_LEFT,
    EYE_CORNERS_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
)
from reenact.types import Array, Image

_IOD_PX: Final = 96
"""Distance of the eyes in the picture in which glasses are looked for, px."""

_SIZE: Final = (320, 224)
"""Its width and height, px."""

_EYES_ROW: Final = 88
"""Row of its eyes."""

_MIDDLE: Final = (0.04, 0.06)
"""Distance from the middle of an eye, outwards and downwards, to that of its rim, iod."""

_ANGLES: Final = np.arange(72, dtype=np.float32) * np.float32(2 * np.pi / 72)
"""Angles of the rays around an eye, clockwise from the right."""

_RADII: Final = np.arange(5, 88, dtype=np.float32)
"""Radii at which they are sampled, px."""

_RANGE: Final = (16, 65)
"""Smallest and largest radius of a rim, px."""

_AROUND_LIDS: Final = np.ones((13, 13), np.uint8)
"""Kernel that dilates the eyes to the lids, where edges do not count."""

_MAX_EDGE: Final = 40.0
"""Contrast from which an edge is not stronger, in the units of CIELAB."""

_BEND: Final = 2.0
"""Contrast that a path must gain by a step aside of 1 px."""

_BELOW: Final = np.sin(_ANGLES) > np.sin(np.radians(20))
"""The rays below the eye."""

_WEAKEST: Final = 25.0
"""Percentile of the edges below an eye that has to be strong."""

_MIN_CONTRAST: Final = 14.0
"""Least contrast around the lids with which it is compared."""

_MIN_SHARE, _MIN_BRIDGE = 0.36, 0.5
"""Its least share, and the bridge's, of the contrast around the lids: blurred pictures have weak
edges."""

_CLEAR_BRIDGE, _SHARE_AT_CLEAR_BRIDGE = 1.3, 0.14
"""A bridge that no face without glasses has, and the least share of the edge below one."""

_NOSE: Final = 168
"""Landmark of the nose between the eyes."""

_BRIDGE_ROWS: Final = (-29, 27)
"""Rows above and below it in which the bridge is looked for, px."""

_BRIDGE_HALF: Final = (3, 9)
"""Half of the width in which it is looked for, px: that between the rims, within these bounds."""

_NOISE: Final = 2.0
"""Contrast added to that of the lids."""

_WIDTH: Final = (-7, 7)
"""Where a rim begins and ends, from its outline outwards, px: its outline is either edge."""


class Rim(NamedTuple):
    """A rim: its inner and its outer edge, (rays, 2) px each."""

    inner: Array
    outer: Array


def find_glasses(picture: Image, landmarks: Array) -> tuple[Rim, Rim] | None:
    """Return the rims of a face's glasses; None if it wears none, or none that stand out.

    Args:
        picture: uint8 (H, W, 3) RGB.
        landmarks: (478, 3) px of the face.

    Returns:
        Those around the right and the left eye, in px of the picture.
    """
    to_small = _alignment(landmarks)
    small = cv2.warpAffine(
        picture, to_small, _SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    points = landmarks[:, :2] @ to_small[:, :2].T + to_small[:, 2]
    sharp = cv2.cvtColor(np.float32(1 / 255) * small, cv2.COLOR_RGB2LAB)
    colours = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 0.9), np.float32)
    right, left = (filled_outline(points[list(eye)], _SIZE[::-1]) for eye in (EYE_RIGHT, EYE_LEFT))
    lids = np.asarray(cv2.dilate(right | left, _AROUND_LIDS), np.uint8)
    contrast = _NOISE + _contrast_around(colours, lids)
    rims, weakest = [], np.inf
    for corners, side in (EYE_CORNERS_RIGHT, -1), (EYE_CORNERS_LEFT, 1):
        middle = points[list(corners)].mean(axis=0)
        middle += np.multiply(_MIDDLE, (side * _IOD_PX, _IOD_PX))
        outline, edge = _outline(colours, lids, middle)
        weakest = min(weakest, edge)
        rims.append(_rim(middle, outline))
    bridge = _bridge(colours, rims, points[_NOSE, 1])
    share = _SHARE_AT_CLEAR_BRIDGE if bridge > _CLEAR_BRIDGE * contrast else _MIN_SHARE
    if bridge < _MIN_BRIDGE * contrast or weakest < share * max(contrast, _MIN_CONTRAST):
        return None
    to_picture = cv2.invertAffineTransform(to_small)
    first, second = (
        Rim(*(edge @ to_picture[:, :2].T + to_picture[:, 2] for edge in rim)) for rim in rims
    )
    return first, second


def _alignment(landmarks: Array) -> Array:
    """Return the similarity, (2, 3), from px of the picture to those of the small one."""
    right, left = (
        landmarks[list(corners), :2].mean(axis=0)
        for corners in (EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT)
    )
    across = left - right
    scale = _IOD_PX / estimate_pose(landmarks).scale
    x, y = across * scale / max(float(np.hypot(*across)), 1e-3)
    linear = np.array([[x, y], [-y, x]])
    middle = np.array([_SIZE[0] / 2, _EYES_ROW]) - linear @ ((right + left) / 2)
    return np.column_stack([linear, middle])


def _contrast_around(colours: Array, lids: NDArray[np.uint8]) -> float:
    """Return the contrast from px to px that a tenth of the lids' px, (H, W), exceed."""
    x, y, width, height = cv2.boundingRect(lids)
    box = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    by_x, by_y = (
        cv2.Sobel(colours[box], cv2.CV_32F, *order, scale=1 / 4) for order in ((1, 0), (0, 1))
    )
    contrast = np.sqrt((by_x**2 + by_y**2).sum(axis=2))
    return float(np.percentile(contrast[lids[box] > 127], 90))


def _rays(picture: Array | NDArray[np.uint8], middle: Array) -> Array:
    """Sample a picture on all rays: (rays, radii) or (rays, radii, C)."""
    x = middle[0] + np.outer(np.cos(_ANGLES), _RADII)
    y = middle[1] + np.outer(np.sin(_ANGLES), _RADII)
    maps = x.astype(np.float32), y.astype(np.float32)
    found = cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _outline(
    colours: Array, lids: NDArray[np.uint8], middle: Array
) -> tuple[NDArray[np.intp], float]:
    """Return the outline with the strongest edge around an eye.

    Returns:
        The index of its radius on each ray, and the contrast of its weakest edges below the eye.
    """
    rays = _rays(colours, middle)
    edges = np.zeros(rays.shape[:2], np.float32)
    edges[:, 1:-1] = np.linalg.norm(rays[:, 2:] - rays[:, :-2], axis=2)
    edges = np.minimum(edges, _MAX_EDGE)
    low, high = _RANGE
    edges[(_rays(lids, middle) > 10) | (low > _RADII) | (high < _RADII)] = 0
    outline = _closed_path(edges)
    below = edges[np.arange(len(edges)), outline][_BELOW]
    return outline, float(np.percentile(below, _WEAKEST))


def _bridge(colours: Array, rims: list[Rim], row: float) -> float:
    """Return the mean contrast of the strongest edge across the nose near this row."""
    start, end = float(rims[0].outer[:, 0].max()), float(rims[1].outer[:, 0].min())
    half = int(np.clip((end - start) / 2, *_BRIDGE_HALF))
    column = int((start + end) / 2)
    top, bottom = (int(row) + offset for offset in _BRIDGE_ROWS)
    box = colours[max(top, 0) : bottom, max(column - half, 0) : column + half + 1]
    edges = np.minimum(np.linalg.norm(box[2:] - box[:-2], axis=2), _MAX_EDGE)
    best: Array = edges[:, 0]
    for edge in edges.T[1:]:
        best = _step(best)[0] + edge
    return float(best.max() / edges.shape[1])


def _step(best: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the best sum of a path that moves by -1, 0 or 1 to each place, and that motion."""
    # Padding and stacking would take three times as long.
    ways = np.full((3, len(best)), -np.inf, np.float32)
    ways[0, 1:], ways[1], ways[2, :-1] = best[:-1] - _BEND, best, best[1:] - _BEND
    chosen = ways.argmax(axis=0)
    return ways[chosen, np.arange(len(best))], chosen - 1


def _closed_path(values: Array) -> NDArray[np.intp]:
    """Return the column in each row of the closed path with the largest sum of (N, M) values.

    It moves by at most one column from row to row. It is found by going around twice.
    """
    count = len(values)
    best, steps = values[0], []
    for row in range(1, 2 * count):
        before, motion = _step(best)
        steps.append(motion)
        best = before + values[row % count]
    column = int(best.argmax())
    path = np.empty(2 * count, np.intp)
    path[-1] = column
    for row in range(2 * count - 1, 0, -1):
        column += int(steps[row - 1][column])
        path[row - 1] = column
    middle = np.arange(count // 2, count // 2 + count)
    result = np.empty(count, np.intp)
    result[middle % count] = path[middle]
    return result


def _rim(middle: Array, outline: NDArray[np.intp]) -> Rim:
    """Return the rim on an outline around the middle of an eye."""
    ways = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    radii = _smooth(_RADII[outline])[:, None]
    return Rim(*(middle + (radii + offset) * ways for offset in _WIDTH))


def _smooth(values: Array) -> Array:
    """Return the running median of (rays,) values over nine rays."""
    around = np.concatenate([values[-4:], values, values[:4]])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(around, 9), axis=-1))
