"""The exported networks, run from their files by another library than the one they were made in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from reenact.cli.main import main
from reenact.errors import ModelError, SinkError
from reenact.imaging import from_unit, resized_square, to_unit
from reenact.models import export as exporting
from reenact.models.export import Format
from reenact.models.inference import FileNetwork
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_export import export_generator
from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_CHANNELS,
    NETWORK_PX,
    MapChannel,
    WarpUNetConfig,
)
from reenact.models.weights import load_model, save_model
from reenact.rendering.layers import add_residual, enlarged, lay_over, warp_person, with_cavity
from reenact.types import Array
from support.documents import documents

SIZE_PX = NETWORK_PX
SIDE = NETWORK_PX // 2
NARROW = (8, 8, 8, 8)

ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network whose every part does something."""
    torch.manual_seed(2)
    config = WarpUNetConfig(8, NARROW, NARROW)
    network = WarpUNet(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    facts = {"architecture": "warp_unet", "config": json.dumps(asdict(config))}
    save_model(path, network.state_dict(), facts)
    return path


def drawn(weights: Path, reference: Array, maps: Array) -> Array:
    """Let torch encode and draw."""
    network = WarpUNet(WarpUNetConfig(8, NARROW, NARROW)).eval()
    load_model(weights, network, "warp_unet")
    person = torch.from_numpy(reference)
    picture = person[:, :3]
    with torch.inference_mode():
        encoded = network.encode(picture, torch.ones(1, 1, SIZE_PX, SIZE_PX), -picture)
        return np.asarray(network(person, *encoded, torch.from_numpy(maps))[0].numpy())


@pytest.mark.parametrize("kind", get_args(Format))
def test_another_library_draws_the_same_picture(
    weights: Path, tmp_path: Path, kind: Format
) -> None:
    lines = list(export_generator(tmp_path / "out", kind, SIZE_PX, weights))
    assert len(lines) == 2
    rng = np.random.default_rng(5)
    reference = rng.uniform(-1, 1, (1, 4, SIZE_PX, SIZE_PX)).astype(np.float32)
    reference[:, 3] = np.abs(reference[:, 3])
    shown = reference[:, :3].copy()
    maps = rng.uniform(-0.2, 0.2, (1, MAP_CHANNELS, SIZE_PX // 2, SIZE_PX // 2)).astype(np.float32)
    person = np.ones((1, 1, SIZE_PX, SIZE_PX), np.float32)
    encoder, generator = (
        FileNetwork(tmp_path / "out" / f"{name}{ENDINGS[kind]}", inputs, exact=True)
        for name, inputs in (("encoder", 3), ("generator", 4))
    )
    background, features = encoder([shown, person, -shown])
    (picture,) = generator([reference, background, features, maps])
    np.testing.assert_allclose(picture, drawn(weights, reference, maps), atol=1e-3)
    assert np.abs(picture - shown).mean() > 0.05


@pytest.mark.parametrize("kind", get_args(Format))
def test_a_larger_size_is_drawn_by_the_networks_own_cells(
    weights: Path, tmp_path: Path, kind: Format
) -> None:
    """It is the picture that the program composes at this size, but repaired everywhere."""
    size_px = 2 * NETWORK_PX
    list(export_generator(tmp_path, kind, size_px, weights))
    encoder, generator = (
        FileNetwork(tmp_path / f"{name}{ENDINGS[kind]}", inputs, exact=True)
        for name, inputs in (("encoder", 3), ("generator", 4))
    )
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (1, 40, 40, 3), np.uint8)[0]
    reference = cv2.resize(noise, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    whole = to_unit(reference[None])
    person = np.ones((1, 1, size_px, size_px), np.float32)
    background, features = encoder([whole, person, -whole])
    flow = cv2.resize(rng.uniform(-0.1, 0.1, (6, 6, 2)).astype(np.float32), (SIDE, SIDE))
    maps = np.zeros((SIDE, SIDE, MAP_CHANNELS), np.float32)
    maps[..., FLOW] = flow
    share = cv2.GaussianBlur(rng.integers(0, 256, (size_px, size_px)).astype(np.uint8), (0, 0), 8)
    shared = np.concatenate([whole, share[None, None] / np.float32(255)], axis=1)
    seen = maps.transpose(2, 0, 1)[None].copy()
    (picture,) = generator([shared, background, features, seen])
    network = WarpUNet(WarpUNetConfig(8, NARROW, NARROW)).eval()
    load_model(weights, network, "warp_unet")
    cavity = network.cavity.detach().numpy().ravel()
    moved = warp_person(enlarged(np.dstack([reference, share])), maps[..., FLOW], size_px)
    moved = with_cavity(moved, maps[..., MapChannel.UNSEEN_MOUTH], cavity)
    expected = lay_over(moved, from_unit(background[0]))
    with torch.inference_mode():
        small = to_unit(resized_square(expected, NETWORK_PX)[None])
        inputs = [torch.from_numpy(part) for part in (small, features, seen)]
        residual = network.residual(*inputs)[0].numpy()
    add_residual(expected, residual, (0, 0))
    assert picture.shape == (1, 3, size_px, size_px)
    error = np.abs(picture[0].transpose(1, 2, 0) - expected / 127.5 + 1)[20:-20, 20:-20]
    assert np.median(error) < 0.01


def test_what_the_networks_take_and_answer_is_written_beside_them(
    weights: Path, tmp_path: Path
) -> None:
    list(export_generator(tmp_path, "onnx", SIZE_PX, weights))
    told = json.loads((tmp_path / "export.json").read_text())
    assert told["size"] == SIZE_PX
    encoder, generator = (told["networks"][f"{name}.onnx"] for name in ("encoder", "generator"))
    assert list(encoder["inputs"]) == ["reference", "person", "scene"]
    assert encoder["outputs"]["features"]["shape"] == [1, 8, SIZE_PX // 4, SIZE_PX // 4]
    assert generator["inputs"]["maps"]["shape"] == [1, MAP_CHANNELS, SIZE_PX // 2, SIZE_PX // 2]
    assert generator["outputs"]["picture"]["shape"] == [1, 3, SIZE_PX, SIZE_PX]


def test_a_file_that_answers_otherwise_is_not_called_done(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_outputs_of", lambda part: [np.full((1,), 9.0, np.float32)] * 2)
    with pytest.raises(ModelError, match="differs from the network"):
        list(export_generator(tmp_path, "openvino", SIZE_PX, weights))
    assert not (tmp_path / "export.json").exists()


def test_without_onnx_it_says_what_to_install(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"as ONNX") as told:
        list(export_generator(tmp_path, "onnx", SIZE_PX, weights))
    command = "pip install '.[export]'"
    assert command in str(told.value)
    assert any(command in path.read_text("utf-8") for path in documents())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("something")
    with pytest.raises(SinkError, match="cannot be written"):
        list(export_generator(tmp_path / "taken", "onnx", SIZE_PX, weights))
    assert (tmp_path / "taken").read_text() == "something"


def test_a_target_without_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path))
    assert main(["export", str(tmp_path / "out"), "--target", "nobody"]) == 2
    assert "There is no target 'nobody'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
