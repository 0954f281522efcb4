"""The recipes that are no renderer's train two steps; so do the plugins of this repository.

The recipes of renderers are tested by `reenact.testing`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.cli.main import main
from reenact.config import RendererSettings
from reenact.errors import NoWeightsError, PluginError
from reenact.evaluation.clips import first_frame_target, read_clip
from reenact.testing.portrait import drive
from reenact.testing.weights import people, train_two_steps
from reenact.training.recipes import BUILT_IN, build_recipe
from reenact.types import Image
from support.plugins import PLUGINS, install

BASELINES = PLUGINS / "reenact_baselines"


def draws(name: str, weights: str) -> list[Image]:
    """Let the renderer draw two frames of a clip with these weights."""
    settings = RendererSettings(
        name=name, size=256, device="cpu", threads=1, engine="torch", weights=weights
    )
    renderer = registry.load("renderers", name).make(settings)
    clip = read_clip(people() / "val" / "other_portrait__01.mp4")
    renderer.prepare(first_frame_target(clip, name))
    return [renderer.render(drive(clip.landmarks[frame])) for frame in (0, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_recipe_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # caches are made in the working folder
    assert train_two_steps(name, tmp_path).is_file()


@pytest.mark.parametrize("name", ["pix2pix", "cgan", "g2gan"])
def test_a_baseline_trains_and_draws(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(BASELINES, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert name in registry.available("renderers")
    small = "batch_size = 2\nsize_px = 64\nwidth = 8\nvalidation_frames = 2\n"
    before, after = draws(name, str(train_two_steps(name, tmp_path, small)))
    assert np.abs(before.astype(int) - after).max() > 0, "the landmarks change nothing"
    with pytest.raises(NoWeightsError, match=rf"train plugins/reenact_baselines/{name}\.toml"):
        draws(name, "")


def test_weights_for_another_protocol_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    data = str(people() / "val")
    words = ["evaluate", "--renderer", "warp=x", "--data", data, "--json", "a.json"]
    assert main([*words, "--protocol", "cross"]) == 2
    assert "renderer.weights=PATH" in capsys.readouterr().err


def test_an_unknown_recipe_is_told_from_an_unknown_renderer() -> None:
    with pytest.raises(PluginError, match=r"no recipe called 'landmark_fusoin'; .*landmark_fusion"):
        build_recipe("landmark_fusoin", {})
