"""Whether the generator or the mesh warp draws a target, measured on the target itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reenact import registry
from reenact.config import Settings
from reenact.errors import ModelError
from reenact.evaluation import renderer_selection
from reenact.evaluation.renderer_selection import MIN_GAIN_DB, choose_renderer, generator_gain_db
from reenact.live.pipeline import open_reenactor
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS
from reenact.models.weights import load_model, save_model
from reenact.registry import RendererSpec
from reenact.stats import StepTimer
from reenact.types import Drive, Image, Target
from support.faces import portrait_target


def test_a_person_is_drawn_by_the_generator() -> None:
    target = choose_renderer(replace(portrait_target(), renderer="warp"))
    assert target.renderer == "warp_unet"
    assert target.metadata["generator gain"].endswith("dB over the mesh warp")


def test_what_the_generator_harms_is_drawn_by_the_warp(tmp_path: Path) -> None:
    """Weights that paint noise over every face stand for a face that they do not know."""
    network = WarpUNet()
    header = load_model(SHIPPED_WEIGHTS, network, "warp_unet")
    torch.manual_seed(0)
    torch.nn.init.normal_(network.picture_head.weight, std=2.0)
    weights = tmp_path / "harmful.safetensors"
    facts = {"architecture": "warp_unet", "config": header["config"]}
    save_model(weights, network.state_dict(), facts)
    target = replace(portrait_target(), weights=str(weights))
    assert generator_gain_db(target, "warp_unet") < MIN_GAIN_DB - 1
    assert choose_renderer(target).renderer == "warp"


class Knowing:
    """A generator from elsewhere that draws one picture, whatever the reference is."""

    device = "cpu"

    def __init__(self, picture: Image) -> None:
        self._picture = picture

    def prepare(self, target: Target) -> None:
        """Nothing to prepare."""

    def render(self, drive: Drive) -> Image:
        return self._picture.copy()

    def reset(self) -> None:
        """Nothing is remembered."""


def test_a_generator_from_elsewhere_is_picked_where_it_is_better(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target = portrait_target()

    def no_weights(common: object, own: object) -> Knowing:
        raise ModelError("There is no model file far.safetensors.")

    specs = {
        "knowing": RendererSpec(
            "knowing", "", lambda common, own: Knowing(target.references[0]), from_photo=True
        ),
        "trained": RendererSpec("trained", "", no_weights),
        "wanting": RendererSpec("wanting", "", no_weights, from_photo=True),
    }
    load = registry.load
    names = [*specs, "warp_unet"]
    monkeypatch.setattr(renderer_selection, "available", lambda group: names)
    monkeypatch.setattr(
        renderer_selection, "load", lambda group, name: specs.get(name) or load(group, name)
    )
    assert choose_renderer(target).renderer == "knowing"
    assert "wanting is not measured: There is no model file" in caplog.text
    assert "trained" not in caplog.text
    names[:] = ["wanting"]
    with pytest.raises(ModelError, match="far"):
        choose_renderer(target)


def test_what_lies_above_the_photo_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo that ends in the forehead: what is drawn above it is an invention."""
    target = portrait_target()
    first_row = int(target.landmarks[0, 10, 1]) + 12
    cut = target.crop_to_plate.copy()
    cut[1, 2] = -cut[0, 0] * first_row
    drawn = target.references[0].copy()
    drawn[:first_row] = 255
    load = registry.load
    spec = RendererSpec("knowing", "", lambda common, own: Knowing(drawn), from_photo=True)
    monkeypatch.setattr(
        renderer_selection,
        "load",
        lambda group, name: spec if name == "knowing" else load(group, name),
    )
    whole, cut_off = (
        generator_gain_db(replace(target, crop_to_plate=place), "knowing")
        for place in (target.crop_to_plate, cut)
    )
    assert cut_off > whole + 10


def test_the_live_path_takes_the_targets_renderer_unless_told() -> None:
    target = replace(portrait_target(), renderer="copy")
    for name, expected in (("auto", "copy"), ("warp", "warp")):
        settings = Settings()
        settings.renderer.name = name
        reenactor = open_reenactor(settings, target, StepTimer())
        reenactor.close()
        assert reenactor.settings.renderer.name == expected
        assert settings.renderer.name == name, "the caller's settings were changed"
