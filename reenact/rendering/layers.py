"""Composes the generator's layers at the size of the output (Gemino, Sivaraman et al. 2022).

The network works on `NETWORK_PX` for every output size. Its smooth flows, share and residual are
upsampled; reference and background are sampled at the output's size, so that their detail survives.
`WarpUNet.forward` composes the same layers at the network's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.models.warp_unet_inputs import FLOW, MapChannel
from reenact.rendering.mesh_warp import sources, warp_image
from reenact.types import Array, Image

_FLOAT: Final = cv2.CV_32F


def compose(
    reference: Image, background: Image, maps: Array, drawn: Sequence[Array], cavity: Array
) -> Array:
    """Draw the moved head over the moved background, relit and repaired.

    Args:
        reference: uint8 (S, S, 3) RGB.
        background: uint8 (S, S, 3) RGB, the reference with the background filled in.
        maps: (side, side, MAP_CHANNELS) of `HeadMesh.maps`.
        drawn: the outputs of `models.warp_unet.Layers` for one picture: residual (3, P, P), where
            -1 to 1 is the value range; and (3, side, side), the background's flow in halves of the
            side and the head's share, 0 to 1.
        cavity: (3,) RGB, -1 to 1, inside of a mouth that the reference does not show.

    Returns:
        float32 (S, S, 3) RGB, about -1 to 1.
    """
    size = len(reference)
    residual, (*rest_flow, share) = drawn
    unseen, light = maps[..., MapChannel.UNSEEN_MOUTH], maps[..., MapChannel.LIGHT]
    added = cv2.merge(list(residual - 1))
    if unseen.any():
        added += _resized(share * unseen, len(added))[..., None] * (cavity + 1)
    # The flow is interpolated across tears of the mesh, too: following its cells shows their steps.
    head = warp_image(reference, sources(_resized(maps[..., FLOW], size)), cv2.INTER_CUBIC)
    rest = warp_image(background, sources(_resized(cv2.merge(rest_flow), size)))
    picture = cv2.multiply(head, _factor(share * (1 - unseen) * (1 + light), size), dtype=_FLOAT)
    cv2.add(picture, cv2.multiply(rest, _factor(1 - share, size), dtype=_FLOAT), dst=picture)
    return np.asarray(cv2.add(picture, _resized(added, size), dst=picture), np.float32)


def fill_background(scene: Image, coarse_scene: Array, coarse_background: Array) -> Image:
    """Add to a scene, uint8 (S, S, 3), what the encoder added to it at the network's size.

    Args:
        scene: uint8 (S, S, 3) RGB.
        coarse_scene: (3, P, P) the same in -1 to 1.
        coarse_background: (3, P, P) the encoder's background in about -1 to 1.
    """
    fill = cv2.merge(list((coarse_background - coarse_scene) * np.float32(127.5)))
    return np.asarray(cv2.add(scene, _resized(fill, len(scene)), dtype=cv2.CV_8U), np.uint8)


def _resized(values: NDArray[Any], size: int) -> Array:
    """Resize (H, W, C) bilinearly, or by area where it shrinks."""
    method = cv2.INTER_AREA if size < len(values) else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(values), (size, size), interpolation=method)
    return np.asarray(resized, np.float32)


def _factor(weights: Array, size: int) -> Array:
    """Return (side, side) weights of a uint8 picture in -1 to 1 as (size, size, 3)."""
    return _resized(cv2.merge([weights * np.float32(1 / 127.5)] * 3), size)
