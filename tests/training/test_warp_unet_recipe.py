"""The recipe of the live generator on the portrait: small, but the real data path and network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reenact.errors import ModelError
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import WarpUNetConfig
from reenact.models.weights import read_header
from reenact.training.augmentation import Pair
from reenact.training.picture_pairs import PictureMaterial
from reenact.training.warp_unet import WarpUNetRecipe, WarpUNetRecipeConfig
from support.portrait_pairs import ShiftedPortrait, tensors

SMALL = WarpUNetConfig((8, 8, 8, 8))


def portrait_pair() -> Pair:
    return ShiftedPortrait().draw(np.random.default_rng(0))


def small_recipe(
    *,
    start: str = "",
    network: WarpUNetConfig = SMALL,
) -> WarpUNetRecipe:
    torch.manual_seed(0)
    config = WarpUNetRecipeConfig(
        train="",
        start=start,
        batch_size=4,
        learning_rate=2e-3,
        network=network,
    )
    return WarpUNetRecipe(config, PictureMaterial(ShiftedPortrait(), [portrait_pair()], "portrait"))


def generator_of(recipe: WarpUNetRecipe) -> WarpUNet:
    generator = recipe.networks["generator"]
    assert isinstance(generator, WarpUNet)
    return generator


def test_it_learns_in_a_few_steps() -> None:
    recipe = small_recipe()
    batch = tensors(recipe.batches(seed=1, steps=1)[0])
    batch["truth"] = batch["truth"] * 0.5 - 0.5  # the warp alone is too bright
    losses = [recipe.step(batch, 0.2) for _ in range(25)]
    for name in ("picture", "structure"):
        assert losses[-1][name] < 0.8 * losses[0][name], name


def test_saved_weights_are_a_start(tmp_path: Path) -> None:
    first = small_recipe()
    first.step(tensors(first.batches(1, 1)[0]), 0.2)
    path = tmp_path / "first.safetensors"
    first.save(generator_of(first), path, {"steps": "1"})
    header = read_header(path)
    assert (header["architecture"], header["data"], header["steps"]) == (
        "warp_unet",
        "portrait",
        "1",
    )
    second = generator_of(small_recipe(start=str(path))).state_dict()
    for name, value in generator_of(first).state_dict().items():
        torch.testing.assert_close(second[name].float(), value.float(), atol=1e-3, rtol=1e-3)
    wider = WarpUNetConfig((16, 8, 8, 8))
    with pytest.raises(ModelError, match="does not fit"):
        small_recipe(start=str(path), network=wider)
    with pytest.raises(ModelError, match="no model file"):
        small_recipe(start=str(tmp_path / "none.safetensors"))
