from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from reenact.errors import ConfigError, ModelError
from reenact.models.export import conditional_exporter
from reenact.models.unet import build
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS, WarpUNetConfig, read_config
from reenact.models.weights import load_built, load_model, read_header, save_model
from reenact.training.people import read_settings
from reenact.training.warp_unet import WarpUNetRecipeConfig


def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    network, path = nn.Linear(4, 3), tmp_path / "model.safetensors"
    save_model(path, network.state_dict(), {"architecture": "linear", "data": "none"})
    other = nn.Linear(4, 3)
    header = load_model(path, other, "linear")
    assert header["data"] == "none"
    torch.testing.assert_close(other.weight, network.weight, atol=1e-3, rtol=1e-3)
    assert other.weight.dtype == torch.float32
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="not a model of this program"):
        read_header(path)
    path.write_text("text")
    with pytest.raises(ModelError, match="damaged"):
        read_header(path)


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        save_model(tmp_path / "none" / "model.safetensors", {"x": torch.zeros(1)}, {})


def test_the_shipped_generator_says_what_it_is() -> None:
    header = read_header(SHIPPED_WEIGHTS)
    assert header["architecture"] == "warp_unet"
    assert "no one of them in val" in header["data"]
    assert SHIPPED_WEIGHTS.stat().st_size < 8e6
    config = WarpUNetConfig.from_json(header["config"])
    load_model(SHIPPED_WEIGHTS, WarpUNet(config), "warp_unet")


@pytest.mark.parametrize(
    "channels", ["[]", '["a"]', "[-8]", "[8, 8.5]", "[100000000, 8]", "[8, 8, 8, 8, 8]"]
)
def test_impossible_widths_are_refused_before_they_take_memory(
    channels: str, tmp_path: Path
) -> None:
    path, config = tmp_path / "model.safetensors", f'{{"channels": {channels}}}'
    save_model(path, {}, {"architecture": "warp_unet", "config": config})
    with pytest.raises(ModelError, match="train it again"):
        read_config(path)
    settings = {"train": "clips", "network": json.loads(config)}
    with pytest.raises(ConfigError, match=r"^settings\.network"):
        read_settings(WarpUNetRecipeConfig, settings)


def test_a_config_of_another_version_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        WarpUNetConfig.from_json('{"unheard_of": 1}')
    path = tmp_path / "model.safetensors"
    save_model(path, {}, {"architecture": "unet", "config": '{"unheard_of": 1}'})
    with pytest.raises(ModelError, match="a config that this version does not know"):
        load_built(path, build, "unet")


def test_whose_weights_they_are_is_told_before_their_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, {}, {"architecture": "stargan", "config": '{"depth": 3}'})
    with pytest.raises(ModelError, match="holds a model of stargan, not of unet"):
        load_built(path, build, "unet")
    with pytest.raises(ModelError, match="holds a model of stargan, not of unet"):
        next(conditional_exporter("unet", build, ())(tmp_path, "openvino", 256, path))
