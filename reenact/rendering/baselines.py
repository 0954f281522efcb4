"""Baselines without a network: the unchanged reference, and its mesh warp."""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.face.geometry import triangulate
from reenact.registry import RendererSpec
from reenact.rendering.mesh_warp import interpolate, rasterise, warp_image
from reenact.types import Array, Drive, Image, Target


class CopyRenderer:
    """Returns the reference unchanged."""

    device = "cpu"

    def prepare(self, target: Target) -> None:
        """Keep the first reference."""
        self._reference: Image = np.ascontiguousarray(target.references[0])

    def render(self, drive: Drive) -> Image:
        """Return a copy of the reference."""
        return self._reference.copy()

    def reset(self) -> None:
        """Do nothing: each frame is drawn on its own."""


class WarpRenderer:
    """Warps the reference by a Delaunay mesh of its landmarks and points on the crop's edge."""

    device = "cpu"

    def prepare(self, target: Target) -> None:
        """Triangulate the reference."""
        self._reference: Image = np.ascontiguousarray(target.references[0])
        self._start = np.concatenate([target.landmarks[0], _border(target.crop_size)])
        self._triangles = triangulate(self._start[:, :2])

    def render(self, drive: Drive) -> Image:
        """Draw one frame."""
        size = len(self._reference)
        end = np.concatenate([drive.landmarks, _border(size)])
        cells = rasterise(end[:, :2], self._triangles, size, end[:, 2])
        source = interpolate(cells, end[:, :2], self._triangles, self._start[:, :2])
        return warp_image(self._reference, source)

    def reset(self) -> None:
        """Do nothing: each frame is drawn on its own."""


def _border(size_px: int) -> Array:
    """Return eight pinned points on the crop's edge, (8, 3), far from the camera."""
    last = size_px - 1
    half = last / 2
    points = [
        *((0, 0), (half, 0), (last, 0), (0, half)),
        *((last, half), (0, last), (half, last), (last, last)),
    ]
    return np.array([(x, y, size_px) for x, y in points], np.float32)


COPY: Final = RendererSpec(
    "copy",
    "the reference, unchanged (a floor for comparison)",
    lambda common, own: CopyRenderer(),
)
WARP: Final = RendererSpec(
    "warp", "mesh warp of the reference, no network", lambda common, own: WarpRenderer()
)
