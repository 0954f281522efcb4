"""The exported networks, run from their files by another library than the one they were made in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from reenact.cli.main import main
from reenact.errors import ModelError, SinkError
from reenact.models import export as exporting
from reenact.models.export import Format
from reenact.models.inference import FileNetwork
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_export import export_generator
from reenact.models.warp_unet_inputs import NETWORK_PX, WarpUNetConfig, input_shapes
from reenact.models.weights import load_model, save_model
from support.documents import documents

NARROW = (8, 8, 8, 8)

ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network whose every part does something."""
    torch.manual_seed(2)
    config = WarpUNetConfig(NARROW)
    network = WarpUNet(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    facts = {"architecture": "warp_unet", "config": json.dumps(asdict(config))}
    save_model(path, network.state_dict(), facts)
    return path


@pytest.mark.parametrize("kind", get_args(Format))
def test_another_library_repairs_alike(weights: Path, tmp_path: Path, kind: Format) -> None:
    lines = list(export_generator(tmp_path / "out", kind, NETWORK_PX, weights))
    assert len(lines) == 1
    rng = np.random.default_rng(5)
    inputs = [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in input_shapes().values()]
    generator = FileNetwork(tmp_path / "out" / f"generator{ENDINGS[kind]}", 2, exact=True)
    (residual,) = generator(inputs)
    network = WarpUNet(WarpUNetConfig(NARROW)).eval()
    load_model(weights, network, "warp_unet")
    with torch.inference_mode():
        expected = network(*map(torch.from_numpy, inputs)).numpy()
    np.testing.assert_allclose(residual, expected, atol=1e-3)
    assert np.abs(residual).mean() > 1e-3


def test_what_the_network_takes_and_answers_is_written_beside_it(
    weights: Path, tmp_path: Path
) -> None:
    list(export_generator(tmp_path, "onnx", NETWORK_PX, weights))
    told = json.loads((tmp_path / "export.json").read_text())
    assert told["size"] == NETWORK_PX
    generator = told["networks"]["generator.onnx"]
    shapes = {name: tuple(one["shape"]) for name, one in generator["inputs"].items()}
    assert shapes == input_shapes()
    assert tuple(generator["outputs"]["residual"]["shape"]) == input_shapes()["layered"]


def test_a_file_that_answers_otherwise_is_not_called_done(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_outputs_of", lambda part: [np.full((1,), 9.0, np.float32)])
    with pytest.raises(ModelError, match="from the network it was made from"):
        list(export_generator(tmp_path, "openvino", NETWORK_PX, weights))
    assert not (tmp_path / "export.json").exists()


def test_without_onnx_it_says_what_to_install(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"as ONNX") as told:
        list(export_generator(tmp_path, "onnx", NETWORK_PX, weights))
    command = "pip install '.[export]'"
    assert command in str(told.value)
    assert any(command in path.read_text("utf-8") for path in documents())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("something")
    with pytest.raises(SinkError, match="is a file; name a folder"):
        list(export_generator(tmp_path / "taken", "onnx", NETWORK_PX, weights))
    assert (tmp_path / "taken").read_text() == "something"


def test_a_target_without_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))
    assert main(["export", str(tmp_path / "out"), "--target", "nobody"]) == 2
    assert "There is no target 'nobody'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
