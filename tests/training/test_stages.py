"""Two stages of the live generator's recipe, narrow and short, stopped and resumed in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reenact.errors import ConfigError, ReenactError
from reenact.testing.weights import people
from reenact.training.recipes import read_training_file, run_config

FILE = """
recipe = "warp_unet"
folder = "run"
steps = 2
device = "cpu"
precision = "float32"
validate_every = 1
workers = 0

[settings]
train = "{people}/train"
val = "{people}/val"
batch_size = 2
validation_frames = 1
adversarial_from = 1.0

[settings.network]
channels = [8, 8, 8, 8]

[[stages]]
name = "all"

[[stages]]
name = "repair"
steps = 3
[stages.settings]
learning_rate = 1e-3
"""


@pytest.fixture
def config() -> Path:
    """A training file in the test's working folder."""
    path = Path("stages.toml")
    path.write_text(FILE.format(people=people().as_posix()))
    return path


@pytest.mark.slow
def test_a_staged_training_stops_and_resumes_between_its_stages(config: Path) -> None:
    asked = iter(range(100))
    stopped = run_config(config, resume=False, stop=lambda: next(asked) >= 3)
    assert (stopped.step, stopped.stopped) == (1, True)
    assert not Path("run/best.safetensors").exists()
    first = Path("run/all/state.safetensors").read_bytes()

    resumed = run_config(config, resume=True)
    assert (resumed.step, resumed.stopped) == (3, False)
    assert Path("run/all/state.safetensors").read_bytes() == first, "a finished stage ran again"

    start, end = (load_file(f"run/{stage}/best.safetensors") for stage in ("all", "repair"))
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert changed == {"repair", "picture_head"}, "the second stage starts from the first"
    for name, value in load_file("run/best.safetensors").items():
        assert torch.equal(value, end[name])

    whole = run_config(config, False, ["folder=whole"])
    assert whole.best == pytest.approx(resumed.best, rel=1e-4)
    assert run_config(config, resume=True).best == resumed.best, "nothing is left to do"


def test_what_cannot_be_started_or_resumed_is_reported(config: Path) -> None:
    with pytest.raises(ReenactError, match="no training to resume"):
        run_config(config, resume=True)
    state = Path("run/repair/state.safetensors")
    state.parent.mkdir(parents=True)
    state.touch()
    with pytest.raises(ReenactError, match="earlier training; add --resume"):
        run_config(config, resume=False)


def test_assigned_values_beat_those_of_the_stages(config: Path) -> None:
    file = read_training_file(config, ["steps=7", "settings.learning_rate=0.5"])
    assert file.steps == 7
    assert [stage.steps for stage in file.stages] == [None, None]
    assert file.settings["learning_rate"] == 0.5
    assert file.stages[1].settings == {}
    stage = read_training_file(config).stages[1]
    assert (stage.steps, stage.settings) == (3, {"learning_rate": 1e-3})


def test_a_wrong_name_and_a_file_for_another_command_are_told(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"stages\.toml: There is no setting stps\."):
        read_training_file(config, ["stps=7"])
    config.write_text("[fusion]\npose = 0.8\n")
    with pytest.raises(ConfigError, match=r"stages\.toml: recipe is missing\.") as caught:
        read_training_file(config)
    assert "pose" not in str(caught.value)


def test_a_wrong_stage_is_refused(config: Path) -> None:
    config.write_text(config.read_text().replace('name = "all"', 'name = "../all"'))
    with pytest.raises(ConfigError, match="name"):
        read_training_file(config)
