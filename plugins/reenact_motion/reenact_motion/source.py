"""The live side of MotionGAN; satisfies `reenact.types.MotionSource`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch

from reenact.expression.emotions import CONTEMPT, EMOTIONS
from reenact.face.geometry import mirrored_deviation
from reenact.models.weights import load_model
from reenact.types import Array
from reenact_motion import NAME, MotionGANSettings
from reenact_motion.network import NOISE, MotionGenerator
from reenact_motion.segments import FPS, deviations_of
from reenact_motion.srvf import Curve, curve_of, exp_map, inner

_MIN_S, _MAX_S = 0.3, 1.5
"""Duration of a motion."""


class MotionGAN:
    """Generates motions. One thread calls it.

    Args:
        settings: weights and variety.

    Raises:
        ModelError: the weights are missing or damaged.
    """

    def __init__(self, settings: MotionGANSettings) -> None:
        self._variety: Final = settings.variety
        self._network = MotionGenerator().eval()
        shipped = Path(str(files("reenact_motion"))) / f"{NAME}.safetensors"
        load_model(Path(settings.weights) if settings.weights else shipped, self._network, NAME)

    def motion(self, emotion: str, seed: int) -> Array:
        """Return float32 (F, 478, 3), iod, at 25 frames a second: from zero to the peak."""
        number = EMOTIONS.index(emotion)
        rng = np.random.default_rng([seed, number])
        curve = curve_of(self.point(number, rng))
        usual_s, spread_s = self._network.durations[number - 1].tolist()
        length_s = usual_s + self._variety * spread_s * rng.standard_normal()
        frames = round(float(np.clip(length_s, _MIN_S, _MAX_S)) * FPS) + 1
        motion = deviations_of(curve, number, frames)
        return mirrored_deviation(motion) if number == CONTEMPT and seed % 2 else motion

    def point(self, number: int, rng: np.random.Generator) -> Curve:
        """Draw a point of the sphere, (T - 1, M), for an index into `EMOTIONS` above 0."""
        noise = torch.tensor(rng.standard_normal((1, NOISE))).float()
        with torch.inference_mode():
            tangent = self._network(noise, torch.tensor([number - 1]))[0].double().numpy()
        mean = self._network.means[number - 1].double().numpy()
        mean /= np.sqrt(inner(mean, mean))  # half precision leaves the sphere
        return exp_map(mean, self._variety * tangent)
