"""Chooses what of a target's picture is shown, so that the output has the wanted shape and size.

With `output.shape` the size of the output depends on the settings alone. Calls and recordings then
keep their size when the target changes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from reenact.config import OutputSettings
from reenact.rendering.compositing import View, whole_view
from reenact.targets.surroundings import usual_corner
from reenact.types import Array, Target

_RATIOS: Final = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "9:16": 9 / 16}
"""Width by height of each shape."""

_SHORT_SIDE: Final = 9 / 16
"""Short side of every shape, as a share of `output.max_side`: 1280 gives 720."""

_HAIR_SHARE: Final = 0.25
"""Room above the usual crop for hair that moves with the head, in the crop's sides. The face stays
in the crop, see `expression.head_motion`."""

_FACE_HEIGHT: Final = 0.45
"""Where the middle of the crop stands if there is a choice, as a share of the picture's height."""


def is_square_only(output: OutputSettings) -> bool:
    """Return True if the crop itself is the picture, and nothing is pasted."""
    return output.picture == "crop" and output.shape == "picture"


def view_of(target: Target, output: OutputSettings, size_px: int) -> View:
    """Return the view of a target's plate that is shown.

    With a shape, as much of the plate is shown as fits into it, or with `output.picture=crop` as
    little as holds the square around the face. The moving head always fits, so that a narrow plate
    is continued at its sides.

    Args:
        target: at any size, with or without its surroundings.
        output: settings of the output picture.
        size_px: side of the square around the face, with `output.picture=crop`.
    """
    if output.shape == "picture":
        return whole_view(target, output.max_side)
    size = _size(output, size_px)
    width, height = size
    plate = np.array(target.plate.shape[1::-1], np.float64)
    face, needed = _face_and_needed(target, output.picture == "plate")
    # Of a crop that lies almost beside its plate no sliver is enlarged.
    half = float(target.crop_to_plate[0, 0]) * target.usual_size / 2
    extent = np.maximum(needed[1] - needed[0], half)
    least = max(extent[0], extent[1] * width / height)
    most = min(plate[0], plate[1] * width / height)
    across = max(least, most) if output.picture == "plate" else least
    window = np.array([across, across * height / width])
    # The face is in the middle if the plate and the rest of what is needed allow it.
    origin = face - window * (0.5, _FACE_HEIGHT)
    origin = np.clip(origin, needed[1] - window, needed[0])
    inside = np.clip(origin, 0, np.maximum(plate - window, 0))
    origin = np.where(window > plate, (plate - window) / 2, inside)
    return View((*origin.tolist(), *window.tolist()), width / across, size)


def _size(output: OutputSettings, size_px: int) -> tuple[int, int]:
    """Return (width, height) px of the target's picture."""
    ratio = _RATIOS[output.shape]
    short = size_px if output.picture == "crop" else 2 * int(output.max_side * _SHORT_SIDE / 2)
    long = 2 * round(short * max(ratio, 1 / ratio) / 2)
    if output.show_raw_camera:
        long //= 2
    return (long, short) if ratio >= 1 else (short, long)


def _face_and_needed(target: Target, moves: bool) -> tuple[Array, Array]:
    """Return the middle of the usual crop, and the corners of what must be seen, px of the plate.

    What the plate does not show of it is not needed.
    """
    scale = float(target.crop_to_plate[0, 0])
    side = scale * target.usual_size
    corner = target.crop_to_plate[:, 2] + 0.5 + scale * (usual_corner(target) - 0.5)
    corners = np.stack([corner, corner + side])
    if moves:
        corners[0, 1] -= _HAIR_SHARE * side
    plate = np.array(target.plate.shape[1::-1])
    return corner + side / 2, np.clip(corners, 0, plate)
