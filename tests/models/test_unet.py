"""The network of Fan 2023 against Table 1, its discriminator, and its recipe's losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reenact.errors import ConfigError
from reenact.models.discriminators import MarkovDiscriminator
from reenact.models.unet import UNet, UNetConfig
from reenact.rendering.image_to_image import map_planes
from reenact.training.adversarial import (
    build_fan2023,
    read_config,
    unet_config,
)
from reenact.training.picture_pairs import collate
from support.portrait_pairs import ShiftedPortrait, small_adversarial_recipe, tensors

TABLE_1 = (
    (256, 256, 4),  # 0 input
    (128, 128, 64),  # 1 to 7 down-sampling
    (64, 64, 128),
    (32, 32, 256),
    (16, 16, 512),
    (8, 8, 512),
    (4, 4, 512),
    (2, 2, 512),
    (2, 2, 512),  # 8 bottleneck
    (4, 4, 512),  # 9 to 14 up-sampling
    (8, 8, 512),
    (16, 16, 512),
    (32, 32, 256),
    (64, 64, 128),
    (128, 128, 64),
    (256, 256, 3),  # 15 output
)
"""Fan 2023, Table 1: (height, width, channels) after each layer."""


def rows_of(network: UNet, size_px: int) -> list[tuple[int, int, int]]:
    """Return the shapes after each layer, as Table 1 counts them."""
    seen: list[tuple[int, int, int]] = [(size_px, size_px, 4)]

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((output.shape[2], output.shape[3], output.shape[1]))

    layers = [*network.down, network.bottleneck, *network.up, network.output]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size_px, size_px), torch.zeros(1, 1, size_px, size_px))
    for hook in hooks:
        hook.remove()
    return seen


def test_all_sixteen_rows_of_table_1() -> None:
    assert tuple(rows_of(UNet(), 256)) == TABLE_1


def test_half_the_size_has_one_layer_less_each_way() -> None:
    rows = rows_of(UNet(UNetConfig(128)), 128)
    assert rows[0] == (128, 128, 4)
    assert rows[1:7] == [(64, 64, 64), (32, 32, 128), (16, 16, 256), *TABLE_1[5:8]]
    assert rows[7] == (2, 2, 512)
    assert rows[-1] == (128, 128, 3)


def test_kernels_are_four_by_four_and_nothing_is_pooled() -> None:
    network = UNet()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 16  # the bottleneck has two
    assert {(m.kernel_size, m.stride) for m in convolutions} == {((4, 4), (2, 2))}
    kinds = {type(module).__name__ for module in network.modules()}
    assert not {kind for kind in kinds if "Pool" in kind or "Upsample" in kind}
    assert [type(layer) for layer in network.output] == [nn.ReLU, nn.ConvTranspose2d, nn.Tanh]
    assert isinstance(network.down[0], nn.Conv2d)
    assert all(isinstance(layer[-1], nn.BatchNorm2d) for layer in [*network.down[1:], *network.up])


@pytest.mark.parametrize("wrong", [{"size_px": 100}, {"width": 0}, {"width": 900}])
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="settings"):
        unet_config(read_config({"train": "a", "val": "b", **wrong}))
    with pytest.raises(TypeError, match="depth"):
        UNetConfig.from_json('{"depth": 3}')


def test_a_residual_network_begins_with_the_picture() -> None:
    network = UNet(UNetConfig(32, 4, 16, residual=True)).eval()
    picture = 2 * torch.rand(1, 3, 32, 32) - 1
    assert torch.equal(network(picture, torch.rand(1, 1, 32, 32)), picture)


def test_the_discriminator_gives_thirty_by_thirty_logits() -> None:
    discriminator = MarkovDiscriminator()
    pictures = torch.zeros(1, 3, 256, 256)
    assert discriminator(pictures, pictures).shape == (1, 1, 30, 30)
    names = {name for name, _ in discriminator.named_buffers()}
    assert sum(name.endswith("0._u") for name in names) == 3, "three spectral normalisations"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())
    assert isinstance(discriminator.layers[1], nn.LeakyReLU)
    assert discriminator.layers[1].negative_slope == 0.2


def test_a_logit_sees_seventy_pixels() -> None:
    discriminator = MarkovDiscriminator(width=4).eval()
    picture = torch.zeros(1, 3, 256, 256, requires_grad=True)
    discriminator(torch.zeros(1, 3, 256, 256), picture + torch.rand(1, 3, 256, 256))[
        0, 0, 15, 15
    ].backward()
    assert picture.grad is not None
    rows = torch.nonzero(picture.grad.abs().sum((0, 1, 3)))
    assert int(rows.max() - rows.min()) + 1 == 70


def test_the_papers_settings_are_the_defaults() -> None:
    config = read_config({"train": "a", "val": "b"})
    assert (config.adversarial_weight, config.pixel_weight) == (1, 100)
    assert (config.generator_rate, config.discriminator_rate, config.batch_size) == (2e-4, 1e-4, 8)
    recipe = small_adversarial_recipe()
    for name, rate in (("generator", 2e-4), ("discriminator", 1e-4)):
        (group,) = recipe.optimizers[name].param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.5, 0.999))


def test_losses_are_those_of_equations_7_to_9() -> None:
    torch.manual_seed(3)
    recipe = small_adversarial_recipe()
    batch = tensors(recipe.batches(1, 5)[0])
    generator, discriminator = recipe.networks["generator"], recipe.networks["discriminator"]
    state = {name: value.clone() for name, value in discriminator.state_dict().items()}
    generator_state = {name: value.clone() for name, value in generator.state_dict().items()}
    losses = recipe.step(batch, 0.0)
    generator.load_state_dict(generator_state)
    discriminator.load_state_dict(state)
    with torch.no_grad():
        drawn = generator(batch["reference"], batch["truth_map"])
        real = torch.sigmoid(discriminator(batch["reference"], batch["truth"]))
        fake = torch.sigmoid(discriminator(batch["reference"], drawn))
    pixels = 100 * (drawn - batch["truth"]).abs().mean()
    told = -(real.log().mean() + (1 - fake).log().mean())
    assert losses["pixels"] == pytest.approx(float(pixels), rel=1e-4)
    assert losses["critic"] == pytest.approx(float(told), rel=1e-3)
    assert losses["adversarial"] == pytest.approx(math.log(2), rel=0.3)


def test_it_learns_in_a_few_steps() -> None:
    torch.manual_seed(0)
    recipe = small_adversarial_recipe(generator_rate=2e-3)
    batches = recipe.batches(1, 40)
    losses = [recipe.step(tensors(batches[n]), 0.0)["pixels"] for n in range(40)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_training_and_live_path_make_the_same_input() -> None:
    pair = ShiftedPortrait().draw(np.random.default_rng(1))
    batch = collate([pair], 64)
    np.testing.assert_array_equal(batch["truth_map"], map_planes([pair.truth_landmarks], 64))
    assert batch["truth_map"].min() == -1
    assert batch["truth_map"].max() > 0.9


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^There is no setting settings\.pixels\.$"):
        build_fan2023({"train": "a", "val": "b", "pixels": 3})
