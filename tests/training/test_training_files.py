"""Training files, by the live generator's recipe, narrow and short."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reenact.errors import ConfigError, ModelError, ReenactError
from reenact.storage import ASSETS
from reenact.testing.weights import people
from reenact.training.people import read_settings
from reenact.training.recipes import (
    load_training,
    measure_config,
    read_training_file,
    run_config,
)
from reenact.training.warp_unet import WarpUNetRecipeConfig

FILE = """
recipe = "warp_unet"
folder = "run"
steps = 3
device = "cpu"
precision = "float32"
validate_every = 1
workers = 0

[settings]
train = "{people}/train"
val = "{people}/val"
batch_size = 2
validation_frames = 1

[settings.network]
channels = [8, 8, 8, 8]
"""


@pytest.fixture
def config() -> Path:
    """A training file in the test's working folder."""
    path = Path("generator.toml")
    path.write_text(FILE.format(people=people().as_posix()))
    return path


@pytest.mark.slow
def test_a_training_that_is_stopped_and_resumed_is_the_same(config: Path) -> None:
    asked = iter(range(100))
    stopped = load_training(config, resume=False).run(stop=lambda: next(asked) >= 2)
    assert (stopped.step, stopped.stopped) == (2, True)
    resumed = run_config(config, resume=True)
    assert (resumed.step, resumed.stopped) == (3, False)
    whole = run_config(config, False, ["folder=whole"])
    assert whole.best == pytest.approx(resumed.best, rel=1e-4)
    found, wanted = (load_file(f"{folder}/best.safetensors") for folder in ("run", "whole"))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-3)


def test_weights_of_another_network_are_not_measured(config: Path) -> None:
    shipped = ASSETS / "landmark_fusion.safetensors"
    with pytest.raises(ModelError, match=r"\(of landmark_fusion\) does not fit the network of gen"):
        measure_config(config, shipped)
    with pytest.raises(ModelError, match=r"no model file none"):  # before the data is read
        measure_config(config, Path("none.safetensors"), ["settings.train=nowhere"])


def test_what_cannot_be_started_or_resumed_is_reported_before_the_data_is_read(
    config: Path,
) -> None:
    unread = ["settings.train=nowhere"]
    with pytest.raises(ReenactError, match="no training to resume"):
        load_training(config, True, unread)
    Path("run").mkdir()
    Path("run/state.safetensors").touch()
    with pytest.raises(ReenactError, match="earlier training; add --resume"):
        load_training(config, False, unread)
    Path("run/state.safetensors").rename("run/best.safetensors")
    with pytest.raises(ReenactError, match=r"best\.safetensors would be replaced; move it"):
        load_training(config, False, unread)


def test_assigned_values_beat_those_of_the_file(config: Path) -> None:
    file = read_training_file(config, ["steps=7", "settings.learning_rate=0.5"])
    assert file.steps == 7
    assert file.settings["learning_rate"] == 0.5
    assert file.settings["batch_size"] == 2


def test_a_path_may_begin_with_a_tilde(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert Path(read_training_file(config, ["folder=~/run"]).folder) == tmp_path / "run"
    paths = {"train": "~/a", "val": "~/a", "stills": ["~/a"], "cache": "~/a", "start": "~/a"}
    settings = read_settings(WarpUNetRecipeConfig, paths)
    named = {settings.train, settings.val, *settings.stills, settings.cache, settings.start}
    assert {Path(path) for path in named} == {tmp_path / "a"}


def test_a_wrong_name_and_a_file_for_another_command_are_told(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"generator\.toml: There is no setting stps\."):
        read_training_file(config, ["stps=7"])
    config.write_text("[fusion]\npose = 0.8\n")
    with pytest.raises(ConfigError, match=r"generator\.toml: recipe is missing\.") as caught:
        read_training_file(config)
    assert "pose" not in str(caught.value)
