"""`reenact train CONFIG`: reads a training file, trains by its recipe or measures weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field, ValidationError

from reenact import registry
from reenact.config import Section, first_problem, parse_assignment, read_toml
from reenact.errors import ConfigError, PluginError
from reenact.training.loop import LoopOptions, Recipe, TrainingOutcome, train

BUILT_IN: Final = {"landmark_fusion": "reenact.training.landmark_fusion:build_recipe"}
"""Recipes of networks that are not renderers."""


class TrainingFile(Section):
    """A training file; `settings` belongs to the recipe."""

    recipe: str = Field(description="name of a renderer that can be trained, or landmark_fusion")
    folder: str = Field(description="receives state, best weights and history")
    steps: int = Field(gt=0, description="last step")
    minutes: float = Field(
        0.0, ge=0, description="wall time after which it ends earlier; 0: no limit"
    )
    validate_every: int = Field(500, gt=0, description="steps between validations")
    seed: int = Field(0, ge=0, description="of weights and batches")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(1, ge=0, le=64, description="processes that make batches")
    settings: dict[str, Any] = Field(default_factory=dict)


def run_config(
    path: Path,
    resume: bool,
    assignments: Iterable[str] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train by a file.

    Args:
        path: the training file.
        resume: continue from the state in its folder.
        assignments: `key=value` or `settings.key=value`.
        stop: asked before each step; True ends the training with its state saved.

    Raises:
        ReenactError: the file, a setting or the data is wrong, or there is nothing to resume.
    """
    from reenact.models.inference import choose_device

    file = read_training_file(path, assignments)
    recipe = _build(file)
    options = LoopOptions(
        folder=Path(file.folder),
        steps=file.steps,
        minutes=file.minutes,
        validate_every=file.validate_every,
        seed=file.seed,
        device=choose_device(file.device),
        precision=file.precision,
        workers=file.workers,
    )
    return train(recipe, options, resume, stop)


def measure_config(path: Path, weights: Path, assignments: Iterable[str] = ()) -> dict[str, float]:
    """Return the figures of weights on the held-out people of a training file.

    Raises:
        ReenactError: the file, a setting, the data or the weights are wrong.
    """
    from reenact.models.inference import choose_device
    from reenact.models.weights import load_model, read_header

    file = read_training_file(path, assignments)
    recipe = _build(file)
    network = recipe.networks[recipe.averaged].to(choose_device(file.device))
    load_model(weights, network, read_header(weights).get("architecture", ""))
    network.eval()
    with torch.no_grad():
        return recipe.validate(network)


def read_training_file(path: Path, assignments: Iterable[str] = ()) -> TrainingFile:
    """Read and check a training file; assignments are `key=value` or `settings.key=value`.

    Raises:
        ConfigError: it cannot be read, or a value is not allowed.
    """
    values = read_toml(path)
    for text in assignments:
        name, value = parse_assignment(text)
        section, dot, key = name.partition(".")
        if dot:
            entries = values.setdefault(section, {})
            if not isinstance(entries, dict):
                raise ConfigError(f"--set {text}: {section} is one value, no section.")
            entries[key] = value
        else:
            values[section] = value
    try:
        return TrainingFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}") from error


def build_recipe(name: str, settings: Mapping[str, Any]) -> Recipe:
    """Make a recipe by the name of the renderer or of the network that it trains.

    Raises:
        PluginError: there is no such renderer, or it has nothing to train.
        ReenactError: a setting or the data is wrong.
    """
    place = BUILT_IN.get(name) or registry.load("renderers", name).recipe
    if place is None:
        raise PluginError(f"The renderer {name} has nothing to train.")
    build: Callable[[Mapping[str, Any]], Recipe] = registry.import_object(place)
    return build(settings)


def _build(file: TrainingFile) -> Recipe:
    """Make a file's recipe, seeded because its networks draw their first weights."""
    torch.manual_seed(file.seed)
    return build_recipe(file.recipe, file.settings)
