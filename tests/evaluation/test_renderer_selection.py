"""Whether the generator or the mesh warp draws a target, measured on the target itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from reenact.config import Settings
from reenact.evaluation.renderer_selection import MIN_GAIN_DB, choose_renderer, generator_gain_db
from reenact.live.pipeline import open_reenactor
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import shipped_weights
from reenact.models.weights import load_model, save_model
from reenact.stats import StepTimer
from support.faces import portrait_target


def test_a_person_is_drawn_by_the_generator() -> None:
    target = choose_renderer(replace(portrait_target(), renderer="warp"))
    assert target.renderer == "warp_unet"
    assert target.metadata["generator gain"].endswith("dB over the mesh warp")


def test_what_the_generator_harms_is_drawn_by_the_warp(tmp_path: Path) -> None:
    """Weights that paint noise over every face stand for a face that they do not know."""
    network = WarpUNet()
    header = load_model(shipped_weights(), network, "warp_unet")
    torch.manual_seed(0)
    torch.nn.init.normal_(network.picture_head.weight, std=0.5)
    weights = tmp_path / "harmful.safetensors"
    facts = {"architecture": "warp_unet", "config": header["config"]}
    save_model(weights, network.state_dict(), facts)
    target = replace(portrait_target(), weights=str(weights))
    assert generator_gain_db(target, "warp_unet") < MIN_GAIN_DB - 1
    assert choose_renderer(target).renderer == "warp"


def test_the_live_path_takes_the_targets_renderer_unless_told() -> None:
    target = replace(portrait_target(), renderer="copy")
    for name, expected in (("auto", "copy"), ("warp", "warp")):
        settings = Settings()
        settings.renderer.name = name
        reenactor = open_reenactor(settings, target, StepTimer())
        reenactor.close()
        assert reenactor.settings.renderer.name == expected
        assert settings.renderer.name == name, "the caller's settings were changed"
