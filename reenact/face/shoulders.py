"""Finds shoulders with MediaPipe's pose model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from reenact.face.mediapipe_graphs import open_graph, solutions
from reenact.types import Array, Image

_SHOULDERS: Final = (12, 11)
"""The right one, then the left one."""


def shoulder_points(images: Iterable[Image]) -> Iterator[Array | None]:
    """Yield the positions of the shoulders in each picture; each is searched independently.

    Args:
        images: uint8 (H, W, 3) RGB.

    Yields:
        float32 (2, 3): x and y, px, of the right and the left shoulder, which may lie outside the
        picture, and their visibility, 0 to 1. None if no person is found.
    """
    pose = solutions().pose.Pose
    with open_graph(lambda: pose(static_image_mode=True, model_complexity=1)) as model:
        for image in images:
            found = model.process(np.ascontiguousarray(image)).pose_landmarks
            if found is None:
                yield None
                continue
            height, width = image.shape[:2]
            points = [found.landmark[number] for number in _SHOULDERS]
            yield np.array([(p.x * width, p.y * height, p.visibility) for p in points], np.float32)
