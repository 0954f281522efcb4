"""A recipe that is small, with everything that a real one has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from reenact.training.loop import LoopOptions


class Batches(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, seed: int, steps: int) -> None:
        self._seed, self._steps = seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1000 + step)
        return {"x": torch.randn(4, 3, 8, 8, generator=generator)}


class TinyRecipe:
    """Learns to give back its input; small, but with everything a real recipe has.

    Args:
        interrupt_at: it asks to stop before the step of this number.
    """

    averaged = "net"

    def __init__(self, interrupt_at: int | None = None) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))
        self.networks: dict[str, nn.Module] = {"net": net}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "net": torch.optim.AdamW(net.parameters(), 1e-2)
        }
        self.losses: list[float] = []
        self._interrupt_at = interrupt_at

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        return Batches(seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        if len(self.losses) == self._interrupt_at:
            raise KeyboardInterrupt
        x = batch["x"]
        loss = (self.networks["net"](x) - x).abs().mean()
        self.optimisers["net"].zero_grad()
        loss.backward()
        self.optimisers["net"].step()
        self.losses.append(float(loss.detach()))
        return {"l1": self.losses[-1]}

    def validate(self, network: nn.Module) -> dict[str, float]:
        x = Batches(7, 1)[0]["x"]
        return {"score": -float((network(x) - x).abs().mean())}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        path.write_text(json.dumps(dict(facts)))


def options(folder: Path, steps: int) -> LoopOptions:
    return LoopOptions(folder, steps=steps, validate_every=5, workers=0, precision="float32")
