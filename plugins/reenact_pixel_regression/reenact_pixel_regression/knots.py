"""The weights: the output of each pixel at a few levels between black and white.

A linear regression is two knots per pixel and channel, its outputs for 0 and for 255; a kernel
regression is smooth, so a few more knots describe it. The output is interpolated between knots.
This module does not load torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from reenact.errors import ModelError
from reenact.expression.emotions import EMOTIONS
from reenact.models.weights import load_arrays
from reenact.types import Array
from reenact_pixel_regression import NAME
from reenact_pixel_regression.alignment import SIZE_PX

EXPRESSIONS: Final = EMOTIONS[1:]
"""One model each; neutral needs none."""

Knots = Array
"""float32 (E, L, S, S, 3): outputs in 0..1 of each expression at L levels from 0 to 1."""


def load_knots(path: Path) -> Knots:
    """Return the knots in a weight file.

    Raises:
        ModelError: it is missing, damaged, or not of this renderer.
    """
    knots = load_arrays(path, NAME).get("knots", np.zeros(0, np.float32))
    shape = knots.shape
    wanted = (len(EXPRESSIONS), SIZE_PX, SIZE_PX, 3)
    if len(shape) != 5 or shape[1] < 2 or (shape[0], *shape[2:]) != wanted:
        raise ModelError(f"{path} holds knots of the shape {shape}, which do not fit {NAME}.")
    return knots
