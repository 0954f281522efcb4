"""The recipe of the landmark-fusion autoencoder (Fan 2023, §III-A, eq. 3 to 6).

    reenact train configs/train/landmark_fusion.toml
    reenact train configs/train/landmark_fusion.toml \
        --measure reenact/assets/landmark_fusion.safetensors

The loss weights are the paper's: 0.1 adversarial, 10 cycle, 100 L1. So are Adam (0.5, 0.999) and
the discriminator's learning rate of 1e-4. L1 (eq. 5) needs the same expression on two faces. In
labelled data they are two people's own (§V-B); otherwise one frame is deformed into two people
(`deformation_transfer`). The cycle (eq. 4) and the discriminator (eq. 3) see real people's resting
faces.

Every addition can be switched off: larger batches and falling learning rates, frames mixed from
single action units, weaker and stronger acting, region weights, a limit on the gradient norm, and a
loss that makes lids close as far as the actor's, each relative to its own rest.
`landmark_fusion_paper.toml` switches all of it off. `landmark_fusion_freenet.toml` trains FReeNet's
network with its losses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share
from reenact.errors import ReenactError
from reenact.evaluation.metrics import expression_correlation
from reenact.face.action_units import action_unit_basis, action_units
from reenact.face.geometry import canonical_face, mirrored_deviation
from reenact.face.regions import LID_INDEX, SHUT_SHARE, apply_contact, lid_closure, region_weights
from reenact.models.fusion_network import ARCHITECTURE
from reenact.models.landmark_fusion import FreenetFusion, LandmarkDiscriminator, LandmarkFusion
from reenact.models.weights import save_model
from reenact.training.adversarial import (
    adam,
    as_floats,
    discriminator_step,
    generator_loss,
    optimizer_step,
)
from reenact.training.augmentation import Rng
from reenact.training.deformation_transfer import DeformationTransfer, Motion, load_motions
from reenact.training.loop import Recipe, cosine
from reenact.training.people import (
    PeopleData,
    describe,
    read_settings,
    recipe_settings,
    split_people,
)
from reenact.training.sampling import Batch, Batches
from reenact.types import Array

ACTIVE: Final = 0.08
"""Minimum standard deviation of an action unit's signal that counts as active."""

Transfer = Callable[[Array, Array, Array], Array]
"""`transfer(neutral (478, 3), deviations (N, 478, 3), target (478, 3))` returns deviations, iod."""


@recipe_settings
class FusionRecipeConfig(PeopleData):
    """The `[settings]`: data and loss weights.

    Attributes:
        network: "ours", or "freenet" with the layers and the two critics of FReeNet.
        batch_size: frames per step.
        learning_rate: initial learning rate of the autoencoder.
        final_rate: share of it to which it falls along a cosine; 1: constant.
        discriminator_rate: learning rate of the discriminator, constant.
        adversarial_weight, cycle_weight, l1_weight: λ of Fan 2023, eq. 6.
        lid_weight: weight of the loss of the lids' closure.
        identity_weight: weight of the loss of a person who drives their own face (FReeNet).
        region_weights: give lids, lips and brows more weight in eq. 4 and 5.
        clip_norm: maximum gradient norm; 0: no limit.
        scripted_share: share of the frames that are mixed from single action units.
        gain: maximum factor by which acting is made weaker or stronger.
        labelled_share: share of the pairs of eq. 5 that are two people with the same label, if
            the data has labels.
        pseudo_labels: label the frames of clips without labels by their action units.
    """

    network: Literal["ours", "freenet"] = "ours"
    batch_size: PositiveInt = 64
    learning_rate: NonNegativeFloat = 6e-4
    final_rate: Share = 0.05
    discriminator_rate: NonNegativeFloat = 1e-4
    adversarial_weight: NonNegativeFloat = 0.1
    cycle_weight: NonNegativeFloat = 10.0
    l1_weight: NonNegativeFloat = 100.0
    lid_weight: NonNegativeFloat = 1.0
    identity_weight: NonNegativeFloat = 0.0
    region_weights: bool = True
    clip_norm: NonNegativeFloat = 5.0
    scripted_share: Share = 0.25
    gain: Share = 0.3
    labelled_share: Share = 1.0
    pseudo_labels: bool = False


def build_recipe(settings: Mapping[str, Any]) -> FusionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises ReenactError if a setting is wrong, the data is missing, or train and val share people.
    """
    return FusionRecipe(read_settings(FusionRecipeConfig, settings))


class FusionSampler:
    """Draws the batches for `Batches`."""

    def __init__(self, motions: Sequence[Motion], config: FusionRecipeConfig) -> None:
        self._motions = motions
        self._people: dict[str, list[int]] = {}
        for number, motion in enumerate(motions):
            self._people.setdefault(motion.identity, []).append(number)
        self._names = sorted(self._people)
        rests = np.stack([motion.rest for motion in motions])
        self._deformation = DeformationTransfer(rests)
        self._rest_kernel = self._deformation.kernel(rests)
        self._config = config
        self._labelled = labelled_frames(motions)

    def draw(self, rng: Rng) -> Batch:
        """Return one batch."""
        count = self._config.batch_size
        chosen, acting = self._frames(rng, count)
        rests = np.stack([self._motions[k].rest for k in chosen])
        source, target = self._fields(rng, count), self._fields(rng, count)
        (neutral, deviation), (deformed, truth) = self._deformation.transfer(
            rests, self._rest_kernel[chosen], acting, [source, target]
        )
        if self._labelled:
            for row in np.flatnonzero(rng.random(count) < self._config.labelled_share):
                a, b, acts, truly = self._same_label(rng)
                neutral[row], deviation[row] = a.rest, a.shapes[acts] - a.rest
                deformed[row], truth[row] = b.rest, b.shapes[truly] - b.rest
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

    def _same_label(self, rng: np.random.Generator) -> tuple[Motion, Motion, int, int]:
        """Draw two people with the same emotion, and a frame of each that shows it."""
        shown = self._labelled[int(rng.choice(list(self._labelled)))]
        a, b = rng.choice(list(shown), 2, replace=False)
        (first, acts), (second, truly) = (shown[k][rng.integers(len(shown[k]))] for k in (a, b))
        return self._motions[first], self._motions[second], acts, truly

    def _draw(self, rng: np.random.Generator) -> int:
        """Return the index of a clip; each person is drawn equally often."""
        return int(rng.choice(self._people[self._names[rng.integers(len(self._names))]]))

    def _fields(self, rng: np.random.Generator, count: int) -> Array:
        """Return deformations between two people, from 0 to slightly more than 1 of the way."""
        fields = self._deformation.fields
        pairs = np.array([[self._draw(rng), self._draw(rng)] for _ in range(count)])
        amount = rng.uniform(0, 1.2, (count, 1, 1)).astype(np.float32)
        return np.asarray(amount * (fields[pairs[:, 1]] - fields[pairs[:, 0]]))

    def _frames(
        self, rng: np.random.Generator, count: int, scripted: bool = True
    ) -> tuple[NDArray[np.intp], Array]:
        """Return the indices of the clips (N,) and acting shapes (N, 478, 3)."""
        chosen = np.array([self._draw(rng) for _ in range(count)])
        acting = np.empty((count, 478, 3), np.float32)
        for row, number in enumerate(chosen):
            motion = self._motions[number]
            if scripted and rng.random() < self._config.scripted_share:
                acting[row] = _scripted(motion.rest, rng)
            else:
                deviation = motion.shapes[rng.integers(len(motion.shapes))] - motion.rest
                spread = self._config.gain if scripted else 0.0
                gain = rng.uniform(1 - spread, 1 + spread)
                acting[row] = motion.rest + np.float32(gain) * deviation
        return chosen, acting


def labelled_frames(motions: Sequence[Motion]) -> dict[int, dict[str, list[tuple[int, int]]]]:
    """Return the frames that show an emotion, as (motion, frame), by emotion and person.

    Neutral and emotions that fewer than two people show are left out.
    """
    shown: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for number, motion in enumerate(motions):
        labels = motion.emotions if motion.emotions is not None else np.empty(0, np.intp)
        for frame in np.flatnonzero(labels > 0).tolist():
            people = shown.setdefault(int(labels[frame]), {})
            people.setdefault(motion.identity, []).append((number, frame))
    return {emotion: people for emotion, people in shown.items() if len(people) > 1}


def _scripted(rest: Array, rng: np.random.Generator) -> Array:
    """Return a face that acts one to three action units, which clips seldom show alone."""
    basis = action_unit_basis()
    units = rng.choice(len(basis), rng.integers(1, 4), replace=False)
    deviation = np.tensordot(rng.uniform(0.2, 1, len(units)).astype(np.float32), basis[units], 1)
    return apply_contact(rest + deviation, rest, None)


class FusionRecipe(Recipe):
    """Trains the landmark-fusion autoencoder; see the module's docstring."""

    averaged = "fusion"

    def __init__(self, config: FusionRecipeConfig) -> None:
        self.config = config
        load = partial(load_motions, pseudo_labels=config.pseudo_labels)
        self._motions, held_out = split_people(config, load)
        if len({motion.identity for motion in self._motions}) < 2:
            raise ReenactError("Training needs clips of at least two people to transfer between.")
        self._validation = FusionValidation(held_out)
        fusion = LandmarkFusion() if config.network == "ours" else FreenetFusion()
        self.networks: dict[str, nn.Module] = {"fusion": fusion}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "fusion": adam(fusion, config.learning_rate)
        }
        self._critics = ("discriminator",) if config.network == "ours" else ("person", "face")
        for name in self._critics:
            self.networks[name] = LandmarkDiscriminator()
            self.optimizers[name] = adam(self.networks[name], config.discriminator_rate)
        self.schedules = {"fusion": cosine(end=config.final_rate)}
        weights = torch.ones(478)
        if config.region_weights:
            weights = 1 + 2 * torch.from_numpy(region_weights().copy()).sum(0)
        self._weights = (weights / weights.mean())[:, None]

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step."""
        return Batches(FusionSampler(self._motions, self.config).draw, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train on one batch of `FusionSampler`."""
        config = self.config
        fusion = self.networks["fusion"]
        neutral, deviation, other = batch["neutral"], batch["deviation"], batch["other"]
        same = fusion(neutral, deviation, batch["deformed"])
        moved = fusion(neutral, deviation, other)
        back = fusion(other, moved, neutral)
        critic, adversarial = 0.0, []
        for name in self._critics:
            # FReeNet's second critic sees the face alone, without the identity.
            one, real_one = other, batch["real"]
            if name == "face":
                one = real_one = _canonical(other)
            real = real_one, batch["real"] + batch["real_deviation"] - real_one
            generated = one, other + moved - one
            critic += discriminator_step(
                self.networks[name],
                self.optimizers[name],
                real=real,
                generated=(generated[0], generated[1].detach()),
                least_squares=config.network == "freenet",
            )
            adversarial.append(
                generator_loss(self.networks[name], generated, config.network == "freenet")
            )
        losses = {
            "l1": config.l1_weight * self._l1(same, batch["truth"]),
            "cycle": config.cycle_weight * self._l1(back, deviation),
            "adversarial": config.adversarial_weight * torch.stack(adversarial).sum(),
        }
        if config.lid_weight:
            shut = _closure(other + moved, other) - _closure(neutral + deviation, neutral)
            losses["lids"] = config.lid_weight * shut.abs().mean()
        if config.identity_weight:
            own = fusion(neutral, deviation, neutral)
            losses["identity"] = config.identity_weight * self._l1(own, deviation)
        limit = config.clip_norm or None
        optimizer_step(self.optimizers["fusion"], losses.values(), max_norm=limit)
        return {**as_floats(losses), "critic": critic}

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
        """Write half-precision safetensors with a header that describes them."""
        ours = self.config.network == "ours"
        header = {
            "architecture": ARCHITECTURE if ours else f"{ARCHITECTURE}_freenet",
            "data": describe(self._motions, self.config),
        }
        save_model(path, network.state_dict(), {**header, **facts})


def _canonical(shapes: Tensor) -> Tensor:
    """Return the canonical face, repeated for (N, 478, 3) shapes."""
    return torch.from_numpy(canonical_face().copy()).to(shapes).expand_as(shapes)


def _closure(shape: Tensor, neutral: Tensor) -> Tensor:
    """`regions.lid_closure` in torch, (N, 14)."""
    lids = torch.from_numpy(LID_INDEX)
    gaps = shape[:, lids[:, 1], 1] - shape[:, lids[:, 0], 1]
    rest = (neutral[:, lids[:, 1], 1] - neutral[:, lids[:, 0], 1]).clamp(min=0.02)
    return (((gaps / rest) - SHUT_SHARE) / (1 - SHUT_SHARE)).clamp(0, 2)


class FusionValidation:
    """Measures the transfer between people against plain addition of the deviations.

    `frames` frames of each held-out clip are used, evenly spread. Raises ReenactError if the clips
    show fewer than two people, or nothing moves in them.
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
        self._labelled = labelled_frames(motions)
        self.direct = self._measure(_add)
        if not np.isfinite(self.direct["correlation"]):
            raise ReenactError(
                "No action unit moves in the clips of the held-out people; validate on people who "
                "speak or act."
            )
        if self._labelled:
            self.direct["labelled_iod"] = self._labelled_distance(_add)

    def figures(self, transfer: Transfer) -> dict[str, float]:
        """Return the figures of a transfer, those of plain addition (`direct_…`), and a score.

        - transfer_iod: mean distance to the ground truth on a deformed face.
        - cycle_iod: mean distance after transfer to another person and back.
        - neutral_iod: how far a resting actor moves the target.
        - lids: mean error of the lids' closure.
        - correlation: of the actor's and the result's action units, mean over the active ones.
        - nearest_iod: RMS distance to the target person's nearest real frame.
        - labelled_iod: mean distance to the target person's own face with the same label, if both
          have labels.
        - real_nearest_iod: `nearest_iod` between the real frames of a clip's two halves, that is,
          the distance between real faces of one person.
        """
        own = self._measure(transfer)
        if self._labelled:
            own["labelled_iod"] = self._labelled_distance(transfer)
        ratios = [own[k] / self.direct[k] for k in ("transfer_iod", "nearest_iod", "lids")]
        score = -float(np.mean(ratios)) + own["correlation"]
        floor = {f"direct_{name}": value for name, value in self.direct.items()}
        return {**own, **floor, "real_nearest_iod": self._own_range(), "score": score}

    def _labelled_distance(self, transfer: Transfer) -> float:
        """Return the mean distance of Φ's faces to the people's own, for eq. 5's labelled pairs.

        Each person is represented by the mean of the frames that show the emotion.
        """
        found = []
        for people in self._labelled.values():
            means = {}
            for name, frames in people.items():
                moved = [self._motions[k].shapes[row] - self._motions[k].rest for k, row in frames]
                means[name] = self._motions[frames[0][0]].rest, np.mean(moved, axis=0)
            for a, b in itertools.permutations(means, 2):
                (rest, deviation), (target, truth) = means[a], means[b]
                found.append(_distance(transfer(rest, deviation[None], target), truth))
        return float(np.mean(found))

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
        values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        known = {name: of_name[~np.isnan(of_name)] for name, of_name in values.items()}
        return {name: float(one.mean()) if len(one) else np.nan for name, one in known.items()}


def _add(neutral: Array, deviations: Array, target: Array) -> Array:
    """Add the deviations unchanged."""
    return deviations


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
    found = expression_correlation(acted, done, ACTIVE)
    return float("nan") if found is None else found
