"""Generator and critic of MotionGAN: fully connected, on the tangent space of the sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact_motion.segments import SAMPLES, UNITS

CLASSES = len(EMOTIONS) - 1
POINT = (SAMPLES - 1, len(UNITS))
"""Shape of a point of the sphere: intervals, coordinates."""


NOISE, WIDTH = 64, 256
"""Length of the noise vector, and width of the hidden layers."""


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Return the L² inner product of (..., T - 1, M) functions, (..., 1, 1)."""
    return (first * second).sum(-1).mean(-1)[..., None, None]


class MotionGenerator(nn.Module):
    """Generates a tangent vector at the mean motion of a class, from noise.

    The paper has one mean for all classes. Here each class has its own, because the motions of
    different classes are a quarter of the sphere apart.

    Attributes:
        means: (7, T - 1, M), the Karcher mean of each class.
        durations: (7, 2) s, mean and standard deviation for each class.
    """

    means: Tensor
    durations: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NOISE + CLASSES, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, POINT[0] * POINT[1]),
        )
        self.register_buffer("means", torch.zeros(CLASSES, *POINT))
        self.register_buffer("durations", torch.ones(CLASSES, 2))

    def forward(self, noise: Tensor, emotion: Tensor) -> Tensor:
        """Return tangent vectors (N, T - 1, M).

        Args:
            noise: (N, NOISE), standard normal.
            emotion: (N,) class, an index into `EMOTIONS` minus one.
        """
        named = nn.functional.one_hot(emotion, CLASSES).to(noise.dtype)
        free = self.layers(torch.cat([noise, named], dim=1)).view(-1, *POINT)
        mean = self.means[emotion]
        tangent: Tensor = free - inner(free, mean) / inner(mean, mean).clamp(min=1e-6) * mean
        return tangent


class MotionCritic(nn.Module):
    """Separates real from generated tangent vectors, by class."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(POINT[0] * POINT[1] + CLASSES, WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, 1),
        )

    def forward(self, tangent: Tensor, emotion: Tensor) -> Tensor:
        """Return (N, 1) scores."""
        named = nn.functional.one_hot(emotion, CLASSES).to(tangent.dtype)
        scores: Tensor = self.layers(torch.cat([tangent.flatten(1), named], dim=1))
        return scores
