"""The recipe of the landmark-fusion autoencoder (Fan 2023, §III-A, eq. 3 to 6).

    reenact train configs/train/landmark_fusion.toml
    reenact train configs/train/landmark_fusion.toml \
        --measure reenact/assets/landmark_fusion.safetensors

Weights of the losses as in the paper: 0.1 adversarial, 10 cycle, 100 L1; Adam (0.5, 0.999); rate of
the discriminator 1e-4. The batch is 64 instead of 8, since it costs little more here, and the
generator's rate 6e-4 instead of 2e-4 for that; `landmark_fusion_paper.toml` has the paper's. L1
(eq. 5) needs the same expression on two faces: the pairs are one frame bent into two people
(`bending`). Cycle (eq. 4) and critic (eq. 3) see real people's resting faces. One loss is added:
the lids of the result are as far shut as the actor's, each against its own rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share, first_problem
from reenact.errors import ConfigError, ReenactError
from reenact.face.action_units import action_unit_basis, action_units
from reenact.face.geometry import mirrored_deviation
from reenact.face.regions import LID_INDEX, SHUT_SHARE, apply_contact, lid_closure, region_weights
from reenact.models.fusion_network import ARCHITECTURE, LandmarkFusionConfig
from reenact.models.landmark_fusion import LandmarkDiscriminator, LandmarkFusion
from reenact.models.weights import save_model
from reenact.training.deformation_transfer import Bender
from reenact.training.expression_basis import Motion, load_motions
from reenact.types import Array

ACTIVE: Final = 0.08
"""Standard deviation from which on an action unit's track counts as active."""

Batch = dict[str, Array]


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FusionRecipeConfig:
    """Data and weights of the losses.

    Attributes:
        train, val: folders of clips' landmarks; identities must not be shared.
        batch_size: frames a step.
        learning_rate: of the autoencoder; falls to a twentieth along a cosine.
        critic_rate: of the discriminator.
        adversarial_weight, cycle_weight, l1_weight: λ of Fan 2023, eq. 6.
        lid_weight: of the lids' closure.
        scripted_share: share of the frames that are mixed from single action units.
    """

    train: str
    val: str
    batch_size: PositiveInt = 64
    learning_rate: NonNegativeFloat = 6e-4
    critic_rate: NonNegativeFloat = 1e-4
    adversarial_weight: NonNegativeFloat = 0.1
    cycle_weight: NonNegativeFloat = 10.0
    l1_weight: NonNegativeFloat = 100.0
    lid_weight: NonNegativeFloat = 1.0
    scripted_share: Share = 0.25


def build_recipe(settings: Mapping[str, Any]) -> FusionRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        ReenactError: the data is missing, or train and val share people.
    """
    try:
        config = TypeAdapter(FusionRecipeConfig).validate_python(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"settings.{first_problem(error)}") from error
    return FusionRecipe(config)


class FusionBatches(Dataset[Batch]):
    """Batch number n, the same for the same seed."""

    def __init__(
        self, motions: Sequence[Motion], config: FusionRecipeConfig, seed: int, steps: int
    ):
        self._motions = motions
        self._people: dict[str, list[int]] = {}
        for number, motion in enumerate(motions):
            self._people.setdefault(motion.identity, []).append(number)
        self._names = sorted(self._people)
        rests = np.stack([motion.rest for motion in motions])
        self._bender = Bender(rests)
        self._at_rest = self._bender.kernel(rests)
        self._config, self._seed, self._steps = config, seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        count = self._config.batch_size
        chosen, acting = self._frames(rng, count)
        rests = np.stack([self._motions[k].rest for k in chosen])
        source, target = self._fields(rng, count), self._fields(rng, count)
        (neutral, deviation), (bent, truth) = self._bender.bend(
            rests, self._at_rest[chosen], acting, [source, target]
        )
        real, real_acting = self._frames(rng, count, scripted=False)
        real_rests = np.stack([self._motions[k].rest for k in real])
        others = np.stack([self._motions[self._draw(rng)].rest for _ in range(count)])
        batch = {
            "neutral": neutral,
            "deviation": deviation,
            "bent": bent,
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
        """Return a clip's number; people are drawn alike."""
        return int(rng.choice(self._people[self._names[rng.integers(len(self._names))]]))

    def _fields(self, rng: np.random.Generator, count: int) -> Array:
        """Return maps from one person to another, not always all the way, at times beyond."""
        fields = self._bender.fields
        pairs = np.array([[self._draw(rng), self._draw(rng)] for _ in range(count)])
        amount = rng.uniform(0, 1.2, (count, 1, 1)).astype(np.float32)
        return np.asarray(amount * (fields[pairs[:, 1]] - fields[pairs[:, 0]]))

    def _frames(
        self, rng: np.random.Generator, count: int, scripted: bool = True
    ) -> tuple[NDArray[np.intp], Array]:
        """Return the clips' numbers and (N, 478, 3) acting shapes."""
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
    """Act one to three units alone: clips seldom show them one by one."""
    basis = action_unit_basis()
    units = rng.choice(len(basis), rng.integers(1, 4), replace=False)
    deviation = np.tensordot(rng.uniform(0.2, 1, len(units)).astype(np.float32), basis[units], 1)
    return apply_contact(rest + deviation, rest, None)


class FusionRecipe:
    """See the module; satisfies `loop.Recipe`."""

    averaged = "fusion"

    def __init__(self, config: FusionRecipeConfig) -> None:
        self.config = config
        self._motions = load_motions(Path(config.train))
        held_out = load_motions(Path(config.val))
        shared = {m.identity for m in self._motions} & {m.identity for m in held_out}
        if shared:
            raise ReenactError(f"train and val share people: {', '.join(sorted(shared))}.")
        self._examination = Examination(held_out)
        fusion, critic = LandmarkFusion(), LandmarkDiscriminator()
        self._fusion, self._critic = fusion, critic
        self.networks: dict[str, nn.Module] = {"fusion": fusion, "critic": critic}
        betas = (0.5, 0.999)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "fusion": torch.optim.Adam(fusion.parameters(), config.learning_rate, betas),
            "critic": torch.optim.Adam(critic.parameters(), config.critic_rate, betas),
        }
        weights = 1 + 2 * torch.from_numpy(region_weights().copy()).sum(0)
        self._weights = (weights / weights.mean())[:, None]

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step."""
        return FusionBatches(self._motions, self.config, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch of `FusionBatches`."""
        config, fusion = self.config, self._fusion
        rate = 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * progress)))
        for group in self.optimisers["fusion"].param_groups:
            group["lr"] = config.learning_rate * rate
        neutral, deviation, other = batch["neutral"], batch["deviation"], batch["other"]
        same = fusion(neutral, deviation, batch["bent"])
        moved = fusion(neutral, deviation, other)
        back = fusion(other, moved, neutral)
        self._teach_critic(batch["real"], batch["real_deviation"], other, moved.detach())
        self._critic.requires_grad_(False)
        verdict = self._critic(other, moved)
        self._critic.requires_grad_(True)
        wanted = _closure(neutral + deviation, neutral)
        losses = {
            "l1": config.l1_weight * self._l1(same, batch["truth"]),
            "cycle": config.cycle_weight * self._l1(back, deviation),
            "critic_of": config.adversarial_weight
            * F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict)),
            "lids": config.lid_weight * (_closure(other + moved, other) - wanted).abs().mean(),
        }
        optimiser = self.optimisers["fusion"]
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(fusion.parameters(), 5.0)
        optimiser.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _l1(self, result: Tensor, truth: Tensor) -> Tensor:
        return ((result - truth).abs() * self._weights.to(result.device)).mean()

    def _teach_critic(self, real: Tensor, moves: Tensor, fake: Tensor, moved: Tensor) -> None:
        yes, no = self._critic(real, moves), self._critic(fake, moved)
        loss = F.binary_cross_entropy_with_logits(yes, torch.ones_like(yes))
        loss = loss + F.binary_cross_entropy_with_logits(no, torch.zeros_like(no))
        optimiser = self.optimisers["critic"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the figures of `Examination` on people that training never saw."""
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

        return self._examination.figures(transfer)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header of what it is and how it was made."""
        people = len({motion.identity for motion in self._motions})
        save_model(
            path,
            network.state_dict(),
            {
                "architecture": ARCHITECTURE,
                "config": LandmarkFusionConfig().to_json(),
                "data": f"{len(self._motions)} clips of {people} people; no one of them in val",
                **facts,
            },
        )


def _closure(shape: Tensor, neutral: Tensor) -> Tensor:
    """`regions.lid_closure` in torch, (N, 14)."""
    lids = torch.from_numpy(LID_INDEX)
    gaps = shape[:, lids[:, 1], 1] - shape[:, lids[:, 0], 1]
    rest = (neutral[:, lids[:, 1], 1] - neutral[:, lids[:, 0], 1]).clamp(min=0.02)
    return (((gaps / rest) - SHUT_SHARE) / (1 - SHUT_SHARE)).clamp(0, 2)


class Examination:
    """Transfer between people, measured; plain addition is the floor.

    Args:
        motions: clips of people that training never saw.
        frames: of each clip, spread evenly.

    Raises:
        ReenactError: there are not two people to transfer between.
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
        self._bender = Bender(np.stack([motion.rest for motion in motions]))
        self.direct = self._measure(lambda neutral, deviations, target: deviations)

    def figures(self, transfer: Any) -> dict[str, float]:
        """Return the figures of a transfer and of plain addition (`direct_…`), and a score.

        `transfer(neutral (478, 3), deviations (N, 478, 3), target (478, 3))` returns (N, 478, 3).

        bent_iod: mean distance to the truth of a bent face. cycle_iod: mean distance after there
        and back. neutral_iod: how far a resting actor moves the target. lids: mean error of the
        lids' closure. correlation: of the actor's and the result's action units, mean over the
        active ones. nearest_iod: RMS distance to the target person's nearest real frame;
        real_nearest_iod: the same of real frames of one half of a clip to those of the other, which
        is how far apart a person's real faces lie.
        """
        own = self._measure(transfer)
        ratios = [own[k] / self.direct[k] for k in ("bent_iod", "nearest_iod", "lids")]
        score = -float(np.mean(ratios)) + own["correlation"]
        floor = {f"direct_{name}": value for name, value in self.direct.items()}
        return {**own, **floor, "real_nearest_iod": self._own_range(), "score": score}

    def _own_range(self) -> float:
        halves = [np.array_split(shapes, 2) for shapes in self._chosen]
        return float(np.mean([_nearest(a, b).mean() for a, b in halves]))

    def _measure(self, transfer: Any) -> dict[str, float]:
        rows = []
        for a, b in self._pairs:
            source, target = self._motions[a].rest, self._motions[b].rest
            shapes = self._chosen[a]
            deviations = shapes - source
            moved = transfer(source, deviations, target)
            field = (self._bender.fields[b] - self._bender.fields[a])[None]
            rests = np.broadcast_to(source, shapes.shape)
            at_rest = self._bender.kernel(source[None])
            ((bent, truth),) = self._bender.bend(rests, at_rest, shapes, [field])
            results = target + moved
            rows.append(
                {
                    "bent_iod": _distance(transfer(source, deviations, bent[0]), truth),
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
