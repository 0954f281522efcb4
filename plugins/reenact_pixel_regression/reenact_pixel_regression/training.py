"""`reenact train pixel_regression.toml`: solves all regressions in one step.

There is nothing to iterate, so a resumed training computes the same weights again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.utils.data import Dataset

from reenact.config import Section
from reenact.errors import SourceError
from reenact.evaluation.clips import find_clips
from reenact.models.weights import save_model
from reenact.training.loop import Recipe
from reenact.training.sampling import read_settings
from reenact.types import Array
from reenact_pixel_regression import NAME
from reenact_pixel_regression.alignment import SIZE_PX, frame_points
from reenact_pixel_regression.knots import EXPRESSIONS
from reenact_pixel_regression.model import PixelTables
from reenact_pixel_regression.pairs import FacePair, align, motion_of, read_pairs
from reenact_pixel_regression.portable import weight
from reenact_pixel_regression.regression import changed_share, pixel_kernel, pixel_ridge

Pairs = Mapping[str, list[FacePair]]


class PixelRegressionTraining(Section):
    """The `[settings]` of a training file; λ and σ are in units of a pixel's range 0..1."""

    train: Path = Field(description="clips of the people to learn from")
    val: Path = Field(description="clips of other people, who are only measured")
    method: Literal["ridge", "kernel"] = Field(
        "ridge", description="ridge: Pixel-RR (eq. 6); kernel: Pixel-KR (eq. 14)"
    )
    penalty: float = Field(0.4, gt=0, description="λ of eq. 3 and 8")
    width: float = Field(1.0, gt=0, description="σ of eq. 12, for method kernel")
    levels: int = Field(9, ge=2, le=256, description="knots of a kernel regression")
    evidence: float = Field(
        0.1, ge=-1, le=1, description="least score of an expression without a label"
    )
    min_people: int = Field(
        20, ge=1, description="with fewer who score so much, the best of the rest are taken, too"
    )
    mean_motion: list[str] = Field(
        ["happy"],
        description="expressions whose motion is the mean of the pairs; without labels the others "
        "have that of the acted expression",
    )
    exaggeration: float = Field(
        1.0, gt=0, le=2, description="factor on the motion that the targets are given"
    )
    limit_levels: float = Field(
        0.0,
        ge=0,
        description="mean change, of 255 levels, by which a pixel takes part by half; 0: all do",
    )
    batch_size: int = Field(1, ge=1, description="unused: all pairs are solved at once")


class PixelRegressionRecipe(Recipe):
    """Solves the regressions; satisfies `training.loop.Recipe`."""

    averaged = NAME

    def __init__(self, config: PixelRegressionTraining) -> None:
        self.config = config
        levels = 2 if config.method == "ridge" else config.levels
        self.networks: dict[str, nn.Module] = {NAME: PixelTables(levels)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._errors: dict[str, float] = {}
        self._sizes: dict[str, str] = {}

    @cached_property
    def learned(self) -> Pairs:
        """The pairs of each expression to learn from."""
        return self._read(self.config.train)

    @cached_property
    def held_out(self) -> Pairs:
        """The pairs of each expression of other people."""
        return self._read(self.config.val)

    def _read(self, folder: Path) -> Pairs:
        config = self.config
        pairs = read_pairs(folder, config.evidence, config.min_people, config.mean_motion)
        if not any(pairs.values()):
            raise SourceError(f"No clip of {folder} shows an expression and its neutral face.")
        return pairs

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        """Return an empty batch for each step: there is nothing to draw."""
        del seed
        return cast(Dataset[Any], [{}] * steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Solve all regressions, unless that is done, and return the error on what was learned."""
        del batch, progress
        network = self.networks[NAME]
        assert isinstance(network, PixelTables)
        for row, name in enumerate(EXPRESSIONS):
            pairs = self.learned[name]
            if not pairs or name in self._errors:
                continue
            motion = motion_of(pairs, name, name in self.config.mean_motion)
            motion = motion * np.float32(self.config.exaggeration)
            shown = align(pairs, name, motion)
            people = len({pair.person for pair in pairs})
            self._sizes[name] = f"{people} people, {len(shown.people)} pairs"
            solved = self.solve(shown.inputs, shown.targets)
            if self.config.limit_levels:
                share = changed_share(shown.inputs, shown.targets, self.config.limit_levels)
                plain = np.linspace(0, 1, len(solved), dtype=np.float32)[:, None, None, None]
                solved = plain + share[None, ..., None] * (solved - plain)
            knots = torch.from_numpy(solved)
            network.knots[row].copy_(knots)
            network.motions[row].copy_(torch.tensor(motion))
            drawn = network(torch.from_numpy(shown.inputs).to(network.knots.device))[row].cpu()
            self._errors[name] = float(np.abs(drawn.numpy() - shown.targets).mean())
        return {"error": float(np.mean([*self._errors.values()]))}

    def solve(self, inputs: Array, targets: Array) -> Array:
        """Return the knots (L, S, S, 3) of one expression."""
        config = self.config
        if config.method == "ridge":
            w, b = pixel_ridge(inputs, targets, config.penalty)
            return np.asarray(np.stack([b, w + b]), np.float32)
        levels = np.linspace(0, 1, config.levels, dtype=np.float32)
        return pixel_kernel(inputs, targets, config.penalty, config.width, levels)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the PSNR of the face on held-out people, dB, and that of the unchanged photo."""
        assert isinstance(network, PixelTables)
        face = weight(frame_points().astype(np.float64), SIZE_PX) > 0.5
        drawn_db, copied_db = [], []
        for row, name in enumerate(EXPRESSIONS):
            if not self.held_out[name]:
                continue
            shown = align(self.held_out[name], name, network.motions[row].cpu().numpy())
            drawn = network(torch.from_numpy(shown.inputs).to(network.knots.device))[row]
            drawn_db.append(_psnr(drawn.cpu().numpy(), shown.targets, face))
            copied_db.append(_psnr(shown.inputs, shown.targets, face))
        score = float(np.mean(drawn_db))
        return {"score": score, "copy": float(np.mean(copied_db))}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors that the renderer loads."""
        config = self.config.model_dump(mode="json", exclude={"train", "val", "batch_size"})
        header = {"architecture": NAME, "config": json.dumps(config)}
        sizes = {"pairs": json.dumps(self._sizes)}
        save_model(path, network.state_dict(), {**header, **sizes, **facts})


def _psnr(drawn: Array, true: Array, face: Any) -> float:
    """Return the mean PSNR of (N, S, S, 3) pictures in 0..1 inside a mask (S, S), dB."""
    errors = ((np.clip(drawn, 0, 1) - true)[:, face] ** 2).mean(axis=(1, 2))
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-10))))


def build_recipe(settings: Mapping[str, Any]) -> PixelRegressionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises:
        ConfigError: a setting is wrong.
        SourceError: a folder holds no clips.
    """
    config = read_settings(PixelRegressionTraining, settings)
    for folder in (config.train, config.val):
        find_clips(folder)
    return PixelRegressionRecipe(config)
