"""Pixel regression (Akram 2020) as a renderer of reenact: draws an emotion on a photo.

The head stays still. Each emotion has one closed-form regression per pixel. The emotions are mixed
by `Drive.emotion`, and `Drive.intensity` blends the result with the photo (ours). This module holds
the spec and the renderer, which does not need torch.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from reenact.config import RendererSettings, Section
from reenact.errors import ModelError
from reenact.registry import RendererSpec
from reenact.types import Array, Drive, Image, Target

if TYPE_CHECKING:
    from reenact_pixel_regression.knots import Knots

NAME: Final = "pixel_regression"


class PixelRegressionRenderer:
    """Adds the change of each emotion to the target's first reference. One thread calls it.

    The reference is constant, so the tables are applied in `prepare`, and a frame is only a
    weighted sum.
    """

    device = "cpu"

    def __init__(self, settings: RendererSettings) -> None:
        self._settings = settings
        self._loaded: tuple[Path, Knots] | None = None

    def prepare(self, target: Target) -> None:
        """Compute the change of each emotion in the target's first reference.

        Raises:
            ModelError: the weights are missing, damaged or of another renderer.
        """
        from reenact_pixel_regression.alignment import SIZE_PX, chosen, frame_points, to_frame
        from reenact_pixel_regression.knots import load_knots
        from reenact_pixel_regression.portable import carried, change, tabulate, weight

        path = self._weights(target)
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = path, load_knots(path)
        self._reference = np.ascontiguousarray(target.references[0])
        face = to_frame(self._reference, target.landmarks[0])
        points, frame = chosen(target.landmarks[0]), frame_points().astype(np.float64)
        soft = weight(frame, SIZE_PX)[..., None]
        size = (target.crop_size, target.crop_size)
        added = np.concatenate(
            [change(tabulate(knots), face) * soft for knots in self._loaded[1]], axis=-1
        )
        drawn = carried(added, points, frame, size)
        self._changes: list[Array] = [
            np.ascontiguousarray(drawn[..., channel : channel + 3])
            for channel in range(0, drawn.shape[-1], 3)
        ]

    def render(self, drive: Drive) -> Image:
        """Draw one frame; without an emotion it is the reference itself."""
        added: Array | None = None
        for share, change in zip(drive.emotion[1:], self._changes, strict=True):
            amount = float(share) * drive.intensity
            if amount:
                base = np.zeros_like(change) if added is None else added
                added = np.asarray(cv2.scaleAdd(change, amount, base), np.float32)
        if added is None:
            return self._reference.copy()
        return np.asarray(cv2.add(self._reference, added, dtype=cv2.CV_8U), np.uint8)

    def reset(self) -> None:
        """Do nothing: each frame is drawn on its own."""

    def _weights(self, target: Target) -> Path:
        own = target.weights if target.renderer == NAME else None
        chosen = self._settings.weights or own
        return Path(chosen) if chosen else shipped_weights()


def shipped_weights() -> Path:
    """Return the plugin's own weights, see MODEL_CARD.md."""
    return Path(str(files("reenact_pixel_regression") / f"{NAME}.safetensors"))


def _build(common: RendererSettings, own: Section) -> PixelRegressionRenderer:
    del own
    if common.engine not in ("auto", "torch"):
        raise ModelError(f"{NAME} has no network that engine={common.engine} could run.")
    return PixelRegressionRenderer(common)


PIXEL_REGRESSION: Final = RendererSpec(
    NAME,
    "a photo shows an emotion by one regression for each pixel (Akram 2020); the head stays still",
    _build,
    recipe="reenact_pixel_regression.training:build_recipe",
    export="reenact_pixel_regression.exporting:export",
)
