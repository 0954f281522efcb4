"""Composes the generator's layers at the size of the output (Gemino, Sivaraman et al. 2022).

The network works on `NETWORK_PX` for every output size. Its smooth flows, share and residual are
upsampled; reference and background are sampled at the output's size, so that their detail survives.
The residual covers a box around the face. `WarpUNet.draw` composes the same layers at the network's
size.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Return a reference in the size that `warp_head` takes.

    Sampling it linearly costs a quarter of sampling the reference itself bicubically, and is as
    sharp but for one or two percent.
    """
    zoom = max(2, min(4, _FINE_PX // len(reference)))
    size = (zoom * len(reference),) * 2
    return np.asarray(cv2.resize(reference, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def warp_head(fine: Image, flow: Array, size: int) -> Image:
    """Sample an `enlarged` reference at a size, where a flow of any size points to.

    Args:
        fine: uint8 (F, F, 3) RGB.
        flow: (side, side, 2), in halves of the crop's side.
        size: side of the result, px.
    """
    # The flow is interpolated across tears of the mesh, too: following its cells shows their steps.
    return warp_image(fine, sources(_resized(flow, size), len(fine) // size))


def with_cavity(head: Image, unseen: Array, cavity: Array) -> Image:
    """Fill the mouth of a warped head, as `WarpUNet.with_cavity` does: uint8 (S, S, 3) RGB.

    Args:
        head: uint8 (S, S, 3) RGB, of `warp_head`; it is written into.
        unseen: (side, side), the channel `UNSEEN_MOUTH` of the maps.
        cavity: (3,) RGB, -1 to 1, inside of a mouth that the reference does not show.
    """
    if not unseen.any():
        return head
    cells = tuple(_blocks_with(unseen.any(axis=axis)) for axis in (1, 0))
    zoom = len(head) / len(unseen)
    box = head[tuple(slice(int(one.start * zoom), int(one.stop * zoom)) for one in cells)]
    share = np.asarray(cv2.resize(unseen[cells], box.shape[1::-1]))
    inside = np.full_like(box, np.round((cavity + 1) * 127.5).astype(np.uint8))
    box[:] = cv2.blendLinear(inside, box, share, 1 - share)
    return head


def _blocks_with(marked: NDArray[np.bool_]) -> slice:
    """Return whole blocks of `_BLOCK` cells in which all marked ones and their neighbours lie."""
    places = np.flatnonzero(marked)
    first, last = max(places[0] - 1, 0) // _BLOCK, (places[-1] + 1) // _BLOCK
    return slice(first * _BLOCK, (last + 1) * _BLOCK)


def as_input(head: Image, corner: Corner) -> Array:
    """Return the repair's box of a head as the network takes it.

    It is float32 (1, 3, B, B), -1 to 1, where B is `REPAIR_CELLS` cells of `STEM` px.
    """
    side = REPAIR_CELLS * STEM
    small = _resized(head[_box(corner, side, len(head))], side)
    planes = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    return np.asarray(planes, np.float32)


def _box(corner: Corner, side: int, size: int) -> tuple[slice, slice]:
    """Return the rows and columns, in a picture of a size, of a box with a side in `NETWORK_PX`."""
    zoom = size / NETWORK_PX
    rows, columns = (
        slice(round(start * STEM * zoom), round((start * STEM + side) * zoom)) for start in corner
    )
    return rows, columns


def compose(head: Image, background: Image, drawn: Sequence[Array], corner: Corner) -> Image:
    """Lay the moved head, repaired, over the moved background.

    Args:
        head: uint8 (S, S, 3) RGB, of `with_cavity`.
        background: uint8 (S, S, 3) RGB, the reference with the background filled in.
        drawn: the outputs of `models.warp_unet.Layers` for one picture: residual (3, B, B) of the
            box, in px of `NETWORK_PX`, where -1 to 1 is the value range; the background's flow
            (2, Q, Q) in halves of the side; and the head's share (1, R, R), 0 to 1.
        corner: of the box.

    Returns:
        uint8 (S, S, 3) RGB.
    """
    size = len(head)
    residual, rest_flow, (share,) = drawn
    rest = warp_image(background, sources(_resized(cv2.merge(list(rest_flow)), size)))
    share = _resized(share, size)
    picture = np.asarray(cv2.blendLinear(head, rest, share, 1 - share), np.uint8)
    box = picture[_box(corner, residual.shape[-1], size)]
    added = _resized(cv2.merge(list(residual * np.float32(127.5))), len(box))
    box[:] = cv2.add(box, added, dtype=cv2.CV_8U)
    return picture


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
