"""Composes the generator's layers at the size of the output (Gemino, Sivaraman et al. 2022).

The network works on `NETWORK_PX` for every output size. Its smooth residual is upsampled; reference
and background are sampled at the output's size, so that their detail survives. The residual covers
a box around the face. `WarpUNet.forward` composes the same layers at the network's size.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.models.warp_unet_inputs import NETWORK_PX, REPAIR_CELLS, STEM
from reenact.rendering.mesh_warp import sources, warp_image
from reenact.types import Array, Image

Corner = tuple[int, int]
"""First row and column of the repair's box, in cells of `STEM` px of the network's pictures."""

_BLOCK: Final = 8
"""So many cells of the maps are a whole number of px in every size."""

_FINE_PX: Final = 1536
"""Side of an `enlarged` reference; two to four times the reference's own."""


def enlarged(reference: Image) -> Image:
    """Return a reference in the size that `warp_person` takes.

    Sampling it linearly costs a quarter of sampling the reference itself bicubically, and is as
    sharp but for one or two percent.
    """
    zoom = max(2, min(4, _FINE_PX // len(reference)))
    size = (zoom * len(reference),) * 2
    return np.asarray(cv2.resize(reference, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def warp_person(fine: Image, flow: Array, size: int) -> Image:
    """Sample an `enlarged` reference at a size, where a flow of any size points to.

    Args:
        fine: uint8 (F, F, 4), RGB and the person's share.
        flow: (side, side, 2), in halves of the crop's side.
        size: side of the result, px.
    """
    # The flow is interpolated across tears of the mesh, too: following its cells shows their steps.
    return warp_image(fine, sources(_resized(flow, size), len(fine) // size))


def with_cavity(head: Image, unseen: Array, cavity: Array) -> Image:
    """Fill the mouth of a warped person, as `WarpUNet.layered` does.

    Args:
        head: uint8 (S, S, 4), of `warp_person`; it is written into.
        unseen: (side, side), the channel `UNSEEN_MOUTH` of the maps.
        cavity: (3,) RGB, -1 to 1, inside of a mouth that the reference does not show.
    """
    if not unseen.any():
        return head
    cells = tuple(_blocks_with(unseen.any(axis=axis)) for axis in (1, 0))
    zoom = len(head) / len(unseen)
    box = head[tuple(slice(int(one.start * zoom), int(one.stop * zoom)) for one in cells)]
    share = np.asarray(cv2.resize(unseen[cells], box.shape[1::-1]))
    inside = np.full_like(box, np.append(np.round((cavity + 1) * 127.5), 255).astype(np.uint8))
    box[:] = cv2.blendLinear(inside, box, share, 1 - share)
    return head


def _blocks_with(marked: NDArray[np.bool_]) -> slice:
    """Return whole blocks of `_BLOCK` cells in which all marked ones and their neighbours lie."""
    places = np.flatnonzero(marked)
    first, last = max(places[0] - 1, 0) // _BLOCK, (places[-1] + 1) // _BLOCK
    return slice(first * _BLOCK, (last + 1) * _BLOCK)


def lay_over(person: Image, background: Image) -> Image:
    """Lay a moved person, uint8 (S, S, 4), over a background, uint8 (S, S, 3) RGB."""
    share = cv2.extractChannel(person, 3) * np.float32(1 / 255)
    shown = cv2.cvtColor(person, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.blendLinear(shown, background, share, 1 - share), np.uint8)


def as_input(layered: Image, corner: Corner) -> Array:
    """Return the repair's box of a picture as the network takes it.

    It is float32 (1, 3, B, B), -1 to 1, where B is `REPAIR_CELLS` cells of `STEM` px.
    """
    side = REPAIR_CELLS * STEM
    small = _resized(layered[_box(corner, side, len(layered))], side)
    planes = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    return np.asarray(planes, np.float32)


def add_residual(picture: Image, residual: Array, corner: Corner) -> None:
    """Add the network's residual to a picture, uint8 (S, S, 3) RGB, in place.

    Args:
        picture: of `lay_over`.
        residual: (3, B, B) of the box, in px of `NETWORK_PX`; 2 is the range of the values.
        corner: of the box.
    """
    box = picture[_box(corner, residual.shape[-1], len(picture))]
    added = _resized(cv2.merge(list(residual * np.float32(127.5))), len(box))
    box[:] = cv2.add(box, added, dtype=cv2.CV_8U)


def _box(corner: Corner, side: int, size: int) -> tuple[slice, slice]:
    """Return the rows and columns, in a picture of a size, of a box with a side in `NETWORK_PX`."""
    zoom = size / NETWORK_PX
    rows, columns = (
        slice(round(start * STEM * zoom), round((start * STEM + side) * zoom)) for start in corner
    )
    return rows, columns


def fill_background(scene: Image, coarse_scene: Array, coarse_background: Array) -> Image:
    """Add to a scene, uint8 (S, S, 3), what the encoder added to it at the network's size.

    Args:
        scene: uint8 (S, S, 3) RGB.
        coarse_scene: (3, P, P) the same in -1 to 1.
        coarse_background: (3, P, P) the encoder's background in about -1 to 1.
    """
    fill = cv2.merge(list((coarse_background - coarse_scene) * np.float32(127.5)))
    return np.asarray(cv2.add(scene, _resized(fill, len(scene)), dtype=cv2.CV_8U), np.uint8)


def _resized(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Resize (H, W, C) bilinearly, or by areas where it shrinks to half or less; the type stays."""
    method = cv2.INTER_AREA if 2 * size <= len(values) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(values), (size, size), interpolation=method))
