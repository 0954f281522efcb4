"""The alpha channel of a target without its background, which moves with the head.

The person is segmented once, in the target at rest. The alpha of a frame is that matte, moved by
the same `HeadMesh` as the picture: cheap, and steady where the head is steady, unlike a
segmentation of every frame.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import TargetError
from reenact.face.segmentation import person_masks, shows_person
from reenact.imaging import in_bytes
from reenact.models.warp_unet_inputs import FLOW
from reenact.rendering.background import closed_above, refined
from reenact.rendering.compositing import edge_fade, overlap
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import warp_image
from reenact.types import HEAD_ALONE, Array, Body, Image, Target

_APART: Final = 0.05
"""What lies apart from the person and is smaller than this share of it is not part of it."""

_OPAQUE: Final = 242
"""From this alpha on a pixel has the person's own colour."""

_SPILL_STEP: Final = 4
_SPILL_SHARE: Final = 0.02
"""The person's colours are taken from so far, as a share of the longer side, of every fourth px."""

_MIN_WEIGHT: Final = 0.01
"""Weight of colours that are not the person's, which count where nothing opaque is near."""

Alpha = NDArray[np.uint8]
"""uint8 (H, W), 255 opaque."""

_GRID_SIDE: Final = 64
"""Cells per side of the map that moves the matte."""

_BAND_SHARE: Final = 0.02
"""Half the width of the band that is refined along the edge, as a share of the longer side."""

_COVERAGE: Final = (0.35, 0.9)
"""Coverage that becomes 0 and 1: with little of the person, a pixel has the old background's
colour."""


class Matte:
    """The alpha channel of one target's pictures. One thread calls.

    Args:
        target: at the renderer's size.
        picture: uint8 (H, W, 3) RGB, the finished picture of the target at rest.
        square: (left, top, side) px of the crop in that picture; it may extend beyond it.

    Attributes:
        rest: uint8 (H, W), alpha of the target at rest; do not write into it.

    Raises:
        TargetError: the face is not segmented as a person.
        ModelError: this version of mediapipe has no segmentation.
    """

    def __init__(self, target: Target, picture: Image, square: tuple[int, int, int]) -> None:
        self._neutral, self._crop_px = target.neutral, target.crop_size
        left, top, self._side = square
        mask = next(person_masks([picture]))
        face = target.neutral[:, :2] * (self._side / self._crop_px) + (left, top)
        if not shows_person(mask, face):
            raise TargetError(
                f"No person is seen in the picture of {target.name}, so its background cannot be "
                "taken away; use output.background=keep."
            )
        self.rest: Alpha = _whole(_refined(mask, picture))
        self._above = max(0, -top)
        self._closed = _closed_above(self.rest, self._above, float(face[:, 0].mean()))
        self._box, self._cut = overlap(square, picture)
        self._fade = edge_fade(target, _GRID_SIDE)

    def alpha(self, landmarks: Array, body: Body = HEAD_ALONE) -> Alpha:
        """Return the alpha channel for driven landmarks, uint8 (H, W), a new array each time.

        Args:
            landmarks: float32 (478, 3), px of the crop, as given to the renderer.
            body: what is known of torso and hair.
        """
        maps = head_mesh().maps(self._neutral, landmarks, self._crop_px, _GRID_SIDE, body=body)
        flow = maps[..., FLOW] * self._fade * np.float32(self._side / 2)
        shift = cv2.resize(flow, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        result = self.rest.copy()
        down, across = np.mgrid[self._box].astype(np.float32)
        places = np.stack([across, down], axis=-1) + shift[self._cut]
        places[..., 1] += self._above
        result[self._box] = warp_image(self._closed, places)
        return result


def without_spill(picture: Image, alpha: Alpha) -> Image:
    """Return a picture whose half transparent edge has the colours of the person beside it.

    There the old background shines through, which would be a halo before another one.
    """
    sampled = slice(None, None, _SPILL_STEP)
    colours = picture[sampled, sampled].astype(np.float32)
    weight = (alpha[sampled, sampled] > _OPAQUE) + np.float32(_MIN_WEIGHT)
    reach = (2 * max(1, round(_SPILL_SHARE * max(weight.shape))) + 1,) * 2
    own = cv2.blur(colours * weight[..., None], reach) / cv2.blur(weight, reach)[..., None]
    rows, columns = np.nonzero((alpha > 0) & (alpha <= _OPAQUE))
    near = own[rows // _SPILL_STEP, columns // _SPILL_STEP]
    share = alpha[rows, columns, None] * np.float32(1 / 255)
    result = picture.copy()
    result[rows, columns] = near + share * (picture[rows, columns] - near)
    return result


def _closed_above(alpha: Alpha, rows: int, column: float) -> Alpha:
    """Return an alpha channel with rows above it, in which a head that the edge cuts is closed."""
    padded = np.pad(alpha, ((rows, 0), (0, 0)))
    if rows == 0:
        return padded
    return closed_above(np.dstack([padded] * 3), padded, rows, column)[1]


def _whole(alpha: Alpha) -> Alpha:
    """Return an alpha channel without what lies apart from the person, and is much smaller."""
    _, groups, stats, _ = cv2.connectedComponentsWithStats((alpha > 0).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.where((areas >= _APART * areas.max())[groups], alpha, np.uint8(0))


def _refined(mask: Array, picture: Image) -> Alpha:
    """Align the mask's coarse edge with the picture's, and change nothing far from it."""
    reach = max(2, round(_BAND_SHARE * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    sure = (mask > 0.5).astype(np.uint8)
    fine = refined(mask, picture, reach, _COVERAGE)
    fine[cv2.erode(sure, kernel) > 0] = 1
    fine[cv2.dilate(sure, kernel) == 0] = 0
    return in_bytes(fine)
