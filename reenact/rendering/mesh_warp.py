"""Rasterises triangle meshes into backward maps, and samples pictures through such maps.

A mesh is rasterised at its driven position. Each cell then interpolates attributes of the vertices,
such as their position in the reference. Triangles are drawn from far to near, so that a turned face
hides its far cheek. All functions are pure; any thread may call them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import Triangles
from reenact.models.warp_unet_inputs import FLOW, MAP_BLOCK
from reenact.types import Array, Image

_MIN_HEIGHT: Final = 1e-6
"""Minimum height of an edge, cells; it prevents a division by zero."""

_MARGIN: Final = 4
"""Cells around an `enlarged_box`."""

_MIN_AREA: Final = 1e-3
"""A triangle whose doubled area is smaller, squared cells, gets the mean of its vertices."""


def rasterise(points: Array, triangles: Triangles, side: int, depth: Array) -> NDArray[np.int32]:
    """Return the triangle over each cell's centre, int32 (side, side), -1 where there is none.

    Args:
        points: (V, 2) vertices in cells of the map; cell centres lie on whole numbers.
        triangles: (T, 3) vertex indices.
        side: cells per side.
        depth: (V,) distance from the camera; far triangles are drawn first.
    """
    order = (-depth.take(triangles.T).max(axis=0)).argsort(kind="stable")
    corners = points.T.astype(np.float32).take(triangles[order].T, axis=1)
    x, y = np.take_along_axis(corners, corners[1:].argsort(axis=1), axis=1)
    # Corners are sorted from top to bottom. The edges go from the first to the second corner, from
    # the second to the third, and from the first to the third.
    slopes = (x[[1, 2, 2]] - x[[0, 1, 0]]) / np.maximum(y[[1, 2, 2]] - y[[0, 1, 0]], _MIN_HEIGHT)
    first, counts = _whole_numbers(y[0], y[2], side)
    row = _counted_up(first, counts)
    values = np.repeat(np.concatenate([x[:2], y[:2], slopes]), counts, axis=1)
    x_upper, x_middle, y_upper, y_middle, upper, lower, long = values
    below_upper, below_middle = row.astype(np.float32) - (y_upper, y_middle)
    bent = np.where(
        below_middle < 0, x_upper + below_upper * upper, x_middle + below_middle * lower
    )
    straight = x_upper + below_upper * long
    left, widths = _whole_numbers(np.minimum(bent, straight), np.maximum(bent, straight), side)
    canvas = np.full(side * side, -1, np.int32)
    canvas[_counted_up(row * side + left, widths)] = np.repeat(np.repeat(order, counts), widths)
    return canvas.reshape(side, side)


def _whole_numbers(low: Array, high: Array, end: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first whole number from 0 to below `end` in each interval, and their counts."""
    first = np.ceil(np.minimum(np.maximum(low, 0), end)).astype(np.intp)
    last = np.floor(np.minimum(np.maximum(high, -1), end - 1)).astype(np.intp)
    return first, last + 1 - first


def _counted_up(first: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return so many whole numbers from each first one on, one after the other."""
    starts = first - np.cumsum(counts) + counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts, counts), np.intp)


def interpolate(
    cells: NDArray[np.int32], points: Array, triangles: Triangles, attributes: Array
) -> Array:
    """Interpolate (V, C) vertex attributes over the cells of `rasterise`: (side, side, C).

    Cells without a triangle get 0.
    """
    planes = _planes(points.astype(np.float32), attributes, triangles)
    side, chosen = len(cells), np.maximum(cells, 0).ravel()
    gathered = planes.reshape(-1, len(triangles)).take(chosen, axis=1, mode="clip")
    by_x, by_y, result = gathered.reshape(3, -1, side, side)
    axis = np.arange(side, dtype=np.float32)
    result += by_x * axis
    result += by_y * axis[:, None]
    result[:, cells < 0] = 0
    return np.moveaxis(result, 0, -1)


def _planes(points: Array, attributes: Array, triangles: Triangles) -> Array:
    """Return a, b and c of the plane `a x + b y + c` for each attribute and triangle: (3, C, T)."""
    corners = triangles.T
    x, y = points.T.take(corners, axis=1)
    values = np.ascontiguousarray(attributes.T).take(corners, axis=1)
    x_ab, x_ac, y_ab, y_ac = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    area = x_ab * y_ac - y_ab * x_ac
    flat = np.abs(area) < _MIN_AREA
    inverse = np.where(flat, 0, 1 / np.where(flat, 1, area)).astype(np.float32)
    value_ab, value_ac = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    planes = np.empty((3, values.shape[0], len(triangles)), np.float32)
    planes[0] = (value_ab * y_ac - value_ac * y_ab) * inverse
    planes[1] = (value_ac * x_ab - value_ab * x_ac) * inverse
    planes[2] = values[:, 0] - planes[0] * x[0] - planes[1] * y[0]
    if flat.any():
        planes[2][:, flat] = values[:, :, flat].mean(axis=1)
    return planes


def whole_blocks(
    ends: Sequence[tuple[int, int]], side: int, size_px: int
) -> tuple[tuple[slice, ...], ...]:
    """Return the blocks of `MAP_BLOCK` cells that contain a box, in cells and in px of a picture.

    Args:
        ends: first and last row, then column, of the box, in cells. No px are left of a box that is
            outside of the picture.
        side: number of cells along a side.
        size_px: side of the picture.
    """
    blocks = [(max(first, 0) // MAP_BLOCK, last // MAP_BLOCK + 1) for first, last in ends]
    block_sizes = MAP_BLOCK, MAP_BLOCK * size_px / side
    return tuple(
        tuple(slice(int(a * s), max(int(b * s), 0)) for a, b in blocks) for s in block_sizes
    )


def grid_to_crop(side: int, size_px: int) -> tuple[float, float]:
    """Return (scale, shift) of crop px = cell * scale + shift; whole numbers are pixel centres."""
    scale = size_px / side
    return scale, 0.5 * (scale - 1)


def source_map(maps: Array, size_px: int) -> Array:
    """Convert the flow of `HeadMesh.maps` to absolute crop px, float32 (size_px, size_px, 2)."""
    flow = cv2.resize(maps[..., FLOW], (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return sources(np.asarray(flow, np.float32))


def sources(flow: Array, zoom: int = 1) -> Array:
    """Convert a flow (S, S, 2) in halves of the side to absolute px, float32 (S, S, 2).

    They are multiplied by `zoom`, for a picture that has so many px for each of these.
    """
    size = len(flow)
    return np.asarray(cv2.scaleAdd(flow, size * zoom / 2, positions(size, zoom)), np.float32)


def enlarged_box(
    cells: Array, picture: NDArray[Any], margin: int = _MARGIN
) -> tuple[tuple[slice, ...], ...]:
    """Return the box of blocks around non-zero cells, in cells and in px of a picture."""
    x, y, width, height = cv2.boundingRect((cells > 0).view(np.uint8))
    ends = (y - margin, y + height - 1 + margin), (x - margin, x + width - 1 + margin)
    return whole_blocks(ends, len(cells), len(picture))


def warp_image(image: Image, source: Array, method: int = cv2.INTER_LINEAR) -> Image:
    """Sample a picture at its px (H, W, 2), float32; its edges are repeated outside."""
    border = cv2.BORDER_REPLICATE
    # The stubs want a second map; OpenCV 5 would read an empty array as one.
    sampled = cv2.remap(image, source, None, method, borderMode=border)  # type: ignore[call-overload]
    return np.asarray(sampled)


@lru_cache(maxsize=4)
def positions(size: int, zoom: int = 1) -> Array:
    """Return x and y of each pixel, multiplied by `zoom`, (size, size, 2)."""
    axis = np.arange(size, dtype=np.float32) * zoom
    return np.stack(np.meshgrid(axis, axis), axis=-1)
