"""Conditional adversarial training of a picture generator (Fan 2023, eq. 7 to 9).

    L_cGAN = E[log D(P_t, I_o)] + E[log(1 − D(P_t, Ω(P_t, J)))]      (7)
    L_pix  = ‖I_gen − I_o‖₁                                           (8)
    L_Ω    = µ₁ L_cGAN + µ₂ L_pix                                     (9)

The generator maximises log D instead of minimising log(1 − D), as Goodfellow 2014 advises and
pix2pix does: this gradient does not vanish while the discriminator is ahead. Fan 2023, pix2pix and
CGAN are this recipe with different settings; an ablation changes one at a time.

`reenact train configs/train/fan2023.toml` trains Fan 2023's expression transfer network Ω (§V-B).
Networks, learning rates and loss weights of `AdversarialConfig` default to the paper's; its 120
epochs are steps in the training file. Two defaults of `PictureGanConfig` differ: pairs are also
moved, scaled and recoloured (`augmentation`; the paper only flips them), and they are drawn from
the ground truth's own landmarks (`landmarks`; the paper trains on the output of Φ).
`configs/train/fan2023_paper.toml` sets both as in the paper. The landmark map has the lines of 478
landmarks instead of 68.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share, UserPath
from reenact.errors import ConfigError
from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.fusion_network import FusionNetwork, shipped_network
from reenact.models.unet import UNet, UNetConfig
from reenact.models.weights import save_model
from reenact.training.loop import Recipe
from reenact.training.people import PeopleData, PictureData, read_settings, recipe_settings
from reenact.training.picture_pairs import PictureMaterial, collate, load_pictures, measure
from reenact.training.sampling import Batch

BETAS: Final = (0.5, 0.999)
"""β1 and β2 of Adam in the paper and in pix2pix."""


@recipe_settings
class AdversarialConfig(PeopleData):
    """The networks, learning rates and losses; the defaults are those of Fan 2023.

    Attributes:
        size_px: side of the pictures, a power of two.
        batch_size: pairs per step.
        width: channels of the first layers of generator and discriminator.
        dropout: dropout of the generator, which is pix2pix's noise.
        residual: see `UNetConfig` (ours).
        spectral: spectral instead of batch normalisation in the discriminator.
        critic_relu: ReLU instead of LeakyReLU in the discriminator.
        critic_sees_landmarks: the discriminator also gets the landmark map.
        generator_rate, discriminator_rate: learning rates of Adam, constant.
        adversarial_weight, pixel_weight: µ1 and µ2 of eq. 9.
        squared_weight: weight of an additional mean squared error (ours).
    """

    size_px: PositiveInt = 256
    batch_size: PositiveInt = 8
    width: PositiveInt = 64
    dropout: Share = 0.0
    residual: bool = False
    spectral: bool = True
    critic_relu: bool = True
    critic_sees_landmarks: bool = False
    generator_rate: NonNegativeFloat = 2e-4
    discriminator_rate: NonNegativeFloat = 1e-4
    adversarial_weight: NonNegativeFloat = 1.0
    pixel_weight: NonNegativeFloat = 100.0
    squared_weight: NonNegativeFloat = 0.0


@recipe_settings
class PictureGanConfig(AdversarialConfig, PictureData):
    """The `[settings]` of an adversarial recipe that draws its pairs from clips and photos.

    Attributes:
        landmarks: landmarks that pictures are drawn from: the ground truth's own, or those fused
            by Φ (eq. 1).
        fusion: weights of Φ; "": the shipped ones.
    """

    landmarks: Literal["true", "fused"] = "true"
    fusion: UserPath = ""


def read_config(settings: Mapping[str, Any]) -> PictureGanConfig:
    """Check the `[settings]` of a training file. Raises ConfigError if a value is not allowed."""
    return read_settings(PictureGanConfig, settings)


def build_fan2023(settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe of Fan 2023 from the `[settings]` of a training file.

    Raises ReenactError if a setting is wrong, or the data is missing or does not fit.
    """
    return build_adversarial("fan2023", settings)


def build_adversarial(name: str, settings: Mapping[str, Any]) -> AdversarialRecipe:
    """Make the recipe of the renderer `name`. Raises as `build_fan2023`."""
    config = read_config(settings)
    return AdversarialRecipe(name, config, load_pictures(config, fusion=fusion_network(config)))


def fusion_network(config: PictureGanConfig) -> FusionNetwork | None:
    """Return Φ if pictures are drawn from fused landmarks.

    Raises ReenactError if its file is missing or damaged.
    """
    if config.landmarks == "true":
        return None
    if not config.fusion:
        return shipped_network()
    if not Path(config.fusion).is_file():
        raise ConfigError(
            f"settings.fusion names {config.fusion}, which does not exist. Train it first, for "
            "instance with configs/train/landmark_fusion_paper.toml, or use the shipped network "
            "with --set settings.fusion=."
        )
    return FusionNetwork(Path(config.fusion))


class AdversarialRecipe(Recipe):
    """One U-net against one discriminator.

    Args:
        name: name of the renderer that loads the weights.
        config: data, networks, loss weights and learning rates.
        material: training and validation data.
    """

    averaged = "generator"

    def __init__(self, name: str, config: AdversarialConfig, material: PictureMaterial) -> None:
        self.config = config
        self._name, self._material = name, material
        generator = UNet(unet_config(config))
        discriminator = MarkovDiscriminator(
            inputs=7 if config.critic_sees_landmarks else 6,
            width=config.width,
            spectral=config.spectral,
            relu=config.critic_relu,
        )
        self.networks: dict[str, nn.Module] = {
            "generator": channels_last(generator),
            "discriminator": channels_last(discriminator),
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": adam(generator, config.generator_rate),
            "discriminator": adam(discriminator, config.discriminator_rate),
        }

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step."""
        stack = partial(collate, size_px=self.config.size_px)
        return self._material.batches(stack, self.config.batch_size, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train on one batch of `picture_pairs.collate`."""
        config, discriminator = self.config, self.networks["discriminator"]
        reference, truth = batch["reference"], batch["truth"]
        condition = reference
        if config.critic_sees_landmarks:
            condition = torch.cat([reference, batch["truth_map"]], dim=1)
        generated = self.networks["generator"](reference, batch["truth_map"])
        critic = discriminator_step(
            discriminator,
            self.optimizers["discriminator"],
            real=(condition, truth),
            generated=(condition, generated.detach()),
        )
        adversarial = generator_loss(discriminator, (condition, generated))
        losses = {"adversarial": config.adversarial_weight * adversarial}
        if config.pixel_weight:
            losses["pixels"] = config.pixel_weight * F.l1_loss(generated.float(), truth)
        if config.squared_weight:
            losses["squared"] = config.squared_weight * F.mse_loss(generated.float(), truth)
        further, told = self.further_losses(batch, generated)
        losses |= further
        optimizer_step(self.optimizers["generator"], losses.values())
        return {**as_floats(losses), "critic": critic, **told}

    def further_losses(
        self, batch: Mapping[str, Any], generated: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Train the additional networks of a subclass.

        Returns their losses of the generated pictures, and their own training losses, by name.
        """
        return {}, {}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR and SSIM on held-out people; see `picture_pairs.measure`."""
        device = next(network.parameters()).device

        def draw(batch: Mapping[str, Any]) -> Tensor:
            picture: Tensor = network(batch["reference"], batch["truth_map"])
            return picture

        return measure(draw, self._material.held_out, self.config.size_px, device)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes them."""
        assert isinstance(network, UNet)
        config = replace(network.config, dropout=0.0).to_json()  # used in training only
        header = {"architecture": self._name, "config": config, "data": self._material.description}
        save_model(path, network.state_dict(), {**header, **facts})


def unet_config(config: AdversarialConfig) -> UNetConfig:
    """Return the sizes of the generator. Raises ConfigError if side or width is not allowed."""
    width = config.width
    try:
        return UNetConfig(config.size_px, width, 8 * width, config.dropout, config.residual)
    except ValueError as error:
        raise ConfigError(f"settings: {error}.") from error


def channels_last(network: nn.Module) -> nn.Module:
    """Store the weights channels-last, in which convolutions run fastest."""
    laid_out: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out


def adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    """Return Adam as in the paper, β1 = 0.5 and β2 = 0.999."""
    return torch.optim.Adam(network.parameters(), rate, BETAS, fused=True)


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: tuple[Tensor, ...],
    generated: tuple[Tensor, ...],
    least_squares: bool = False,
) -> float:
    """Train a discriminator on real and generated data for one step (eq. 7); return its loss.

    The discriminator returns logits for the arguments `real` and `generated`. The latter is
    detached from the generator. `least_squares` selects LSGAN's loss. All recipes report the loss
    as `critic`.
    """
    cost = square_loss if least_squares else _log_loss
    loss = cost(discriminator(*real), 1.0) + cost(discriminator(*generated), 0.0)
    optimizer_step(optimizer, [loss])
    return float(loss.detach())


def generator_loss(
    discriminator: nn.Module, generated: tuple[Tensor, ...], least_squares: bool = False
) -> Tensor:
    """Return the adversarial loss of a generator; the discriminator gets no gradients."""
    with frozen(discriminator):
        cost = square_loss if least_squares else _log_loss
        return cost(discriminator(*generated), 1.0)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Let what is computed in the block give these networks no gradients."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def optimizer_step(
    optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], max_norm: float | None = None
) -> None:
    """Take one step on the sum of the losses, with the gradient norm clipped to `max_norm`."""
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses)).sum().backward()  # type: ignore[no-untyped-call]
    if max_norm is not None:
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()


def as_floats(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the values of the losses by name."""
    return {name: float(value.detach()) for name, value in losses.items()}


def square_loss(logits: Tensor, label: float) -> Tensor:
    """Return the mean squared distance of a discriminator's output to a label (Mao 2017)."""
    return (logits.float() - label).square().mean()


def _log_loss(logits: Tensor, label: float) -> Tensor:
    """Return the binary cross-entropy of logits against one label."""
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits, label, dtype=torch.float32)
    )
