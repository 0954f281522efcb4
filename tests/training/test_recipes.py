"""Every recipe trains two steps, on generated clips, and what it saves is drawn with.

Nothing here names a recipe of the program: one that is registered is tested, and its `settings`
must take `train`, `val` and `batch_size`. The plugins of this repository, and one that is as small
as a plugin can be, are installed for their tests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.cli.main import main
from reenact.config import RendererSettings
from reenact.errors import NoWeightsError, PluginError
from reenact.evaluation.clips import first_frame_target, read_clip
from reenact.training.recipes import BUILT_IN, run_config
from reenact.types import Image, Renderer
from support.faces import drive
from support.moving_portrait import write_two_people
from support.plugins import PLUGINS, install
from support.program import repository

TINT = repository() / "tests" / "support" / "tint_plugin"
BASELINES = PLUGINS / "reenact_baselines"


def trainable() -> list[str]:
    """Return what `reenact train` knows; a broken plugin fails its own test."""
    names = list(BUILT_IN)
    for name in registry.available("renderers"):
        try:
            names += [name] if registry.load("renderers", name).recipe else []
        except PluginError:
            continue
    return names


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two people in `train` and of two others in `val`."""
    folder = tmp_path_factory.mktemp("people")
    for split in ("train", "val"):
        (folder / split).mkdir()
    write_two_people(folder / "train")
    for file in (folder / "train").iterdir():
        shutil.copy(file, folder / "val" / f"other_{file.name}")
    return folder


def train_two_steps(name: str, people: Path, folder: Path, settings: str = "") -> Path:
    """Train by a file as a user would; return the weights."""
    config = folder / f"{name}.toml"
    config.write_text(
        f'recipe = "{name}"\nfolder = "{(folder / "run").as_posix()}"\nsteps = 2\n'
        f'device = "cpu"\nworkers = 0\nprecision = "float32"\n[settings]\n'
        f'train = "{(people / "train").as_posix()}"\nval = "{(people / "val").as_posix()}"\n'
        f"batch_size = 2\n{settings}"
    )
    outcome = run_config(config, resume=False)
    assert (outcome.step, outcome.interrupted) == (2, False)
    rows = (folder / "run" / "history.jsonl").read_text().splitlines()
    figures = json.loads(rows[-1])
    assert np.isfinite([value for value in figures.values() if value is not None]).all()
    assert figures["step"] == 2
    return folder / "run" / "best.safetensors"


def draws(name: str, weights: str, people: Path) -> list[Image]:
    """Let the renderer draw two frames of a clip with these weights."""
    settings = RendererSettings(
        name=name, size=256, device="cpu", threads=1, engine="torch", weights=weights
    )
    renderer: Renderer = registry.load("renderers", name).make(settings)
    clip = read_clip(people / "val" / "other_portrait__01.mp4")
    renderer.prepare(first_frame_target(clip, name))
    pictures = [renderer.render(drive(clip.landmarks[frame])) for frame in (0, 8)]
    for picture in pictures:
        assert picture.shape == (256, 256, 3)
        assert picture.dtype == np.uint8
    return pictures


@pytest.mark.slow
@pytest.mark.parametrize("name", trainable())
def test_a_recipe_trains_and_its_weights_are_drawn_with(
    name: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # caches are made where one stands
    weights = train_two_steps(name, people, tmp_path)
    if name not in BUILT_IN:
        draws(name, str(weights), people)


@pytest.mark.parametrize("name", ["pix2pix", "cgan", "g2gan"])
def test_a_baseline_trains_and_draws(
    name: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(BASELINES, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert name in registry.available("renderers")
    small = "size_px = 64\nwidth = 8\nvalidation_frames = 2\n"
    weights = train_two_steps(name, people, tmp_path, small)
    before, after = draws(name, str(weights), people)
    assert np.abs(before.astype(int) - after).max() > 0, "the landmarks change nothing"
    with pytest.raises(NoWeightsError, match=rf"train plugins/reenact_baselines/{name}\.toml"):
        draws(name, "", people)


def test_a_new_generator_needs_one_folder_and_one_line(
    people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Trained, evaluated and run live by the commands that everything else is."""
    install(TINT, tmp_path / "site", monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert main(["plugins"]) == 0
    assert "tinted where the landmarks are" in capsys.readouterr().out

    weights = train_two_steps("tint", people, tmp_path)
    assert main(["train", "tint.toml", "--measure", str(weights)]) == 0
    assert "face_ssim" in capsys.readouterr().out

    words = ["evaluate", "--renderer", f"tint={weights}", "--data", str(people / "val")]
    assert main([*words, "--size", "128", "--limit", "1", "--json", "tint.json"]) == 0
    assert "| tint |" in capsys.readouterr().out
    report = json.loads(Path("tint.json").read_text())
    assert report["renderer"] == "tint"
    assert 0 < report["mean"]["psnr"] < 40

    video = str(people / "val" / "other_portrait__01.mp4")
    words = ["live", "--source", f"video:{video}", "--target", "astronaut"]
    words += ["--set", "renderer.name=tint", "--set", f"renderer.weights={weights}"]
    assert main([*words, "--sink", "file:out.mp4", "--report", "live.json"]) == 0
    report = json.loads(Path("live.json").read_text())
    assert report["renderer"] == "tint"
    assert report["frames_out"] == report["frames_in"] > 20


def test_weights_for_another_protocol_are_refused(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--renderer", "warp=x", "--data", str(people / "val"), "--json", "a.json"]
    assert main([*words, "--protocol", "cross"]) == 2
    assert "renderer.weights=PATH" in capsys.readouterr().err
