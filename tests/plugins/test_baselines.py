"""G2-GAN: its losses both ways, by hand. pix2pix and CGAN are `fan2023` with other settings."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from reenact_baselines.g2gan import G2GANNetwork, G2GANRecipe, build_recipe

from reenact.errors import ConfigError
from reenact.training.adversarial import read_config
from reenact.training.picture_pairs import PictureMaterial, collate
from support.portrait_pairs import ShiftedPortrait


def test_g2gan_removes_and_adds_an_expression_and_comes_back() -> None:
    """The critics see pictures with the landmark map; a cycle weighs half of a pixel."""
    torch.manual_seed(0)
    config = read_config({"train": "a", "val": "b", "size_px": 32, "width": 4, "batch_size": 2})
    recipe = G2GANRecipe(config, PictureMaterial(ShiftedPortrait(), [], "the portrait"))
    rng = np.random.default_rng(0)
    drawn = collate([ShiftedPortrait().draw(rng) for _ in range(2)], 32)
    batch = {name: torch.from_numpy(value) for name, value in drawn.items()}
    neutral, acting, landmarks = batch["reference"], batch["truth"], batch["truth_map"]
    both = cast(G2GANNetwork, recipe.networks["generators"])
    with torch.no_grad():
        shown, calmed = both(neutral, landmarks), both.remove(acting, landmarks)
        back = both.remove(shown, landmarks), both(calmed, landmarks)
        told = torch.zeros(())
        for name, real, fake in (("expression", acting, shown), ("neutral", neutral, calmed)):
            critic = recipe.networks[name]
            told = told - critic(landmarks, real).sigmoid().log().mean()
            told = told - (1 - critic(landmarks, fake).sigmoid()).log().mean()
    losses = recipe.step(batch, 0.0)
    pixels = (shown - acting).abs().mean() + (calmed - neutral).abs().mean()
    cycle = (back[0] - neutral).abs().mean() + (back[1] - acting).abs().mean()
    assert losses["pixels"] == pytest.approx(100 * float(pixels), rel=1e-4)
    assert losses["cycle"] == pytest.approx(50 * float(cycle), rel=1e-4)
    assert losses["critic"] == pytest.approx(float(told), rel=1e-3)
    assert losses["adversarial"] == pytest.approx(2 * np.log(2), rel=0.3)


def test_g2gan_refuses_photos_because_it_cannot_learn_from_them() -> None:
    with pytest.raises(ConfigError, match=r"settings\.stills: g2gan cannot learn from photos"):
        build_recipe({"train": "a", "val": "b", "stills": ["photos"]})
