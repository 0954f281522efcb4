"""Widens a target's crop, so that hair above and beside the usual one moves with the head."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from reenact.face.geometry import FACE_SHARE, face_box, transform_points
from reenact.imaging import mirrored_within, smoothstep
from reenact.types import Array, Image, Target

_EXTENT: Final = 1.25
"""Side of the wider crop, in sides of the usual one."""

_BEFORE: Final = np.array([0.125, 0.25], np.float32)
"""What is added to the left and at the top; below, shoulders meet the plate as before."""

_SEAM: Final = 0.1
"""Share of the usual crop over which another reference passes into the first one's picture."""


def with_surroundings(target: Target) -> Target:
    """Return the target with a wider crop, whose surroundings are those of its plate.

    Beyond the plate its mirror image goes on, see `imaging.mirrored_within`. A target that has a
    wider crop is returned as it is.
    """
    size = target.crop_size
    scale = float(target.crop_to_plate[0, 0])
    if target.extent != 1:
        return target
    side = round(size * _EXTENT)
    before = np.round(_BEFORE * size)
    affine = target.crop_to_plate.copy()
    affine[:, 2] -= scale * before
    left, top, right, bottom = face_box(transform_points(target.neutral, target.crop_to_plate))
    places = affine[:, 2:] + scale * np.arange(side, dtype=np.float32)
    height, width = target.plate.shape[:2]
    x, y = np.meshgrid(
        mirrored_within(places[0], width, (left, right)),
        mirrored_within(places[1], height, (top, bottom)),
    )
    around = np.asarray(cv2.remap(target.plate, x, y, cv2.INTER_LINEAR), np.uint8)
    alphas = target.alphas
    if alphas is not None and target.plate_alpha is not None:
        clear = np.asarray(cv2.remap(target.plate_alpha, x, y, cv2.INTER_LINEAR), np.uint8)
        laid = [_laid(one[..., None], clear[..., None], before) for one in alphas]
        alphas = np.stack(laid)[..., 0]
    shift = np.append(before, 0).astype(np.float32)
    return replace(
        target,
        references=np.stack([_laid(np.asarray(one), around, before) for one in target.references]),
        landmarks=target.landmarks + shift,
        neutral=target.neutral + shift,
        crop_to_plate=affine,
        extent=_EXTENT,
        alphas=alphas,
    )


def shown_square(target: Target) -> tuple[int, int, int]:
    """Return left, top and side, px of a target's crop, of the square that is shown of it.

    It is the usual crop; where that extends beyond the plate, it is moved into the plate, and
    shrunk to fit there. A square smaller than the face is never returned.
    """
    size, scale, shift = target.usual_size, target.crop_to_plate[0, 0], target.crop_to_plate[:, 2]
    usual = usual_corner(target)
    plate = np.array(target.plate.shape[1::-1])
    low = np.maximum(np.ceil((-0.5 - shift) / scale + 0.25), 0)
    high = np.minimum(np.floor((plate - 0.5 - shift) / scale + 0.75), target.crop_size)
    side = int(np.clip((high - low).min(), round(FACE_SHARE * size), size))
    at = np.clip(usual + (size - side) // 2, low, np.maximum(high - side, low))
    at = np.minimum(at, target.crop_size - side)
    return int(at[0]), int(at[1]), side


def usual_corner(target: Target) -> Array:
    """Return left and top, px of a target's crop, of the usual crop in it."""
    wider = target.extent != 1
    return np.round(_BEFORE * target.usual_size) if wider else np.zeros(2, np.float32)


def _laid(crop: Image, around: Image, before: Array) -> Image:
    """Return a crop before its surroundings, with a soft seam."""
    size = len(crop)
    left, top = before.astype(int)
    edge = np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) / size
    share = smoothstep(np.minimum(edge / _SEAM, 1))
    share = np.minimum.outer(share, share)[..., None]
    result = around.copy()
    box = result[top : top + size, left : left + size]
    box[:] = np.round(box + share * (crop.astype(np.float32) - box))
    return result
