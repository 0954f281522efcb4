"""Training pairs of the portrait, and a small adversarial recipe that learns from them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reenact.training.adversarial import AdversarialRecipe, read_config
from reenact.training.augmentation import Pair, Rng
from reenact.training.picture_pairs import PictureMaterial
from reenact.training.sampling import Batch
from support.faces import portrait_target


class ShiftedPortrait:
    """Draws pairs of the portrait at 64 px and itself, shifted by up to 4 px."""

    def draw(self, rng: Rng) -> Pair:
        target = portrait_target(64)
        shift = int(rng.integers(1, 5))
        moved = np.roll(target.references[0], shift, axis=1)
        points = target.neutral + np.array([shift, 0, 0], np.float32)
        return Pair(target.references[0], target.neutral, moved, points)


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Return a batch as a recipe's step gets it."""
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def small_adversarial_recipe(**settings: float | bool) -> AdversarialRecipe:
    """Return the recipe of fan2023 with narrow networks."""
    config = read_config({"train": "", "size_px": 64, "width": 8, "batch_size": 4, **settings})
    held_out = [ShiftedPortrait().draw(np.random.default_rng(0))]
    material = PictureMaterial(ShiftedPortrait(), held_out, "the portrait")
    return AdversarialRecipe("fan2023", config, material)
