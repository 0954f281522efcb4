"""`reenact train pixel_regression.toml`: solves all regressions in one step.

There is nothing to iterate, so a resumed training computes the same weights again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn
from torch.utils.data import Dataset

from reenact.errors import SourceError
from reenact.evaluation.clips import find_clip_files
from reenact.models.weights import save_model
from reenact.training.loop import Recipe
from reenact.training.people import PeopleData, read_settings, recipe_settings, split_people
from reenact.types import Array
from reenact_pixel_regression import NAME
from reenact_pixel_regression.alignment import SIZE_PX, frame_points
from reenact_pixel_regression.knots import EXPRESSIONS
from reenact_pixel_regression.model import PixelTables
from reenact_pixel_regression.pairs import FacePair, align, motion_of, read_pairs
from reenact_pixel_regression.portable import weight
from reenact_pixel_regression.regression import changed_share, pixel_kernel, pixel_ridge, psnr_db

Pairs = Mapping[str, list[FacePair]]


@recipe_settings
class PixelRegressionTraining(PeopleData):
    """The `[settings]` of a training file; λ and σ are in units of a pixel's range 0..1.

    Attributes:
        method: "ridge", Pixel-RR (eq. 6), or "kernel", Pixel-KR (eq. 14).
        penalty: λ of eq. 3 and 8.
        width: σ of eq. 12, for the kernel.
        levels: knots of a kernel regression.
        evidence: least score of an expression without a label.
        min_people: with fewer who score so much, the best of the rest are taken, too; pairs whose
            lips do not fit the motion are left out afterwards.
        mean_motion: expressions whose motion is the mean of the pairs; without labels the others
            have that of the acted expression.
        exaggeration: factor on the motion that the targets are given.
        limit_levels: mean change, of 255 levels, by which a pixel takes part by half; 0: all do.
        batch_size: unused: all pairs are solved at once.
    """

    method: Literal["ridge", "kernel"] = "ridge"
    penalty: PositiveFloat = 0.4
    width: PositiveFloat = 1.0
    levels: Annotated[int, Field(ge=2, le=256)] = 9
    evidence: Annotated[float, Field(ge=-1, le=1)] = 0.1
    min_people: PositiveInt = 20
    mean_motion: tuple[str, ...] = ("happy",)
    exaggeration: Annotated[float, Field(gt=0, le=2)] = 1.0
    limit_levels: NonNegativeFloat = 0.0
    batch_size: PositiveInt = 1


class PixelRegressionRecipe(Recipe):
    """Solves the regressions; satisfies `training.loop.Recipe`.

    Args:
        config: the settings.
        train, held_out: names of the people to learn from, and of those who are only measured.
    """

    averaged = NAME

    def __init__(
        self, config: PixelRegressionTraining, train: Collection[str], held_out: Collection[str]
    ) -> None:
        self.config = config
        self._train, self._held_out = train, held_out
        levels = 2 if config.method == "ridge" else config.levels
        self.networks: dict[str, nn.Module] = {NAME: PixelTables(levels)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._errors: dict[str, float] = {}
        self._sizes: dict[str, str] = {}

    @cached_property
    def learned(self) -> Pairs:
        """The pairs of each expression to learn from."""
        return self._read(Path(self.config.train), self._train)

    @cached_property
    def held_out(self) -> Pairs:
        """The pairs of each expression of other people."""
        return self._read(self.config.held_out_folder, self._held_out)

    def _read(self, folder: Path, people: Collection[str]) -> Pairs:
        config = self.config
        pairs = read_pairs(folder, config.evidence, config.min_people, config.mean_motion, people)
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
            people = len(set(shown.people.tolist()))
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
            drawn_db.append(psnr_db(drawn.cpu().numpy(), shown.targets, face).mean())
            copied_db.append(psnr_db(shown.inputs, shown.targets, face).mean())
        score = float(np.mean(drawn_db))
        return {"score": score, "copy": float(np.mean(copied_db))}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors that the renderer loads."""
        others = {"batch_size", *(one.name for one in fields(PeopleData))}
        config = {key: value for key, value in asdict(self.config).items() if key not in others}
        header = {"architecture": NAME, "config": json.dumps(config)}
        sizes = {"pairs": json.dumps(self._sizes)}
        save_model(path, network.state_dict(), {**header, **sizes, **facts})


def build_recipe(settings: Mapping[str, Any]) -> PixelRegressionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises ReenactError if a setting is wrong, a folder holds no clips, or train and val share
    people.
    """
    config = read_settings(PixelRegressionTraining, settings)
    people = [{one.identity for one in part} for part in split_people(config, find_clip_files)]
    return PixelRegressionRecipe(config, *people)
