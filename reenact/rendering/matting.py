"""The alpha channel of a target without its background, which moves with the head.

The person is segmented once, in the target at rest. The alpha of a frame is that matte, moved by
the same `HeadMesh` as the picture. This is cheap, and steady where the head is steady, unlike a
segmentation of every frame.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import TargetError
from reenact.face.segmentation import person_masks
from reenact.face.topology import OVAL
from reenact.models.warp_unet_inputs import FLOW
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.warp_unet import edge_fade
from reenact.types import Array, Body, Image, Target

Alpha = NDArray[np.uint8]
"""uint8 (H, W), 255 opaque."""

_GRID_SIDE: Final = 64
"""Cells per side of the map that moves the matte."""

_BAND_SHARE: Final = 0.02
"""Half the width of the band that is refined along the edge, as a share of the longer side."""

_SMOOTHNESS: Final = 30.0
"""Regularisation of the guided filter, in squared levels."""

_MIN_COVERAGE: Final = 0.35
"""Lower coverage becomes 0: such pixels carry the old background's colour."""


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
        self._neutral = target.neutral
        self._crop_px = target.crop_size
        self._square = square
        left, top, side = square
        height, width = picture.shape[:2]
        scale = side / target.crop_size
        mask = next(person_masks([picture]))
        oval = (target.neutral[list(OVAL), :2] * scale + (left, top)).astype(np.int32)
        face = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), oval, (1,))
        if not face.any() or mask[face > 0].mean() < 0.5:
            raise TargetError(
                f"No person is seen in the picture of {target.name}, so its background cannot be "
                "taken away; use output.background=keep."
            )
        self.rest: Alpha = _refined(mask, picture)
        self._box = (
            slice(max(top, 0), min(top + side, height)),
            slice(max(left, 0), min(left + side, width)),
        )
        self._fade = edge_fade(target, _GRID_SIDE)

    def alpha(self, landmarks: Array, body: Body | None = None) -> Alpha:
        """Return the alpha channel for driven landmarks.

        Args:
            landmarks: float32 (478, 3), px of the crop, as given to the renderer.
            body: the torso; None: the shoulders follow the head.

        Returns:
            uint8 (H, W), a new array each time.
        """
        left, top, side = self._square
        rows, columns = self._box
        maps = head_mesh().maps(self._neutral, landmarks, self._crop_px, _GRID_SIDE, body=body)
        coarse = maps[..., FLOW] * self._fade * np.float32(side / 2)
        shift = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
        shift = shift[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        across = np.arange(columns.start, columns.stop, dtype=np.float32)
        down = np.arange(rows.start, rows.stop, dtype=np.float32)
        result = self.rest.copy()
        result[self._box] = cv2.remap(
            self.rest,
            shift[..., 0] + across,
            shift[..., 1] + down[:, None],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return result


def _refined(mask: Array, picture: Image) -> Alpha:
    """Align the mask's coarse edge with the picture's (guided filter, He et al. 2010)."""
    reach = max(2, round(_BAND_SHARE * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    sure = (mask > 0.5).astype(np.uint8)
    inside, outside = cv2.erode(sure, kernel), cv2.dilate(sure, kernel)
    fine = cv2.ximgproc.guidedFilter(picture, mask, reach, _SMOOTHNESS)
    fine = np.clip((fine - _MIN_COVERAGE) / (0.9 - _MIN_COVERAGE), 0, 1)
    fine[inside > 0] = 1
    fine[outside == 0] = 0
    return np.asarray(np.round(fine * 255), np.uint8)
