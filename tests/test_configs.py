"""Every shipped settings file loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from reenact.errors import ConfigError
from reenact.live.settings import load_settings
from reenact.training.recipes import build_recipe, read_training_file
from support.program import repository

CONFIGS = repository() / "configs"
LIVE = sorted((CONFIGS / "live").glob("*.toml"))
TRAIN = sorted((CONFIGS / "train").glob("*.toml"))


def test_there_are_some() -> None:
    assert len(LIVE) >= 3
    assert len(TRAIN) >= 1


@pytest.mark.parametrize("path", LIVE, ids=lambda path: path.stem)
def test_live_file_loads(path: Path) -> None:
    assert load_settings(path) != load_settings()


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
def test_training_file_loads(path: Path) -> None:
    file = read_training_file(path, ["minutes=1.5", "settings.val=elsewhere"])
    assert file.minutes == 1.5
    assert file.settings["val"] == "elsewhere"


def test_wrong_training_files_are_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("recipe = 'warp_unet'\nsteps = 0\nfolder = 'x'\n")
    with pytest.raises(ConfigError, match="steps"):
        read_training_file(wrong)
    with pytest.raises(ConfigError, match="no settings file"):
        read_training_file(tmp_path / "none.toml")
    fine = tmp_path / "fine.toml"
    fine.write_text("recipe = 'warp_unet'\nsteps = 1\nfolder = 'x'\n")
    with pytest.raises(ConfigError, match=r"folder\.x=1: folder is a value, not a section"):
        read_training_file(fine, ["folder.x=1"])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("warp_unet", "batch_size", 0),
        ("warp_unet", "learning_rate", -1),
        ("warp_unet", "still_share", 7),
        ("warp_unet", "adversarial_from", -0.5),
        ("landmark_fusion", "batch_size", 0),
        ("landmark_fusion", "scripted_share", 1.5),
        ("fan2023", "size_px", 0),
        ("fan2023", "generator_rate", -2e-4),
    ],
)
def test_a_recipe_refuses_what_lies_out_of_range(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"settings\.{key}: Input should be"):
        build_recipe(name, {"train": "nowhere", "val": "nowhere", key: value})
