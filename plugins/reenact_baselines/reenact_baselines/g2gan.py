"""G2-GAN (Song 2018): one network removes an expression, its twin adds one.

An expression is transferred through a neutral picture, which Fan 2023 names as its weakness. The
losses are adversarial, pixel and cycle losses, each in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.errors import ConfigError
from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.unet import UNet, UNetConfig
from reenact.models.weights import builder, save_model
from reenact.training.adversarial import (
    AdversarialConfig,
    adam,
    as_floats,
    channels_last,
    discriminator_step,
    fusion_network,
    generator_loss,
    optimizer_step,
    read_config,
    unet_config,
)
from reenact.training.loop import Recipe
from reenact.training.picture_pairs import (
    NeutralPairs,
    PictureMaterial,
    collate,
    load_pictures,
    measure,
)
from reenact.training.sampling import Batch

CYCLE_SHARE: Final = 0.5
"""Weight of the cycle loss, relative to that of the pixel loss."""


class G2GANNetwork(nn.Module):
    """Both generators; `forward` adds an expression to a neutral picture.

    Pictures are (N, 3, S, S) in -1..1, landmark maps (N, 1, S, S).
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.removing, self.synthesising = UNet(config), UNet(config)

    def remove(self, picture: Tensor, landmarks: Tensor) -> Tensor:
        """Return a picture with a resting face; the map is that of the picture."""
        neutral: Tensor = self.removing(picture, landmarks)
        return neutral

    def forward(self, neutral: Tensor, landmarks: Tensor) -> Tensor:
        """Return a picture with the expression of the map."""
        drawn: Tensor = self.synthesising(neutral, landmarks)
        return drawn


build = builder(UNetConfig, G2GANNetwork)


class G2GANRecipe(Recipe):
    """Trains G2-GAN; see the module's docstring."""

    averaged = "generators"

    def __init__(self, config: AdversarialConfig, material: PictureMaterial) -> None:
        self.config = config
        self._material = material
        generators = G2GANNetwork(unet_config(config))
        self.networks: dict[str, nn.Module] = {"generators": channels_last(generators)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generators": adam(generators, config.generator_rate)
        }
        for name in ("expression", "neutral"):
            discriminator = MarkovDiscriminator(
                inputs=4, width=config.width, spectral=False, relu=False
            )
            self.networks[name] = channels_last(discriminator)
            self.optimizers[name] = adam(discriminator, config.discriminator_rate)

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step."""
        stack = partial(collate, size_px=self.config.size_px)
        return self._material.batches(stack, self.config.batch_size, seed, steps)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train both directions on one batch: the reference is calm, the truth acts."""
        del progress
        config, both = self.config, cast(G2GANNetwork, self.networks["generators"])
        neutral, acting, landmarks = batch["reference"], batch["truth"], batch["truth_map"]
        drawn, calmed = both(neutral, landmarks), both.remove(acting, landmarks)
        critic, costs = 0.0, []
        for name, real, fake in (("expression", acting, drawn), ("neutral", neutral, calmed)):
            discriminator = self.networks[name]
            critic += discriminator_step(
                discriminator,
                self.optimizers[name],
                real=(landmarks, real),
                generated=(landmarks, fake.detach()),
            )
            costs.append(generator_loss(discriminator, (landmarks, fake)))
        pixels = F.l1_loss(drawn.float(), acting) + F.l1_loss(calmed.float(), neutral)
        back = F.l1_loss(both.remove(drawn, landmarks).float(), neutral)
        back = back + F.l1_loss(both(calmed, landmarks).float(), acting)
        losses = {
            "adversarial": config.adversarial_weight * torch.stack(costs).sum(),
            "pixels": config.pixel_weight * pixels,
            "cycle": CYCLE_SHARE * config.pixel_weight * back,
        }
        optimizer_step(self.optimizers["generators"], losses.values())
        return {**as_floats(losses), "critic": critic}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR and SSIM on held-out people, through a neutral face."""
        assert isinstance(network, G2GANNetwork)
        device = next(network.parameters()).device

        def draw(batch: Mapping[str, Any]) -> Tensor:
            resting = network.remove(batch["reference"], batch["reference_map"])
            picture: Tensor = network(resting, batch["truth_map"])
            return picture

        return measure(draw, self._material.held_out, self.config.size_px, device)

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes them."""
        assert isinstance(network, G2GANNetwork)
        config = network.config.to_json()
        header = {"architecture": "g2gan", "config": config, "data": self._material.description}
        save_model(path, network.state_dict(), {**header, **facts})


def build_recipe(settings: Mapping[str, Any]) -> G2GANRecipe:
    """Make the recipe from the `[settings]` of a training file; see `PictureGanConfig`.

    Raises ReenactError as `build_fan2023`, and if photos are named.
    """
    config = read_config({"discriminator_rate": 2e-4, **settings})
    if config.stills:
        raise ConfigError(
            "settings.stills: g2gan cannot learn from photos, because they have no calm picture of "
            "the same person; leave it out, or add --set settings.stills=[]."
        )
    sampler = partial(NeutralPairs, changes=config.augmentation)
    return G2GANRecipe(config, load_pictures(config, sampler, fusion_network(config)))
