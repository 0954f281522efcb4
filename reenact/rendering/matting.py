"""The alpha channel of a target whose background is removed.

The person is segmented once, in the target at rest, unless the target's picture came with an alpha
channel. The renderer then moves that matte like the picture. This is cheap, and does not flicker
like a segmentation of every frame.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import TargetError
from reenact.face.segmentation import by_colour, person_masks, shows_person
from reenact.imaging import in_bytes, resized_square
from reenact.rendering.background import closed_above, refined
from reenact.types import Array, Image, Target

_MIN_ISLAND: Final = 0.05
"""Separate regions smaller than this share of the largest one are removed."""

_OPAQUE: Final = 242
"""A pixel with a larger alpha has the person's own colour."""

_SPILL_STEP: Final = 4
"""The person's colours are averaged over every fourth px."""

_SPILL_SHARE: Final = 0.02
"""Reach of that average, as a share of the longer side."""

_MIN_WEIGHT: Final = 0.01
"""Weight of other colours in that average; they count only where no opaque px is near."""

Alpha = NDArray[np.uint8]
"""uint8 (H, W), 255 opaque."""

_BAND_SHARE: Final = 0.02
"""Half the width of the refined band along the edge, as a share of the longer side."""

_COVERAGE: Final = (0.35, 0.9)
"""Coverages that become 0 and 1. The first is high, because a pixel with little of the person shows
the old background's colour."""


class Matte:
    """The person's alpha in one target's picture at rest.

    Args:
        target: the target at the renderer's size.
        picture: uint8 (H, W, 3) RGB, the composed picture of the target at rest.
        square: (left, top, side) px of the crop in that picture; it may extend beyond it.
        alpha: uint8 (H, W), the picture's own, which then lies on white; None: the person is
            segmented.

    Attributes:
        whole: uint8 (H, W), of the picture; do not write into it.
        crop: uint8 (S, S), of the crop, where a head that the picture's edge cuts is completed.
        on_white: True if they are the picture's own.

    Raises:
        TargetError: the face is not segmented as a person.
        ModelError: this version of mediapipe has no segmentation.
    """

    def __init__(
        self,
        target: Target,
        picture: Image,
        square: tuple[int, int, int],
        alpha: Alpha | None = None,
    ) -> None:
        left, top, side = square
        face = target.neutral[:, :2] * (side / target.crop_size) + (left, top)
        self.on_white = alpha is not None
        self.whole: Alpha = _segmented(target.name, picture, face) if alpha is None else alpha
        height, width = self.whole.shape
        above, before = max(0, -top), max(0, -left)
        padded = np.pad(self.whole, ((above, 0), (0, 0)))
        below_edge, drawn = np.add(face, (0, above)), np.dstack([padded] * 3)
        _, closed = closed_above(drawn, padded, above, below_edge, exact=self.on_white)
        extended = cv2.copyMakeBorder(
            closed,
            top=0,
            bottom=max(0, top + side - height),
            left=before,
            right=max(0, left + side - width),
            borderType=cv2.BORDER_REPLICATE,
        )
        first_row, first_column = top + above, left + before
        crop = extended[first_row : first_row + side, first_column : first_column + side]
        self.crop: Alpha = resized_square(np.ascontiguousarray(crop, np.uint8), target.crop_size)


def _segmented(name: str, picture: Image, face: Array) -> Alpha:
    mask = next(person_masks([picture]))
    if not shows_person(mask, face):
        raise TargetError(
            f"No person is seen in the picture of {name}, so its background cannot be taken away; "
            "use output.background=keep, or make the target from a PNG whose background is "
            "transparent."
        )
    return _without_islands(_refined(by_colour(mask, picture, face), picture))


def without_white(picture: Image, alpha: Alpha) -> Image:
    """Return the person's own colours in a picture that was composited on white with an alpha.

    Both arrays are uint8, (H, W, 3) and (H, W). Where the alpha is 0 the picture is not changed.
    """
    rows, columns = np.nonzero((alpha > 0) & (alpha < 255))
    share = alpha[rows, columns, None] * np.float32(1 / 255)
    mixed = picture[rows, columns].astype(np.float32)
    result = picture.copy()
    result[rows, columns] = np.clip(np.round(255 - (255 - mixed) / share), 0, 255)
    return result


def without_spill(picture: Image, alpha: Alpha) -> Image:
    """Return a picture whose half transparent edge has the colours of the person beside it.

    The old background's colours there would be a halo over a new background. Both arrays are uint8,
    (H, W, 3) and (H, W).
    """
    sampled = slice(None, None, _SPILL_STEP)
    colours = picture[sampled, sampled].astype(np.float32)
    weight = (alpha[sampled, sampled] > _OPAQUE) + np.float32(_MIN_WEIGHT)
    window = (2 * max(1, round(_SPILL_SHARE * max(weight.shape))) + 1,) * 2
    means = cv2.blur(colours * weight[..., None], window) / cv2.blur(weight, window)[..., None]
    rows, columns = np.nonzero((alpha > 0) & (alpha <= _OPAQUE))
    person = means[rows // _SPILL_STEP, columns // _SPILL_STEP]
    share = alpha[rows, columns, None] * np.float32(1 / 255)
    result = picture.copy()
    result[rows, columns] = person + share * (picture[rows, columns] - person)
    return result


def _without_islands(alpha: Alpha) -> Alpha:
    """Return an alpha channel without small regions that are separate from the person."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.where((areas >= _MIN_ISLAND * areas.max())[labels], alpha, np.uint8(0))


def _refined(mask: Array, picture: Image) -> Alpha:
    """Align the mask's coarse edge with the picture's; far from it the mask becomes 0 or 1."""
    reach = max(2, round(_BAND_SHARE * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inside = (mask > 0.5).astype(np.uint8)
    fine = refined(mask, picture, reach, _COVERAGE)
    fine[cv2.erode(inside, kernel) > 0] = 1
    fine[cv2.dilate(inside, kernel) == 0] = 0
    return in_bytes(fine)
