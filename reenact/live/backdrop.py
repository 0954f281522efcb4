"""Replaces a target's own background."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from reenact.config import BACKGROUNDS, OutputSettings
from reenact.rendering.background import without_person
from reenact.rendering.matting import Alpha, without_spill, without_white
from reenact.targets.backgrounds import read_background
from reenact.types import Image

_BLUR_SHARE: Final = 1 / 28
"""Standard deviation of the blur, as a share of the longer side."""


class Backdrop:
    """Composites one target over `output.background`.

    One thread calls `lay`; any thread may call `open`.

    Args:
        picture: uint8 (H, W, 3) RGB, the final picture of the target at rest.
        rest: uint8 (H, W), the person's alpha in it.
        crop: uint8 (S, S), the person's alpha in the crop at rest.
        on_white: True if the target's pictures were composited on white with an alpha of their own.

    Attributes:
        rest, crop: the same; do not write into them.
    """

    def __init__(self, picture: Image, rest: Alpha, crop: Alpha, on_white: bool = False) -> None:
        self.rest, self.crop = rest, crop
        self._clean = without_white if on_white else without_spill
        self._blurred = np.full_like(picture, 255) if on_white else _blurred(picture, rest)
        self._plain: tuple[str, Image] | None = None
        self._pictures: dict[str, Image] = {}

    def open(self, background: str) -> None:
        """Read and scale a picture of the user's, so that `lay` can use it from then on.

        Raises:
            ReenactError: there is no such picture, or it cannot be read.
        """
        if background in BACKGROUNDS:
            return
        height, width = self.rest.shape
        opened = read_background(background, (width, height))
        # The one that is shown now is needed until the setting changes.
        newest = dict([*self._pictures.items()][-1:])
        self._pictures = {**newest, background: opened}

    def lay(
        self, picture: Image, alpha: Alpha, output: OutputSettings
    ) -> tuple[Image, Alpha | None]:
        """Return the picture with the chosen background, and its alpha channel if it has one.

        Args:
            picture: uint8 (H, W, 3) RGB, of the same size as the picture at rest.
            alpha: the person in it, uint8 (H, W).
            output: settings in which `background` is not "keep".

        A picture of the user's that was not opened is replaced by the blurred background.
        """
        picture = self._clean(picture, alpha)
        if output.background == "transparent":
            return picture, alpha
        if output.background == "colour":
            behind = self._coloured(output.background_colour)
        else:
            behind = self._pictures.get(output.background, self._blurred)
        share = cv2.merge([alpha, alpha, alpha])
        person = cv2.multiply(picture, share, scale=1 / 255)
        rest = cv2.multiply(behind, cv2.bitwise_not(share), scale=1 / 255)
        return np.asarray(cv2.add(person, rest), np.uint8), None

    def _coloured(self, colour: str) -> Image:
        if self._plain is None or self._plain[0] != colour:
            rgb = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
            self._plain = colour, np.broadcast_to(rgb, self._blurred.shape).copy()
        return self._plain[1]


def _blurred(picture: Image, person: Alpha) -> Image:
    """Return the picture blurred, without the person."""
    sigma = _BLUR_SHARE * max(picture.shape)
    return np.asarray(cv2.GaussianBlur(without_person(picture, person), (0, 0), sigma), np.uint8)
