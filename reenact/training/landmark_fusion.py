"""The recipe of the landmark-fusion autoencoder (Fan 2023, §III-A, eq. 3 to 6).

    reenact train configs/train/landmark_fusion.toml
    reenact train configs/train/landmark_fusion.toml \
        --measure reenact/assets/landmark_fusion.safetensors

The weights of the losses are the paper's: 0.1 adversarial, 10 cycle, 100 L1; Adam (0.5, 0.999), and
a rate of 1e-4 for the discriminator. Three things differ. The batch is 64 instead of 8, since it
costs little more here, with the generator's rate at 6e-4 instead of 2e-4
(`landmark_fusion_paper.toml` has the paper's values). L1 (eq. 5) needs the same expression on two
faces: each pair is one frame deformed into two people (`deformation_transfer`), while the cycle
(eq. 4) and the discriminator (eq. 3) see real people's resting faces. One loss is added: the lids
of the result are as far closed as the actor's, each against its own rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share
from reenact.errors import ReenactError
from reenact.face.action_units import action_unit_basis, action_units
from reenact.face.geometry import mirrored_deviation
from reenact.face.regions import LID_INDEX, SHUT_SHARE, apply_contact, lid_closure, region_weights
from reenact.models.fusion_network import ARCHITECTURE, LandmarkFusionConfig
from reenact.models.landmark_fusion import LandmarkDiscriminator, LandmarkFusion
from reenact.models.weights import save_model
from reenact.training.adversarial import (
    adam,
    as_floats,
    discriminator_step,
    generator_loss,
    optimizer_step,
)
from reenact.training.deformation_transfer import DeformationTransfer, Motion, load_motions
from reenact.training.loop import Recipe, cosine
from reenact.training.sampling import PeopleData, describe, read_settings, split_people
from reenact.types import Array

ACTIVE: Final = 0.08
"""Standard deviation above which an action unit's track counts as active."""

Transfer = Callable[[Array, Array, Array], Array]
"""`transfer(neutral (478, 3), deviations (N, 478, 3), target (478, 3))` returns deviations."""

Batch = dict[str, Array]


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FusionRecipeConfig(PeopleData):
    """The `[settings]`: data and weights of the losses.

    Attributes:
        batch_size: frames in a step.
        learning_rate: of the autoencoder; falls to a twentieth along a cosine.
        discriminator_rate: of the discriminator, constant.
        adversarial_weight, cycle_weight, l1_weight: λ of Fan 2023, eq. 6.
        lid_weight: of the lids' closure.
        scripted_share: share of the frames that are mixed from single action units.
    """

    batch_size: PositiveInt = 64
    learning_rate: NonNegativeFloat = 6e-4
    discriminator_rate: NonNegativeFloat = 1e-4
    adversarial_weight: NonNegativeFloat = 0.1
    cycle_weight: NonNegativeFloat = 10.0
    l1_weight: NonNegativeFloat = 100.0
    lid_weight: NonNegativeFloat = 1.0
    scripted_share: Share = 0.25


def build_recipe(settings: Mapping[str, Any]) -> FusionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises ReenactError if a setting is wrong, the data is missing, or train and val share people.
    """
    return FusionRecipe(read_settings(FusionRecipeConfig, settings))


class FusionBatches(Dataset[Batch]):
    """Item n is the batch of step n, the same for the same seed."""

    def __init__(
        self, motions: Sequence[Motion], config: FusionRecipeConfig, seed: int, steps: int
    ):
        self._motions = motions
        self._people: dict[str, list[int]] = {}
        for number, motion in enumerate(motions):
            self._people.setdefault(motion.identity, []).append(number)
        self._names = sorted(self._people)
        rests = np.stack([motion.rest for motion in motions])
        self._deformation = DeformationTransfer(rests)
        self._rest_kernel = self._deformation.kernel(rests)
        self._config, self._seed, self._steps = config, seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        count = self._config.batch_size
        chosen, acting = self._frames(rng, count)
        rests = np.stack([self._motions[k].rest for k in chosen])
        source, target = self._fields(rng, count), self._fields(rng, count)
        (neutral, deviation), (deformed, truth) = self._deformation.transfer(
            rests, self._rest_kernel[chosen], acting, [source, target]
        )
        real, real_acting = self._frames(rng, count, scripted=False)
        real_rests = np.stack([self._motions[k].rest for k in real])
        others = np.stack([self._motions[self._draw(rng)].rest for _ in range(count)])
        batch = {
            "neutral": neutral,
            "deviation": deviation,
            "deformed": deformed,
            "truth": truth,
            "other": others,
            "real": real_rests,
            "real_deviation": real_acting - real_rests,
        }
        flip = rng.random(count) < 0.5
        for value in batch.values():
            value[flip] = mirrored_deviation(value[flip])
        return {name: value.astype(np.float32) for name, value in batch.items()}

    def _draw(self, rng: np.random.Generator) -> int:
        """Return a clip's number; each person is drawn equally often."""
        return int(rng.choice(self._people[self._names[rng.integers(len(self._names))]]))

    def _fields(self, rng: np.random.Generator, count: int) -> Array:
        """Return deformations between two people, from none of the way to a little beyond."""
        fields = self._deformation.fields
        pairs = np.array([[self._draw(rng), self._draw(rng)] for _ in range(count)])
        amount = rng.uniform(0, 1.2, (count, 1, 1)).astype(np.float32)
        return np.asarray(amount * (fields[pairs[:, 1]] - fields[pairs[:, 0]]))

    def _frames(
        self, rng: np.random.Generator, count: int, scripted: bool = True
    ) -> tuple[NDArray[np.intp], Array]:
        """Return the clips' numbers (N,) and acting shapes (N, 478, 3)."""
        chosen = np.array([self._draw(rng) for _ in range(count)])
        acting = np.empty((count, 478, 3), np.float32)
        for row, number in enumerate(chosen):
            motion = self._motions[number]
            if scripted and rng.random() < self._config.scripted_share:
                acting[row] = _scripted(motion.rest, rng)
            else:
                deviation = motion.shapes[rng.integers(len(motion.shapes))] - motion.rest
                gain = rng.uniform(0.7, 1.3) if scripted else 1.0
                acting[row] = motion.rest + np.float32(gain) * deviation
        return chosen, acting


def _scripted(rest: Array, rng: np.random.Generator) -> Array:
    """Return a face that acts one to three action units, which clips seldom show alone."""
    basis = action_unit_basis()
    units = rng.choice(len(basis), rng.integers(1, 4), replace=False)
    deviation = np.tensordot(rng.uniform(0.2, 1, len(units)).astype(np.float32), basis[units], 1)
    return apply_contact(rest + deviation, rest, None)


class FusionRecipe(Recipe):
    """See the module."""

    averaged = "fusion"

    def __init__(self, config: FusionRecipeConfig) -> None:
        self.config = config
        self._motions, held_out = split_people(config, load_motions)
        self._validation = FusionValidation(held_out)
        fusion, discriminator = LandmarkFusion(), LandmarkDiscriminator()
        self.networks: dict[str, nn.Module] = {"fusion": fusion, "discriminator": discriminator}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "fusion": adam(fusion, config.learning_rate),
            "discriminator": adam(discriminator, config.discriminator_rate),
        }
        self.schedules = {"fusion": cosine(end=0.05)}
        weights = 1 + 2 * torch.from_numpy(region_weights().copy()).sum(0)
        self._weights = (weights / weights.mean())[:, None]

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step."""
        return FusionBatches(self._motions, self.config, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch of `FusionBatches`."""
        del progress
        config = self.config
        fusion, discriminator = self.networks["fusion"], self.networks["discriminator"]
        neutral, deviation, other = batch["neutral"], batch["deviation"], batch["other"]
        same = fusion(neutral, deviation, batch["deformed"])
        moved = fusion(neutral, deviation, other)
        back = fusion(other, moved, neutral)
        discriminator_loss = discriminator_step(
            discriminator,
            self.optimizers["discriminator"],
            real=(batch["real"], batch["real_deviation"]),
            generated=(other, moved.detach()),
        )
        adversarial = generator_loss(discriminator, (other, moved))
        wanted = _closure(neutral + deviation, neutral)
        losses = {
            "l1": config.l1_weight * self._l1(same, batch["truth"]),
            "cycle": config.cycle_weight * self._l1(back, deviation),
            "adversarial": config.adversarial_weight * adversarial,
            "lids": config.lid_weight * (_closure(other + moved, other) - wanted).abs().mean(),
        }
        optimizer_step(self.optimizers["fusion"], losses.values(), max_norm=5.0)
        return {**as_floats(losses), "discriminator": discriminator_loss}

    def _l1(self, result: Tensor, truth: Tensor) -> Tensor:
        return ((result - truth).abs() * self._weights.to(result.device)).mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the figures of `FusionValidation` on held-out people."""
        device = next(network.parameters()).device

        def transfer(neutral: Array, deviations: Array, target: Array) -> Array:
            count = len(deviations)
            tensors = [
                torch.tensor(np.broadcast_to(value, (count, 478, 3)), device=device)
                for value in (neutral, deviations, target)
            ]
            with torch.no_grad():
                moved: Array = network(*tensors).float().cpu().numpy()
            return moved

        return self._validation.figures(transfer)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that says what they are."""
        header = {
            "architecture": ARCHITECTURE,
            "config": LandmarkFusionConfig().to_json(),
            "data": describe(self._motions, self.config),
        }
        save_model(path, network.state_dict(), {**header, **facts})


def _closure(shape: Tensor, neutral: Tensor) -> Tensor:
    """`regions.lid_closure` in torch, (N, 14)."""
    lids = torch.from_numpy(LID_INDEX)
    gaps = shape[:, lids[:, 1], 1] - shape[:, lids[:, 0], 1]
    rest = (neutral[:, lids[:, 1], 1] - neutral[:, lids[:, 0], 1]).clamp(min=0.02)
    return (((gaps / rest) - SHUT_SHARE) / (1 - SHUT_SHARE)).clamp(0, 2)


class FusionValidation:
    """Measures the transfer between people, against plain addition of the deviations.

    `frames` of each held-out clip are spread evenly. Raises ReenactError without two people.
    """

    def __init__(self, motions: Sequence[Motion], frames: int = 40) -> None:
        self._motions = motions
        self._chosen = [
            motion.shapes[np.linspace(0, len(motion.shapes) - 1, frames).astype(int)]
            for motion in motions
        ]
        self._pairs = [
            (a, b)
            for a, b in itertools.permutations(range(len(motions)), 2)
            if motions[a].identity != motions[b].identity
        ]
        if not self._pairs:
            raise ReenactError("Validation needs clips of at least two people.")
        self._deformation = DeformationTransfer(np.stack([motion.rest for motion in motions]))
        self.direct = self._measure(lambda neutral, deviations, target: deviations)

    def figures(self, transfer: Transfer) -> dict[str, float]:
        """Return the figures of a transfer, those of plain addition (`direct_…`), and a score.

        - transfer_iod: mean distance to the truth on a deformed face.
        - cycle_iod: mean distance after the way there and back.
        - neutral_iod: how far a resting actor moves the target.
        - lids: mean error of the lids' closure.
        - correlation: of the actor's and the result's action units, mean over the active ones.
        - nearest_iod: RMS distance to the target person's nearest real frame.
        - real_nearest_iod: the same between the real frames of a clip's two halves, which is how
          far apart a person's real faces lie.
        """
        own = self._measure(transfer)
        ratios = [own[k] / self.direct[k] for k in ("transfer_iod", "nearest_iod", "lids")]
        score = -float(np.mean(ratios)) + own["correlation"]
        floor = {f"direct_{name}": value for name, value in self.direct.items()}
        return {**own, **floor, "real_nearest_iod": self._own_range(), "score": score}

    def _own_range(self) -> float:
        halves = [np.array_split(shapes, 2) for shapes in self._chosen]
        return float(np.mean([_nearest(a, b).mean() for a, b in halves]))

    def _measure(self, transfer: Transfer) -> dict[str, float]:
        rows = []
        for a, b in self._pairs:
            source, target = self._motions[a].rest, self._motions[b].rest
            shapes = self._chosen[a]
            deviations = shapes - source
            moved = transfer(source, deviations, target)
            field = (self._deformation.fields[b] - self._deformation.fields[a])[None]
            rests = np.broadcast_to(source, shapes.shape)
            kernel = self._deformation.kernel(source[None])
            ((deformed, truth),) = self._deformation.transfer(rests, kernel, shapes, [field])
            results = target + moved
            rows.append(
                {
                    "transfer_iod": _distance(transfer(source, deviations, deformed[0]), truth),
                    "cycle_iod": _distance(transfer(target, moved, source), deviations),
                    "neutral_iod": _distance(transfer(source, deviations[:1] * 0, target), 0.0),
                    "lids": _lid_error(results, target, shapes, source),
                    "correlation": _correlation(results, target, shapes, source),
                    "nearest_iod": float(_nearest(results, self._chosen[b]).mean()),
                }
            )
        return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def _distance(first: Array, second: Array | float) -> float:
    return float(np.linalg.norm(first - second, axis=-1).mean())


def _nearest(shapes: Array, real: Array) -> Array:
    """Return (N,) RMS distances of (N, 478, 3) shapes to the nearest of (M, 478, 3) real ones."""
    flat, others = shapes.reshape(len(shapes), -1), real.reshape(len(real), -1)
    distances = np.linalg.norm(flat[:, None] - others[None], axis=-1).min(axis=1)
    return np.asarray(distances / np.sqrt(shapes.shape[1]), dtype=np.float32)


def _lid_error(results: Array, target: Array, shapes: Array, source: Array) -> float:
    pairs = zip(results, shapes, strict=True)
    errors = [np.abs(lid_closure(r, target) - lid_closure(s, source)).mean() for r, s in pairs]
    return float(np.mean(errors))


def _correlation(results: Array, target: Array, shapes: Array, source: Array) -> float:
    done = np.stack([action_units(shape, target) for shape in results])
    acted = np.stack([action_units(shape, source) for shape in shapes])
    active = acted.std(axis=0) > ACTIVE
    values = [
        np.corrcoef(acted[:, k], done[:, k])[0, 1] if done[:, k].std() > 1e-6 else 0.0
        for k in np.flatnonzero(active)
    ]
    return float(np.mean(values)) if values else float("nan")
