"""`reenact train CONFIG`: reads a training file, trains by its recipe or measures weights.

A file may split the training into stages. Each stage overrides the file's values, trains in a
folder of its own and starts from the best weights of the stage before:

    [[stages]]
    name = "all"
    steps = 8000

    [[stages]]
    name = "repair"
    steps = 2000
    [stages.settings]
    parts = ["repair"]
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field, ValidationError

from reenact import registry
from reenact.config import Section, first_problem, parse_assignment, read_toml
from reenact.errors import ConfigError, PluginError, ReenactError
from reenact.storage import atomic_write
from reenact.training.checkpoints import FILE, read_progress
from reenact.training.loop import LoopOptions, Recipe, TrainingOutcome, train

BUILT_IN: Final = {"landmark_fusion": "reenact.training.landmark_fusion:build_recipe"}
"""Recipes of networks that are no parts."""

BEST: Final = "best.safetensors"


class TrainingStage(Section):
    """A stage of a training file; what it does not name is as in the file."""

    name: str = Field(pattern=r"^[\w-]+$", description="name of its folder")
    steps: int | None = Field(None, gt=0)
    minutes: float | None = Field(None, ge=0)
    settings: dict[str, Any] = Field(default_factory=dict)


class TrainingFile(Section):
    """A training file; `settings` belongs to the recipe."""

    recipe: str = Field(
        description="name of a renderer or motion that can be trained, or landmark_fusion"
    )
    folder: str = Field(description="receives state, best weights and history")
    steps: int = Field(gt=0, description="last step, of each stage")
    minutes: float = Field(
        0.0, ge=0, description="wall time after which each stage ends earlier; 0: no limit"
    )
    validate_every: int = Field(500, gt=0, description="steps between validations")
    seed: int = Field(0, ge=0, description="of weights and batches")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    average: float = Field(
        0.998, ge=0, lt=1, description="decay of the averaged weights; 0: the last ones are kept"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(1, ge=0, le=64, description="processes that make batches")
    settings: dict[str, Any] = Field(default_factory=dict)
    stages: list[TrainingStage] = Field(
        default_factory=list, description="trained one after the other; none: one training"
    )


def run_config(
    path: Path,
    resume: bool,
    assignments: Iterable[str] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train by a file, stage by stage, until its end or `stop`, asked before each step.

    The best weights of the last stage are copied to `folder/best.safetensors`. `resume` continues
    in the stage that was reached. Assignments are `key=value` or `settings.key=value` and hold for
    all stages. Raises ReenactError if the file, a setting or the data is wrong, or there is nothing
    to resume.
    """
    file = read_training_file(path, assignments)
    if not file.stages:
        return train(_build(file), _options(file), resume, stop)
    folder = Path(file.folder)
    states = [folder / stage.name / FILE for stage in file.stages]
    if resume and not states[0].exists():
        raise ReenactError(f"{folder} holds no training to resume.")
    if not resume and any(state.exists() for state in states):
        raise ReenactError(f"{folder} holds an earlier training; add --resume or name another.")
    start = str(file.settings.get("start", ""))
    for number, state in enumerate(states):
        own = _stage_file(file, number, start)
        options = _options(own)
        start = str(options.folder / BEST)
        if state.exists():
            step, seconds, best = read_progress(options.folder)
            outcome = TrainingOutcome(best, step, False)
            if options.progress(step, seconds) >= 1:
                continue
        outcome = train(_build(own), options, state.exists(), stop)
        if outcome.stopped:
            return outcome
    with atomic_write(folder / BEST) as partial:
        shutil.copyfile(start, partial)
    return outcome


def measure_config(path: Path, weights: Path, assignments: Iterable[str] = ()) -> dict[str, float]:
    """Return the figures of weights on the held-out people of a training file."""
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

    What is assigned beats the stages as well. Raises ConfigError if the file cannot be read, or a
    value is not allowed.
    """
    values = read_toml(path)
    assigned = set()
    for text in assignments:
        name, value = parse_assignment(text)
        section, dot, key = name.partition(".")
        if dot:
            entries = values.setdefault(section, {})
            if not isinstance(entries, dict):
                raise ConfigError(f"--set {text}: {section} is a value, not a section.")
            entries[key] = value
        else:
            values[section] = value
        assigned.add(name)
    try:
        file = TrainingFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}") from error
    return file.model_copy(update={"stages": [_without(one, assigned) for one in file.stages]})


def build_recipe(name: str, settings: Mapping[str, Any]) -> Recipe:
    """Make a recipe by the name of the renderer, motion or network that it trains.

    Raises ReenactError if there is no such part, it has nothing to train, or a setting or the data
    is wrong.
    """
    place = BUILT_IN.get(name)
    if place is None:
        if name in registry.available("motions"):
            place = registry.load("motions", name).recipe
        else:
            place = registry.load("renderers", name).recipe
    if place is None:
        raise PluginError(f"{name} has nothing to train.")
    build: Callable[[Mapping[str, Any]], Recipe] = registry.import_object(place)
    return build(settings)


def _without(stage: TrainingStage, assigned: set[str]) -> TrainingStage:
    """Return a stage without the values that an assignment replaces."""
    settings = {key: v for key, v in stage.settings.items() if f"settings.{key}" not in assigned}
    replaced = dict.fromkeys({"steps", "minutes"} & assigned)
    return stage.model_copy(update={"settings": settings, **replaced})


def _stage_file(file: TrainingFile, number: int, start: str) -> TrainingFile:
    """Return the training file of one stage; each draws batches of its own."""
    stage = file.stages[number]
    settings = {**file.settings, **({"start": start} if start else {}), **stage.settings}
    own = stage.model_dump(include={"steps", "minutes"}, exclude_none=True)
    own |= {"folder": str(Path(file.folder) / stage.name), "seed": file.seed + number}
    return file.model_copy(update={**own, "settings": settings, "stages": []})


def _options(file: TrainingFile) -> LoopOptions:
    from reenact.models.inference import choose_device

    return LoopOptions(
        folder=Path(file.folder),
        steps=file.steps,
        minutes=file.minutes,
        validate_every=file.validate_every,
        seed=file.seed,
        device=choose_device(file.device),
        precision=file.precision,
        workers=file.workers,
        ema=file.average,
    )


def _build(file: TrainingFile) -> Recipe:
    """Make a file's recipe, seeded because its networks draw their first weights."""
    torch.manual_seed(file.seed)
    return build_recipe(file.recipe, file.settings)
