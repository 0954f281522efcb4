"""`reenact train CONFIG`: reads a training file and trains or measures weights by its recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field, ValidationError

from reenact import registry
from reenact.config import Section, UserPath, first_problem, parse_assignment, read_toml
from reenact.errors import ConfigError, ModelError, PluginError
from reenact.training.checkpoints import check_folder
from reenact.training.loop import LoopOptions, Recipe, TrainingOutcome, train

BUILT_IN: Final = {"landmark_fusion": "reenact.training.landmark_fusion:build_recipe"}
"""Recipes of networks that are not registered components."""


class TrainingFile(Section):
    """A training file; `settings` belongs to the recipe."""

    recipe: str = Field(
        description="name of a renderer or motion that can be trained, or landmark_fusion; or the "
        "module:function that makes a recipe, of what is no part"
    )
    folder: UserPath = Field(description="receives state, best weights and history")
    steps: int = Field(gt=0, description="last step")
    minutes: float = Field(
        0.0, ge=0, description="wall time after which training ends earlier; 0: no limit"
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


@dataclass(frozen=True, slots=True)
class Training:
    """A training whose data is loaded."""

    recipe: Recipe
    options: LoopOptions
    resume: bool

    def run(self, stop: Callable[[], bool] = lambda: False) -> TrainingOutcome:
        """Train until the end or until `stop`, called before each step, is True; see `train`."""
        return train(self.recipe, self.options, self.resume, stop)


def load_training(path: Path, resume: bool, assignments: Iterable[str] = ()) -> Training:
    """Read a training file and load its data, which may take minutes.

    Assignments are `key=value` or `settings.key=value`. Raises ReenactError if the file, a setting
    or the data is wrong, there is nothing to resume, or an earlier training would be replaced.
    """
    file = read_training_file(path, assignments)
    options = _options(file)
    check_folder(options.folder, resume)
    return Training(_build(file), options, resume)


def run_config(path: Path, resume: bool, assignments: Iterable[str] = ()) -> TrainingOutcome:
    """Train until the end of a training file; see `load_training` and `train`."""
    return load_training(path, resume, assignments).run()


def measure_config(path: Path, weights: Path, assignments: Iterable[str] = ()) -> dict[str, float]:
    """Return the figures of weights on the held-out people of a training file.

    Raises ReenactError as `load_training`, or if the weights are missing, damaged or of another
    network.
    """
    from reenact.models.inference import choose_device
    from reenact.models.weights import load_model, read_header

    file = read_training_file(path, assignments)
    architecture = read_header(weights).get("architecture", "")
    recipe = _build(file)
    network = recipe.networks[recipe.averaged].to(choose_device(file.device))
    try:
        load_model(weights, network, architecture)
    except ModelError as error:
        raise ModelError(
            f"{weights} (of {architecture}) does not fit the network of {path}; name the training "
            "file of these weights, with the settings that they were trained with."
        ) from error
    network.eval()
    with torch.no_grad():
        return recipe.validate(network)


def read_training_file(path: Path, assignments: Iterable[str] = ()) -> TrainingFile:
    """Read and check a training file; assignments are `key=value` or `settings.key=value`.

    Raises ConfigError if the file cannot be read, or a value is not allowed.
    """
    values = read_toml(path)
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
    try:
        return TrainingFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}") from error


def build_recipe(name: str, settings: Mapping[str, Any]) -> Recipe:
    """Make a recipe by the name of the renderer, motion or network that it trains.

    A name with a colon is the "module:function" of a recipe that belongs to no registered part.
    Raises ReenactError if the name is unknown, has nothing to train, or a setting or the data is
    wrong.
    """
    place = name if ":" in name else BUILT_IN.get(name)
    if place is None:
        if name in registry.available("motions"):
            place = registry.load("motions", name).recipe
        elif name in registry.available("renderers"):
            place = registry.load("renderers", name).recipe
        else:
            parts = registry.available("renderers") + registry.available("motions")
            raise PluginError(
                f"There is no recipe called {name!r}; it is {', '.join(BUILT_IN)}, "
                f"module:function, or a part that can be trained, one of {', '.join(parts)}."
            )
    if place is None:
        raise PluginError(f"{name} has nothing to train.")
    build: Callable[[Mapping[str, Any]], Recipe] = registry.import_object(place)
    return build(settings)


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
    """Build a file's recipe; the seed is set first because networks draw their initial weights."""
    torch.manual_seed(file.seed)
    return build_recipe(file.recipe, file.settings)
