"""Changes the light of a face's skin as it moves.

A smile has a fold from nose to mouth and raised, brighter cheeks. A warped photo keeps the light of
its own expression, so its smile looks painted on. The logarithm of the change is much the same on
everybody. It is modelled as linear in the head's motion and the change of expression
(`skin_flow.limited_causes`), for each place of the face, learned from clips
(`tools.skin_shading`): the expression ratio image (Liu, Shan and Zhang 2001) of an average face.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.skin_flow import MOTIONS, causes_between, shipped_skin_flow
from reenact.storage import read_asset
from reenact.types import Array, Pose

ASSET: Final = "skin_shading.npz"

DARK: Final = 10 / 255
"""Share of the brightest value that is added before light is compared or changed, because the
noise of dark pixels would count as large changes."""

CHANNELS: Final = (0.89, 1.04, 1.1)
"""Share of the logarithm in red, green and blue: shaded skin is redder. Measured on 47 people."""

MAX_LOG: Final = 0.4
"""Bound of the logarithm of a change."""

_MIDDLE: Final = (0.0, 0.6)
"""Middle of the atlas on the canonical face, iod."""

_HALF_SIDE: Final = 1.45
"""Half of the atlas' side, iod."""


class SkinShading:
    """The change of the skin's light, linear in C causes. Immutable.

    Args:
        components: (C - 5, 468, 3) of expression, see `SkinFlow`.
        light: (C, G, G) logarithm of the luma's change per unit of each cause, on an atlas of the
            canonical face.
    """

    def __init__(self, components: Array, light: Array) -> None:
        self.components = np.asarray(components, dtype=np.float32)
        self.light = np.asarray(light, dtype=np.float32)

    def change(self, reference: Array, drive: Array, poses: tuple[Pose, Pose]) -> Array:
        """Return the logarithm of the change on the atlas, (G, G).

        Args:
            reference: (478, 3) landmarks of the picture whose light is changed.
            drive: (478, 3) landmarks of the face that is drawn.
            poses: of both.
        """
        causes = causes_between(reference, drive, poses, self.components)
        side = self.light.shape[-1]
        change = (causes @ self.light.reshape(len(causes), -1)).reshape(side, side)
        return np.clip(change, -MAX_LOG, MAX_LOG)


def on_atlas(x: Array, y: Array, side: int) -> tuple[Array, Array]:
    """Return places on the canonical face, iod, in px of an atlas with this side."""
    zoom = np.float32(side / 2 / _HALF_SIDE)
    left, top = (np.float32(middle - _HALF_SIDE) for middle in _MIDDLE)
    return (x - left) * zoom, (y - top) * zoom


def sampled(atlas: Array, x: Array, y: Array) -> Array:
    """Sample an atlas, (G, G), bilinearly at places on the canonical face, iod (H, W) each.

    It is 0 beyond the atlas.
    """
    values = cv2.remap(atlas, *on_atlas(x, y, len(atlas)), cv2.INTER_LINEAR)
    return np.asarray(values, np.float32)


def relit(picture: NDArray[np.uint8], log_change: Array) -> Array:
    """Return a picture, uint8 (S, S, 3), with its light changed, float32 in 0 to 255.

    `log_change` is of any size.
    """
    size = (len(picture), len(picture))
    change = cv2.resize(log_change, size)[..., None]
    gain = np.exp(change * np.array(CHANNELS, np.float32))
    dark = np.float32(255 * DARK)
    return np.asarray(np.clip((picture + dark) * gain - dark, 0, 255), np.float32)


@lru_cache(maxsize=1)
def shipped_skin_shading() -> SkinShading:
    """Return the `SkinShading` that is shipped with the program."""
    light = read_asset(ASSET)["light"]
    return SkinShading(shipped_skin_flow().components[: len(light) - len(MOTIONS)], light)
