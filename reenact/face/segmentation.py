"""Separates people from the background by MediaPipe's selfie segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import filled_outline
from reenact.face.mediapipe_graphs import open_graph, solutions
from reenact.face.topology import OVAL
from reenact.types import Array, Image

_RIM: Final = 8 / 256
"""Width of the rim, as a fraction of a side. In the outer 8 px of 79 pictures of 256 px the model
misses 153 px of a person on average, up to 576, and hardly finds any in excess."""

_SURELY_EMPTY: Final = 0.1
"""Probability below which the model's value counts in the upper rim as well. Otherwise hair that
ends just below the edge would be continued to it. At the other edges people are cut off, and the
model may be sure of an empty rim beside long hair that leaves the picture."""

_MIN_SHARE: Final = 0.5
"""Share of a face that must be segmented as a person; otherwise the segmentation is wrong."""

_COLOUR_SIDE_PX: Final = 256
"""Longer side to which a picture is reduced to compare colours."""

_SURE: Final = 0.03, 0.98
"""Probabilities below and above which a pixel is the wall's or a person's whatever its colour."""

_MIN_WALL_PX: Final = 64
"""Pixels that must be the wall's, so that its colours are known."""

_ROUNDS: Final = 2
"""How often the colours are learned from the outline, and the outline from the colours."""

_MAX_FRAME: Final = 0.97
"""Overlap (IoU) with its bounding box, or with the ellipse in that, from which on an alpha channel
is only a frame: a photo with round corners, or a round portrait."""


def person_masks(images: Iterable[Image]) -> Iterator[Array]:
    """Yield for each picture the probability that each pixel belongs to a person.

    Every picture is segmented independently, which takes about 10 ms.

    Args:
        images: uint8 (H, W, 3) RGB.

    Yields:
        float32 (H, W), 0 to 1.

    Raises:
        ModelError: mediapipe is missing, or this version has no such model.
    """
    segmentation = solutions().selfie_segmentation.SelfieSegmentation
    with open_graph(lambda: segmentation(model_selection=0)) as model:
        for image in images:
            found = model.process(np.ascontiguousarray(image)).segmentation_mask
            yield _without_rim(np.asarray(found, dtype=np.float32))


def shows_person(mask: Array, landmarks: Array) -> bool:
    """Return whether the face with these (478, 3) or (478, 2) px is a person's in a mask."""
    face = filled_outline(landmarks[list(OVAL), :2], mask.shape) > 127
    return bool(face.any() and mask[face].mean() >= _MIN_SHARE)


def by_colour(mask: Array, picture: Image, landmarks: Array) -> Array:
    """Return a person's mask whose outline follows the picture's colours (GrabCut, Rother 2004).

    The segmentation misses coloured and drawn hair, and takes walls beside hair for it.

    Args:
        mask: (H, W), 0 to 1, from `person_masks`.
        picture: uint8 (H, W, 3) RGB.
        landmarks: (478, 3) or (478, 2) px, of the person.
    """
    zoom = min(1.0, _COLOUR_SIDE_PX / max(mask.shape))
    size = [max(1, round(side * zoom)) for side in mask.shape[::-1]]
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    person = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)
    face = filled_outline((landmarks[list(OVAL), :2] + 0.5) * zoom - 0.5, person.shape) > 127
    kinds = np.where(person > 0.5, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    kinds[person < _SURE[0]] = cv2.GC_BGD
    kinds[(person > _SURE[1]) | face] = cv2.GC_FGD
    if (kinds == cv2.GC_BGD).sum() < _MIN_WALL_PX:
        return mask
    wall, own = np.zeros((2, 1, 65))  # written into
    cv2.setRNGSeed(0)  # which initial means are chosen
    cv2.grabCut(small, kinds, (0, 0, 0, 0), wall, own, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(kinds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(inside, mask.shape[::-1]), np.float32)


def is_outline(alpha: NDArray[np.uint8], landmarks: Array) -> bool:
    """Return whether an alpha channel, (H, W), is the outline of the person with these landmarks.

    It covers the face, and is no mere frame of the picture: a rectangle or a disc.
    """
    inside = (alpha > 127).astype(np.uint8)
    if not shows_person(inside.astype(np.float32), landmarks):
        return False
    x, y, width, height = cv2.boundingRect(inside)
    box = inside[y : y + height, x : x + width] > 0
    rows, columns = ((np.arange(length) + 0.5) * (2 / length) - 1 for length in (height, width))
    disc = np.add.outer(rows**2, columns**2) < 1
    overlap = (box & disc).sum() / (box | disc).sum()
    return bool(max(box.mean(), overlap) < _MAX_FRAME)


def _without_rim(mask: Array) -> Array:
    """Replace the values near the picture's edges, where people are missed, by inner ones.

    A pixel near the upper edge that is surely empty stays as it is.
    """
    rims = [round(_RIM * side) for side in mask.shape]
    inner = mask[tuple(slice(rim, side - rim) for rim, side in zip(rims, mask.shape, strict=True))]
    continued = np.pad(inner, [(rim, rim) for rim in rims], mode="edge")
    top = slice(rims[0])
    continued[top][mask[top] < _SURELY_EMPTY] = 0
    return continued
