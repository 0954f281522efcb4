"""The regressions of all expressions as a module of torch, for the training loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reenact.expression.emotions import acted_deviations
from reenact_pixel_regression.alignment import SIZE_PX
from reenact_pixel_regression.knots import EXPRESSIONS


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
