from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from reenact.errors import ModelError, ReenactError
from reenact.training.loop import LoopOptions, choose_precision, train


class Batches(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, seed: int, steps: int) -> None:
        self._seed, self._steps = seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1000 + step)
        return {"x": torch.randn(4, 3, 8, 8, generator=generator)}


class TinyRecipe:
    """Learns to give back its input; small, but with everything a real recipe has."""

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


def test_a_resumed_training_goes_the_same_way(tmp_path: Path) -> None:
    whole = TinyRecipe()
    train(whole, options(tmp_path / "whole", 20))
    first, second = TinyRecipe(interrupt_at=8), TinyRecipe()
    train(first, options(tmp_path / "parts", 20))
    train(second, options(tmp_path / "parts", 20), resume=True)
    assert len(first.losses) == 8
    assert first.losses + second.losses == pytest.approx(whole.losses, abs=1e-6)
    ours = load_file(tmp_path / "parts" / "state.safetensors")
    theirs = load_file(tmp_path / "whole" / "state.safetensors")
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_training_learns_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    best = train(recipe, options(tmp_path, 60))
    assert recipe.losses[-1] < recipe.losses[0] / 2
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert best["score"] == max(row["score"] for row in rows)
    assert "figures" in json.loads((tmp_path / "best.safetensors").read_text())


def test_the_budget_of_minutes_ends_it(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    spent = LoopOptions(tmp_path, steps=10**6, minutes=0.02, validate_every=10**6, workers=0)
    train(recipe, spent)
    assert 0 < len(recipe.losses) < 10**5
    assert (tmp_path / "best.safetensors").exists()


def test_an_earlier_training_is_not_overwritten(tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, 5))
    with pytest.raises(ReenactError, match="--resume"):
        train(TinyRecipe(), options(tmp_path, 5))


def test_nothing_to_resume_and_a_damaged_state_are_told(tmp_path: Path) -> None:
    with pytest.raises(ReenactError, match="no training to resume"):
        train(TinyRecipe(), options(tmp_path / "empty", 5), resume=True)
    (tmp_path / "state.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="damaged"):
        train(TinyRecipe(), options(tmp_path, 5), resume=True)


def test_an_unwritable_folder_is_told_before_any_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recipe = TinyRecipe()
    with pytest.raises(ReenactError, match="cannot write"):
        train(recipe, options(tmp_path / "file", 5))
    assert recipe.losses == []


def test_precision_follows_the_wish() -> None:
    assert choose_precision("cpu", "float32") == "float32"
    assert choose_precision("cpu", "auto") in {"float32", "bfloat16"}
