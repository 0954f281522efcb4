"""A mean face that does what ARKit's blend shapes say: the actor that a phone or program tracks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import numpy as np

from reenact.expression.face_model import face_model
from reenact.face.action_units import typical_deviation
from reenact.face.geometry import to_image
from reenact.types import Array, Frame, Landmarks, PerformanceFrame, Pose
from reenact_vmc.blend_shapes import action_units, looks

SIZE: Final = (640, 480)
"""(width, height) px of the picture in which the face is said to be."""

SILENT_S: Final = 2.0
"""A source to which nothing has been sent for this long says so, s."""

_IOD_PX: Final = 100.0


class BlendShapeFace:
    """Makes frames with a black picture, and counts them. Not thread-safe."""

    def __init__(self) -> None:
        self._neutral = face_model().mean.reshape(-1, 3)
        self._black = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        self._count = 0

    def frame(self, shapes: Mapping[str, float] | None, turn: Array) -> Frame:
        """Return the next frame, at the present time.

        Args:
            shapes: blend shapes, 0 to 1; None: the tracker sees no face.
            turn: (3, 3) rotation of the head, image axes.
        """
        time_s = time.monotonic()
        landmarks = None
        if shapes is not None:
            acted = typical_deviation(action_units(shapes)) + looks(shapes)
            middle = np.array([SIZE[0] / 2, SIZE[1] / 2, 0.0], np.float32)
            points = to_image(self._neutral + acted, Pose(turn, middle, _IOD_PX))
            tongue = float(np.clip(np.nan_to_num(shapes.get("TongueOut", 0.0)), 0.0, 1.0))
            landmarks = Landmarks(points.astype(np.float32), 1.0, SIZE, tongue)
        index, self._count = self._count, self._count + 1
        performance = PerformanceFrame(landmarks, time_s, stored=self._neutral)
        return Frame(self._black, time_s, index, performance=performance)
