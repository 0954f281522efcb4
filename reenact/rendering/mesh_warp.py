"""Rasterises triangle meshes into backward maps, and samples pictures through such maps.

A mesh is rasterised at its driven position. Each cell then interpolates any attribute of the mesh's
vertices, for example the position in the reference. Triangles are drawn from far to near, so that a
turned face hides its far cheek. All functions are pure; any thread may call them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import Triangles
from reenact.models.warp_unet_inputs import FLOW
from reenact.types import Array, Image

_NO_SECOND_MAP: Final = np.zeros(0, np.float32)
"""For `cv2.remap`, whose first map holds both coordinates."""


def rasterise(points: Array, triangles: Triangles, side: int, depth: Array) -> NDArray[np.int32]:
    """Return the triangle of each cell, int32 (side, side), -1 where there is none.

    Args:
        points: (V, 2) vertices in cells of the map; cell centres lie on whole numbers.
        triangles: (T, 3) vertex indices.
        side: cells per side.
        depth: (V,) distance from the camera; far triangles are drawn first.
    """
    canvas = np.full((side, side), -1, np.int32)
    corners = np.round(points[triangles] * 16).astype(np.int32)
    order = np.argsort(-depth[triangles].max(axis=1), kind="stable")
    for number, triangle in zip(order.tolist(), corners[order], strict=True):
        cv2.fillConvexPoly(canvas, triangle, (number,), 8, 4)
    return canvas


def interpolate(
    cells: NDArray[np.int32], points: Array, triangles: Triangles, attributes: Array
) -> Array:
    """Interpolate (V, C) vertex attributes over the result of `rasterise`: (side, side, C).

    A triangle thinner than a cell also covers cells beside it. There its plane, which may be steep,
    is clipped to the range of its corners. Cells without a triangle get 0.
    """
    values = attributes[triangles]
    planes = _planes(points[triangles].astype(np.float32), values)
    # Five numbers for each channel and triangle, gathered at once: that is most of the time.
    numbers = np.stack([*np.moveaxis(planes, 1, 0), values.min(axis=1), values.max(axis=1)])
    table = np.moveaxis(numbers, 1, 2).reshape(-1, len(triangles))
    side, chosen = len(cells), np.maximum(cells, 0).ravel()
    gathered = np.take(table, chosen, axis=1, mode="clip").reshape(5, -1, side, side)
    across, down, here, low, high = gathered
    axis = np.arange(side, dtype=np.float32)
    here += across * axis
    here += down * axis[:, None]
    np.maximum(here, low, out=here)
    np.minimum(here, high, out=here)
    here[:, cells < 0] = 0
    return np.moveaxis(here, 0, -1)


def _planes(corners: Array, values: Array) -> Array:
    """Return (T, 3, C): the plane `x * p[0] + y * p[1] + p[2]` through each triangle's values."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    flat = np.abs(area) < 1e-3
    inverse = np.where(flat, 0, 1 / np.where(flat, 1, area))[:, None].astype(np.float32)
    first, second = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    planes = np.empty((len(corners), 3, values.shape[-1]), np.float32)
    planes[:, 0] = (first * ac[:, 1:] - second * ab[:, 1:]) * inverse
    planes[:, 1] = (second * ab[:, :1] - first * ac[:, :1]) * inverse
    planes[:, 2] = values[:, 0] - planes[:, 0] * a[:, :1] - planes[:, 1] * a[:, 1:]
    planes[flat, 2] = values[flat].mean(axis=1)
    return planes


def grid_to_crop(side: int, size_px: int) -> tuple[float, float]:
    """Return (scale, shift): crop px = cell * scale + shift, both at pixel centres."""
    scale = size_px / side
    return scale, 0.5 * (scale - 1)


def source_map(maps: Array, size_px: int) -> Array:
    """Turn the flow of `HeadMesh.maps` into absolute crop px, float32 (size, size, 2)."""
    flow = cv2.resize(maps[..., FLOW], (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return sources(np.asarray(flow, np.float32))


def sources(flow: Array, zoom: int = 1) -> Array:
    """Turn a (S, S, 2) flow in halves of the side into absolute px, float32 (S, S, 2).

    They are px of a picture whose side is `zoom` times S.
    """
    size = len(flow)
    return np.asarray(cv2.scaleAdd(flow, size * zoom / 2, _positions(size, zoom)), np.float32)


def warp_image(image: Image, source: Array, interpolation: int = cv2.INTER_LINEAR) -> Image:
    """Sample a picture at a (H, W, 2) float32 map of its own px; edges repeat outside."""
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(image, source, _NO_SECOND_MAP, interpolation, borderMode=border))


@lru_cache(maxsize=4)
def _positions(size: int, zoom: int) -> Array:
    """Return (size, size, 2), x and y of each pixel's centre in a picture `zoom` times as large."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * zoom - 0.5
    return np.stack(np.meshgrid(axis, axis), axis=-1)
