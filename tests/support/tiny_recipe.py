"""A small recipe with everything that a real one has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from reenact.training.adversarial import channels_last
from reenact.training.loop import LoopOptions, Recipe, cosine


class Batches(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, seed: int, steps: int) -> None:
        self._seed, self._steps = seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1000 + step)
        return {"x": torch.randn(4, 3, 8, 8, generator=generator)}


class TinyRecipe(Recipe):
    """Learns to return its input."""

    averaged = "net"

    def __init__(self) -> None:
        torch.manual_seed(0)
        net = channels_last(
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))
        )
        self.networks: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "net": torch.optim.AdamW(net.parameters(), 1e-2, fused=True)
        }
        self.schedules = {"net": cosine(end=0.1)}
        self.losses: list[float] = []

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        return Batches(seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        x = batch["x"]
        loss = (self.networks["net"](x) - x).abs().mean()
        self.optimizers["net"].zero_grad()
        loss.backward()
        self.optimizers["net"].step()
        self.losses.append(float(loss.detach()))
        return {"l1": self.losses[-1]}

    def validate(self, network: nn.Module) -> dict[str, float]:
        x = Batches(7, 1)[0]["x"]
        return {"score": -float((network(x) - x).abs().mean())}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        path.write_text(json.dumps(dict(facts)))


def options(folder: Path, steps: int, workers: int = 0) -> LoopOptions:
    return LoopOptions(folder, steps=steps, validate_every=5, workers=workers, precision="float32")
