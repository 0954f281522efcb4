"""The weights: what each pixel becomes, at a few levels between black and white.

A linear regression is two knots for each pixel and channel, its outputs for 0 and for 255; a kernel
regression is smooth, so that a few more describe it. Between them the output is interpolated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from reenact.errors import ModelError
from reenact.expression.emotions import acted_deviations
from reenact.models.weights import load_tensors
from reenact.types import Array
from reenact_pixel_regression import NAME
from reenact_pixel_regression.alignment import SIZE_PX
from reenact_pixel_regression.pairs import EXPRESSIONS

Knots = Array
"""float32 (E, L, S, S, 3): outputs in 0..1 of each expression at L levels from 0 to 1."""


class PixelTables(nn.Module):
    """The regressions of all expressions; untrained they change nothing.

    Args:
        levels: L, knots of each pixel.
    """

    knots: Tensor
    motions: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        straight = torch.linspace(0, 1, levels).reshape(1, -1, 1, 1, 1)
        size = (len(EXPRESSIONS), levels, SIZE_PX, SIZE_PX, 3)
        self.register_buffer("knots", straight.expand(size).clone())
        self.register_buffer("motions", torch.tensor(acted_deviations()[1:]))

    def forward(self, faces: Tensor) -> Tensor:
        """Return (E, N, S, S, 3) faces with each expression, of (N, S, S, 3) ones in 0..1."""
        last = self.knots.shape[1] - 1
        place = faces.clamp(0, 1) * last
        below = place.floor().clamp(max=last - 1).long()
        low = torch.gather(self.knots, 1, below.expand(len(self.knots), *below.shape))
        high = torch.gather(self.knots, 1, below.expand(len(self.knots), *below.shape) + 1)
        return torch.lerp(low, high, place - below)


def load_knots(path: Path) -> Knots:
    """Return the knots in a weight file.

    Raises:
        ModelError: it is missing, damaged, or not of this renderer.
    """
    knots = load_tensors(path, NAME).get("knots", torch.zeros(0))
    shape: Final = tuple(knots.shape)
    if len(shape) != 5 or shape[1] < 2 or shape[::2] != (len(EXPRESSIONS), SIZE_PX, 3):
        raise ModelError(f"{path} holds knots of the shape {shape}, which do not fit {NAME}.")
    return np.asarray(knots.numpy(), np.float32)
