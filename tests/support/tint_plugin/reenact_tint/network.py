"""The network of the plugin and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.training.adversarial import adam, descend, material_of, read_config, save_weights
from reenact.training.picture_pairs import Batch, PicturePairs, examine


class Tint(nn.Module):
    """One convolution over picture and landmark map."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 3, 1)

    def forward(self, picture: Tensor, landmarks: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([picture, landmarks], dim=1))
        return mixed


class TintRecipe:
    """Satisfies `reenact.training.loop.Recipe`."""

    averaged = "tint"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._config = read_config(settings, {"size_px": 64})
        self._material = material_of(self._config)
        self.networks: dict[str, nn.Module] = {"tint": Tint()}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "tint": adam(self.networks["tint"], 1e-2)
        }

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        config = self._config
        return PicturePairs(self._material.sampler, config.size_px, config.batch_size, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        drawn = self.networks["tint"](batch["reference"], batch["truth_map"])
        loss = (drawn - batch["truth"]).abs().mean()
        descend(self.optimisers["tint"], [loss])
        return {"pixels": float(loss.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        def draw(batch: Mapping[str, Any]) -> Tensor:
            picture: Tensor = network(batch["reference"], batch["truth_map"])
            return picture

        return examine(draw, self._material.held_back, self._config.size_px, torch.device("cpu"))

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        config = str(self._config.size_px)
        save_weights(
            "tint", network, config=config, material=self._material, path=path, facts=facts
        )


def build_recipe(settings: Mapping[str, Any]) -> TintRecipe:
    return TintRecipe(settings)
