"""Weights for renderers that come without any, made by their own recipes."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import torch

from reenact.testing.moving_portrait import write_two_people
from reenact.training.recipes import build_recipe, measure_config, run_config

SETTINGS: Final = "batch_size = 2\n"
"""The one setting, beside `train` and `val`, that every recipe must take."""


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed when Python ends."""
    return tempfile.TemporaryDirectory()


@cache
def people() -> Path:
    """Return a folder with clips of two people in `train` and of two others in `val`."""
    folder = Path(_scratch().name) / "people"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
    write_two_people(folder / "train")
    for file in (folder / "train").iterdir():
        shutil.copy(file, folder / "val" / f"other_{file.name}")
    return folder


def train_two_steps(recipe: str, folder: Path, settings: str = SETTINGS) -> Path:
    """Train by a training file, as a user would.

    Args:
        recipe: name of the renderer, or "module:function".
        folder: receives the file, NAME.toml or MODULE.toml, and the run.
        settings: TOML of the recipe's settings, without `train` and `val`.

    Returns:
        The weights, after a check that they are the validated ones.
    """
    config = folder / f"{recipe.partition(':')[0]}.toml"
    config.write_text(
        f'recipe = "{recipe}"\nfolder = "{(folder / "run").as_posix()}"\nsteps = 2\n'
        'device = "cpu"\nworkers = 0\nprecision = "float32"\n[settings]\n'
        f'train = "{(people() / "train").as_posix()}"\n'
        f'val = "{(people() / "val").as_posix()}"\n{settings}',
        encoding="utf-8",
    )
    outcome = run_config(config, resume=False)
    assert (outcome.step, outcome.stopped) == (2, False)
    assert all(math.isfinite(value) for value in outcome.best.values())
    row = json.loads(
        (folder / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    )
    assert row["step"] == 2
    assert {name: row[name] for name in outcome.best} == outcome.best
    weights = folder / "run" / "best.safetensors"
    for name, value in measure_config(config, weights).items():
        if name == "told":  # a share of 14 pictures; saving in half precision may turn one of them
            continue
        error = abs(value - outcome.best[name])
        assert error < 0.02 * (1 + abs(value)), f"{name} of the saved weights differs"
    return weights


@cache
def untrained_weights(recipe: str) -> Path:
    """Return untrained weights of a renderer, as its recipe saves them.

    They are the same whatever ran before.
    """
    torch.manual_seed(0)
    path = Path(_scratch().name) / f"{recipe}.safetensors"
    folders = {split: str(people() / split) for split in ("train", "val")}
    made = build_recipe(recipe, {**folders, "batch_size": 2})
    made.save(made.networks[made.averaged], path, {})
    return path
