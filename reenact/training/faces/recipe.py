"""Trains generators that draw an aligned face from a condition: GANimation, LGP-GAN and others.

A recipe has one generator and critics, which are trained more often. The losses that a paper adds
are in its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share, UserPath
from reenact.errors import ConfigError, ModelError
from reenact.expression.emotions import EMOTIONS
from reenact.models.masked_generator import check_side, gradient_penalty, window
from reenact.models.weights import NetworkConfig, header_of, load_model, read_header, save_model
from reenact.training.adversarial import adam, as_floats, frozen, optimizer_step
from reenact.training.faces.clips import FaceData
from reenact.training.faces.material import (
    FaceMaterial,
    Grouping,
    load_faces,
    measure_emotions,
    one_hot,
    shown,
)
from reenact.training.loop import Recipe, Schedule
from reenact.training.people import read_settings, recipe_settings
from reenact.training.sampling import Batch, Batches
from reenact.types import Array


@recipe_settings
class FaceGanConfig(FaceData):
    """The settings that all recipes of this form have.

    Attributes:
        critic_steps: critic steps per generator step; each sees faces of its own.
        width: channels of the networks' first layers.
        rate: learning rate of Adam for all networks.
        pair_weight: weight of the squared error against another frame of the same clip whose
            expression is requested (ours); it makes a short training possible. 0: no pairs.
        pairs_first: share of the training in which the generator is trained on pairs alone, which
            takes half the time of a step with critics (ours).
        critics_alone: share of the training after that in which the critics are trained but do
            not yet train the generator (ours): untrained critics would undo its progress.
        windowed, residual: see `masked_generator.MaskedConfig`.
        gain: factor on the generator's change in validation, and on the motion of photos, because
            squared errors make it change too little (ours).
        start: weights of the same architecture from which the generator starts; "": random ones.
    """

    critic_steps: PositiveInt = 5
    width: PositiveInt = 64
    rate: NonNegativeFloat = 1e-4
    pair_weight: NonNegativeFloat = 0.0
    pairs_first: Share = 0.0
    critics_alone: Share = 0.0
    windowed: bool = False
    residual: bool = False
    gain: PositiveFloat = 1.0
    start: UserPath = ""


Settings = TypeVar("Settings", bound=FaceGanConfig)


class FaceRecipe(Recipe, Generic[Settings]):
    """A generator against critics, which are trained more often; a recipe supplies the losses.

    Args:
        name: name of the renderer that loads the weights.
        config: data, sizes and learning rates.
        material: training and validation data.
        generator: maps faces (N, 3, S, S) and conditions to faces; its `config` has `to_json`.
        critics: networks by name.

    Raises:
        ModelError: `config.start` is missing, damaged or of another architecture.
    """

    averaged = "generator"
    paired = False
    """True if faces are always drawn from another face of the clip, even without a pair weight."""

    constant_share: float = 1.0
    """Share of the training with constant learning rates; then they fall to 0 along a line."""

    def __init__(
        self,
        name: str,
        config: Settings,
        material: FaceMaterial,
        generator: nn.Module,
        critics: Mapping[str, nn.Module],
    ) -> None:
        self.name, self.material, self.config = name, material, config
        if config.start:
            _start(generator, Path(config.start), name)
        self.networks: dict[str, nn.Module] = {"generator": generator, **critics}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": adam(generator, config.rate),
            "critic": adam(nn.ModuleDict(dict(critics)), config.rate),
        }
        if self.constant_share < 1:
            self.schedules = dict.fromkeys(self.optimizers, falling(self.constant_share))
        self.critics = list(critics)
        self.paired = self.paired or config.pair_weight > 0

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step with all its critic steps."""
        count = self.config.critic_steps * self.config.batch_size
        return Batches(partial(self.material.draw, count=count), seed, steps)

    def shows(self, batch: Mapping[str, Tensor], prefix: str = "") -> Tensor:
        """Return the conditions (N, K) of `faces`, or with a prefix those of `other_faces`."""
        return shown({"emotions": batch[f"{prefix}emotions"]})

    def wanted(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the requested conditions (N, K): the next face's, or the pair's."""
        conditions = self.shows(batch)
        return conditions if self.paired else conditions.roll(1, dims=0)

    def given(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the faces to change and the conditions that they show.

        For pairs these are the other faces of the clips, from which `faces` are drawn.
        """
        prefix = "other_" if self.paired else ""
        return batch[f"{prefix}faces"], self.shows(batch, prefix)

    def critic_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the critics, under the same names in all recipes.

        `critic` is the loss of separating true from drawn faces, `penalty` the gradient penalty,
        and `read` the loss of the condition predicted for true faces; each is summed over the
        critics. Networks with another purpose have losses under other names.
        """
        raise NotImplementedError

    def wasserstein_losses(
        self,
        batch: Mapping[str, Tensor],
        wanted: Tensor,
        penalty_weight: float,
        read_weight: float,
        distance: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    ) -> dict[str, Tensor]:
        """Return the WGAN-GP losses of the network `critic`.

        `distance` compares the predicted with the true conditions of true faces.
        """
        with torch.no_grad():
            generated = self.networks["generator"](self.given(batch)[0], wanted)
        critic = self.networks["critic"]
        losses, read = critic_losses(critic, batch["faces"], generated, penalty_weight)
        return {**losses, "read": read_weight * distance(read, self.shows(batch))}

    def generator_losses(self, batch: Mapping[str, Tensor], wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of the generator; the critics get no gradients."""
        raise NotImplementedError

    def pair_losses(self, *drawn: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the squared error of pictures against the true ones, if it has a weight.

        Most of a picture does not change, and the median of the possible changes is no change, so
        with absolute errors nothing is learned. The middle of a picture has the most weight. The
        colours under a generator's mask are compared too: once the mask has closed, nothing else
        trains them.
        """
        weight = self.config.pair_weight
        if not weight:
            return {}
        losses = []
        for one, truth in drawn:
            counts = window(truth) / window(truth).mean()
            losses.append(((one.float() - truth).square() * counts).mean())
        return {"pairs": weight * torch.stack(losses).mean()}

    def acted(self) -> Array:
        """Return the conditions (7, K) of all emotions but neutral, for the validation."""
        return one_hot(range(1, len(EMOTIONS)))

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train the critics for some steps, then the generator for one; see `FaceGanConfig`."""
        config = self.config
        count = config.critic_steps
        start = config.pairs_first if config.pair_weight else 0.0
        judged: dict[str, Tensor] = {}
        for number in range(count if progress >= start else 0):
            part = {name: values[number::count] for name, values in batch.items()}
            judged = self.critic_losses(part, self.wanted(part))
            optimizer_step(self.optimizers["critic"], judged.values())
        part = {name: values[count - 1 :: count] for name, values in batch.items()}
        if progress < start + (config.critics_alone if config.pair_weight else 0.0):
            drawn = self.networks["generator"](self.given(part)[0], self.wanted(part))
            losses = self.pair_losses((drawn, part["faces"]))
        else:
            losses = self._judged_losses(part)
        optimizer_step(self.optimizers["generator"], losses.values())
        return {**as_floats(judged), **as_floats(losses)}

    def _judged_losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the generator's losses by the critics, which get no gradients."""
        with frozen(*(self.networks[name] for name in self.critics)):
            return self.generator_losses(batch, self.wanted(batch))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return how well acted emotions are shown; see `measure_emotions`."""
        conditions = self.acted()
        held_out = self.material.held_out
        return measure_emotions(network, self.config.gain, held_out, lambda *_: conditions)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes them."""
        config: str = network.config.to_json()  # type: ignore[operator, union-attr]
        header = {"architecture": self.name, "config": config, "data": self.material.description}
        gain = {"gain": str(self.config.gain)}
        save_model(path, network.state_dict(), {**header, **gain, **facts})


def _start(generator: nn.Module, path: Path, name: str) -> None:
    """Load the weights to start from. Raises ModelError if they are not of this network."""
    header_of(path, name)
    try:
        load_model(path, generator, name)
    except ModelError as error:
        raise ModelError(
            f"{path} does not fit the network of this training; start from weights that were "
            "trained with the same settings, such as the same settings.width."
        ) from error


def critic_losses(
    critic: nn.Module, real: Tensor, generated: Tensor, penalty_weight: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Return a critic's WGAN-GP losses (Gulrajani 2017) and its predictions for real pictures.

    The critic returns scores and a vector, see `masked_generator.ConditionCritic`.
    """
    real_scores, read = critic(real)
    generated_scores, _ = critic(generated)
    penalty = gradient_penalty(lambda one: critic(one)[0], real, generated.to(real.dtype))
    losses = {
        "critic": generated_scores.float().mean() - real_scores.float().mean(),
        "penalty": penalty_weight * penalty,
    }
    return losses, read.float()


def critic_log_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Return −log D(x) − log(1 − D(G)) of logits, means over both (Goodfellow 2014)."""
    return F.softplus(-real.float()).mean() + F.softplus(generated.float()).mean()


def falling(constant: float) -> Schedule:
    """Return a schedule that is 1 for the share `constant` of the training, then falls to 0."""
    return lambda progress: min(1.0, (1 - progress) / (1 - constant))


Sizes = TypeVar("Sizes", bound=NetworkConfig)


def sizes_of(kind: type[Sizes], config: FaceGanConfig, **others: int) -> Sizes:
    """Return the sizes of a network: the settings of the same names, and `others`."""
    names = [one.name for one in fields(kind)]
    given = {name: getattr(config, name) for name in names if hasattr(config, name)}
    return kind(**given | others)


def recipe_builder(
    settings_type: type[Settings],
    recipe: Callable[[Settings, FaceMaterial], FaceRecipe[Settings]],
    group: Grouping | None = None,
) -> Callable[[Mapping[str, Any]], FaceRecipe[Settings]]:
    """Return a function that builds a recipe from the `[settings]` of a training file.

    It raises ReenactError if a setting is wrong, or the data is missing or does not fit.
    """

    def build_recipe(settings: Mapping[str, Any]) -> FaceRecipe[Settings]:
        config = read_settings(settings_type, settings)
        _check(config)
        return recipe(config, load_faces(config, group))

    return build_recipe


def _check(config: FaceGanConfig) -> None:
    """Report wrong settings before the data is loaded, which may take minutes."""
    try:
        check_side(config.size_px)
    except ValueError as error:
        raise ConfigError(f"settings.size_px: {error}.") from error
    if config.start:
        read_header(Path(config.start))
