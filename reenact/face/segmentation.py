"""Separates people from the background by MediaPipe's selfie segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from reenact.errors import ModelError
from reenact.types import Array, Image


def person_masks(images: Iterable[Image]) -> Iterator[Array]:
    """Yield for each picture how likely each pixel belongs to a person.

    Every picture is segmented by itself, which takes about 10 ms.

    Args:
        images: uint8 (H, W, 3) RGB.

    Yields:
        float32 (H, W), 0 to 1.

    Raises:
        ModelError: this version of mediapipe has no such model.
    """
    try:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
    except ImportError as error:
        raise ModelError(
            "This version of mediapipe cannot separate people from the background. Install "
            "mediapipe==0.10.21."
        ) from error
    with SelfieSegmentation(model_selection=0) as model:
        for image in images:
            found = model.process(np.ascontiguousarray(image)).segmentation_mask
            yield np.asarray(found, dtype=np.float32)
