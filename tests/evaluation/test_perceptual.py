"""LPIPS and FID by files of small networks, which stand in for those that the user has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from reenact.errors import ModelError
from reenact.evaluation.perceptual import InceptionStatistics, LpipsDistance, PerceptualMetrics
from reenact.types import Image


class MeanDifference(nn.Module):
    """What LPIPS would be with pixels as its features."""

    def forward(self, true: Tensor, rendered: Tensor) -> Tensor:
        return (true - rendered).abs().mean(dim=(1, 2, 3), keepdim=True)


class MeanColour(nn.Module):
    """Features: the mean colour. Logits: ten times as much."""

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        colour = picture.mean(dim=(2, 3))
        return colour, 10 * colour


def stored(module: nn.Module, path: Path, *shapes: tuple[int, ...]) -> Path:
    examples = tuple(torch.zeros(shape) for shape in shapes)
    model = openvino.convert_model(module, example_input=examples, input=[*shapes])
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def plain(level: int, size_px: int = 64) -> Image:
    return np.full((size_px, size_px, 3), level, np.uint8)


@pytest.fixture
def lpips(tmp_path: Path) -> Path:
    shape = (1, 3, 64, 64)
    return stored(MeanDifference(), tmp_path / "lpips.xml", shape, shape)


@pytest.fixture
def inception(tmp_path: Path) -> Path:
    return stored(MeanColour(), tmp_path / "inception.xml", (1, 3, 299, 299))


def test_lpips_is_what_the_network_says(lpips: Path) -> None:
    distance = LpipsDistance(lpips)
    assert distance.between(plain(90), plain(90)) == 0
    assert distance.between(plain(0), plain(255)) == pytest.approx(2, abs=0.02)


def test_an_unfit_network_is_refused(lpips: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file .*none\.onnx"):
        LpipsDistance(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ModelError, match="not a network"):
        LpipsDistance(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="does not take"):
        LpipsDistance(lpips).between(plain(1, 32), plain(1, 32))


def test_a_network_for_pairs_is_refused_for_single_pictures(lpips: Path) -> None:
    pytest.importorskip("torchmetrics")
    with pytest.raises(ModelError, match="2 inputs instead of 1"):
        PerceptualMetrics(None, lpips, ["warp"])


def test_fid_is_the_distance_of_the_means_where_all_pictures_are_alike(inception: Path) -> None:
    pytest.importorskip("torchmetrics")
    distribution = InceptionStatistics(inception)
    for _ in range(4):
        distribution.add(plain(0), plain(51))
    # Between two points in colour space: 3 * (51 / 127.5) ** 2.
    assert distribution.figures()["fid"] == pytest.approx(0.48, abs=0.02)
    assert distribution.figures()["inception_score"] == pytest.approx(1.0, abs=1e-4)


def test_the_inception_score_counts_the_kinds_of_pictures(inception: Path) -> None:
    pytest.importorskip("torchmetrics")
    kinds = InceptionStatistics(inception)
    red, blue = plain(0), plain(0)
    red[..., 0], blue[..., 2] = 255, 255
    for _ in range(3):
        kinds.add(red, red)
        kinds.add(blue, blue)
    # Two kinds, equally often, with softmax(10, -10, -10): exp(mean KL to the mean) is 2.
    assert kinds.figures()["inception_score"] == pytest.approx(2.0, abs=1e-3)


def test_the_figures_of_renderers_are_kept_apart(lpips: Path, inception: Path) -> None:
    pytest.importorskip("torchmetrics")
    taste = PerceptualMetrics(lpips, inception, ["good", "bad"])
    true = [plain(100), plain(120)]
    assert taste.compare("good", true, true) == {"lpips": 0}
    bad = taste.compare("bad", true, [plain(0), plain(20)])["lpips"]
    assert bad == pytest.approx(100 / 127.5, abs=0.02)
    near, far = taste.totals("good")["fid"], taste.totals("bad")["fid"]
    assert near is not None
    assert far is not None
    assert near < 0.01 < far


def test_without_networks_nothing_is_measured() -> None:
    taste = PerceptualMetrics(None, None, ["warp"])
    assert taste.compare("warp", [plain(1)], [plain(2)]) == {}
    assert taste.totals("warp") == {}
