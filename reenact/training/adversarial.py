"""Conditional adversarial training of a picture generator (Fan 2023, eq. 7 to 9).

    L_cGAN = E[log D(P_t, I_o)] + E[log(1 − D(P_t, Ω(P_t, J)))]      (7)
    L_pix  = ‖I_gen − I_o‖₁                                           (8)
    L_Ω    = µ₁ L_cGAN + µ₂ L_pix                                     (9)

The generator maximises log D of its picture instead of minimising log(1 − D), as Goodfellow 2014
advises and pix2pix does: its gradient does not vanish while the discriminator is ahead. Fan 2023,
pix2pix and CGAN are this recipe with different networks, weights and rates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share, first_problem
from reenact.errors import ConfigError
from reenact.models.unet import UNet, UNetConfig
from reenact.models.weights import save_model
from reenact.training.picture_pairs import (
    Batch,
    PictureMaterial,
    PicturePairs,
    examine,
    load_pictures,
)
from reenact.training.sampling import Clip, Sampler

BETAS = (0.5, 0.999)
"""β1 and β2 of Adam, of the paper and of pix2pix."""


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AdversarialConfig:
    """The `[settings]` of such a recipe; the defaults are those of Fan 2023.

    Attributes:
        train, val: folders of clips; identities must not be shared.
        stills: folders of photos.
        cache: where decoded clips are kept.
        still_share: share of the pairs that comes from photos.
        size_px: side of the pictures, a power of two.
        batch_size: pairs a step.
        width: channels of the first layers of generator and discriminator.
        generator_rate, critic_rate: of Adam, kept to the end.
        adversarial_weight, pixel_weight: µ1 and µ2 of eq. 9.
        validation_frames: of each held-back clip.
    """

    train: str
    val: str
    stills: tuple[str, ...] = ()
    cache: str = "runs/cache"
    still_share: Share = 0.25
    size_px: PositiveInt = 256
    batch_size: PositiveInt = 8
    width: PositiveInt = 64
    generator_rate: NonNegativeFloat = 2e-4
    critic_rate: NonNegativeFloat = 1e-4
    adversarial_weight: NonNegativeFloat = 1.0
    pixel_weight: NonNegativeFloat = 100.0
    validation_frames: PositiveInt = 4


def read_config(
    settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> AdversarialConfig:
    """Check the `[settings]` of a training file.

    Args:
        settings: as read.
        defaults: those of the recipe, where they are not the paper's.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
    """
    try:
        return TypeAdapter(AdversarialConfig).validate_python({**(defaults or {}), **settings})
    except ValidationError as error:
        raise ConfigError(f"settings.{first_problem(error)}") from error


def material_of(
    config: AdversarialConfig, sampler: Callable[[list[Clip]], Sampler] | None = None
) -> PictureMaterial:
    """Load the folders that a config names; a sampler may draw other pairs than usual.

    Raises:
        ReenactError: the data is missing, damaged, or train and val share people.
    """
    return load_pictures(
        Path(config.train),
        Path(config.val),
        Path(config.cache),
        stills=[Path(folder) for folder in config.stills],
        still_share=config.still_share,
        frames=config.validation_frames,
        sampler=sampler,
    )


class AdversarialRecipe:
    """One U-net against one discriminator; satisfies `loop.Recipe`.

    Args:
        name: of the renderer that loads the weights.
        config: data, weights and rates.
        material: what it learns from.
        generator: draws a picture from a picture and a landmark map.
        critic: judges `critic(condition, picture)`, logits. The condition is the target's
            picture (eq. 7), or with `sees_landmarks` picture and landmark map together.
        sees_landmarks: whether the critic does.
    """

    averaged = "generator"

    def __init__(
        self,
        name: str,
        config: AdversarialConfig,
        material: PictureMaterial,
        generator: UNet,
        critic: nn.Module,
        *,
        sees_landmarks: bool = False,
    ) -> None:
        self.config = config
        self._name, self._material = name, material
        self._generator, self._critic = generator, critic
        for network in (generator, critic):
            channels_last(network)
        self._sees_landmarks = sees_landmarks
        self.networks: dict[str, nn.Module] = {
            "generator": self._generator,
            "critic": self._critic,
        }
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "generator": adam(self._generator, config.generator_rate),
            "critic": adam(self._critic, config.critic_rate),
        }

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step."""
        config = self.config
        return PicturePairs(self._material.sampler, config.size_px, config.batch_size, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch of `picture_pairs.collate`."""
        del progress
        config = self.config
        reference, truth = batch["reference"], batch["truth"]
        condition = reference
        if self._sees_landmarks:
            condition = torch.cat([reference, batch["truth_map"]], dim=1)
        drawn = self._generator(reference, batch["truth_map"])
        told_apart = teach_critic(
            self._critic, self.optimisers["critic"], condition, truth, drawn.detach()
        )
        losses = {"critic_of": config.adversarial_weight * fool(self._critic, condition, drawn)}
        if config.pixel_weight:
            losses["pixels"] = config.pixel_weight * F.l1_loss(drawn.float(), truth)
        descend(self.optimisers["generator"], list(losses.values()))
        return {**{name: float(value.detach()) for name, value in losses.items()}, **told_apart}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR and SSIM on people that training never saw; see `examine`."""
        device = next(network.parameters()).device

        def draw(batch: Mapping[str, Any]) -> Tensor:
            picture: Tensor = network(batch["reference"], batch["truth_map"])
            return picture

        return examine(draw, self._material.held_back, self.config.size_px, device)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header of what it is and how it was made."""
        assert isinstance(network, UNet)
        # Dropped values are of training alone, and whoever draws need not know of them.
        config = replace(network.config, dropout=0.0)
        save_weights(
            self._name,
            network,
            config=config.to_json(),
            material=self._material,
            path=path,
            facts=facts,
        )


def save_weights(
    name: str,
    network: nn.Module,
    *,
    config: str,
    material: PictureMaterial,
    path: Path,
    facts: Mapping[str, str],
) -> None:
    """Write the weights that `LandmarkRenderer` loads."""
    header = {"architecture": name, "config": config, "data": material.description, **facts}
    save_model(path, network.state_dict(), header)


def unet_config(config: AdversarialConfig, dropout: float = 0.0) -> UNetConfig:
    """Return the sizes of the generator.

    Raises:
        ConfigError: the side or the width is not allowed.
    """
    try:
        return UNetConfig(config.size_px, config.width, 8 * config.width, dropout)
    except ValueError as error:
        raise ConfigError(f"settings: {error}.") from error


def channels_last(network: nn.Module) -> None:
    """Lay weights out as processors convolve fastest."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    """Return the optimiser of the paper."""
    return torch.optim.Adam(network.parameters(), rate, BETAS, fused=True)


def teach_critic(
    critic: nn.Module,
    optimiser: torch.optim.Optimizer,
    condition: Tensor,
    real: Tensor,
    drawn: Tensor,
) -> dict[str, float]:
    """Let a critic learn from true and drawn pictures (eq. 7); return its loss."""
    yes, no = critic(condition, real), critic(condition, drawn)
    loss = (_against(yes, 1.0) + _against(no, 0.0)) / 2
    descend(optimiser, [loss])
    return {"critic": float(loss.detach())}


def fool(critic: nn.Module, condition: Tensor, drawn: Tensor) -> Tensor:
    """Return what a generator pays for being told apart; the critic learns nothing."""
    critic.requires_grad_(False)
    try:
        return _against(critic(condition, drawn), 1.0)
    finally:
        critic.requires_grad_(True)


def descend(optimiser: torch.optim.Optimizer, losses: list[Tensor]) -> None:
    """Take one step down the sum of losses."""
    optimiser.zero_grad(set_to_none=True)
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _against(verdict: Tensor, wanted: float) -> Tensor:
    """The log loss of (N, 1, h, w) logits, mean over all patches."""
    return F.binary_cross_entropy_with_logits(
        verdict.float(), torch.full_like(verdict, wanted, dtype=torch.float32)
    )
