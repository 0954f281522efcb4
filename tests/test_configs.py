"""Every shipped settings file loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from reenact.errors import ConfigError, SourceError
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


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
def test_without_the_data_a_training_file_says_which_settings_need_folders(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = read_training_file(path, ["settings.train=no/train", "settings.fusion="])
    settings = {key: value for key, value in file.settings.items() if value != ""}
    with pytest.raises(ConfigError) as told:
        build_recipe(file.recipe, settings)
    message = str(told.value)
    assert message.startswith("There is no folder no/train; set settings.train, settings.val")
    assert "--set settings.train=clips/train" in message
    assert "docs/training.md" in message
    assert ("settings.stills" in message) == ("stills" in settings)
    section = "your own material"
    assert section in message.lower()
    assert f"## {section}" in (repository() / "docs/training.md").read_text().lower()


def test_without_its_fusion_network_a_training_file_says_how_to_get_one() -> None:
    settings = {"train": "x", "landmarks": "fused", "fusion": "none.safetensors"}
    with pytest.raises(ConfigError, match=r"fusion names none\.safetensors, which does not exist"):
        build_recipe("fan2023", settings)


def test_a_clip_without_landmarks_is_told(tmp_path: Path) -> None:
    (tmp_path / "raw.mp4").touch()
    settings = {"train": str(tmp_path), "val": str(tmp_path)}
    with pytest.raises(SourceError, match=r"no landmark file .*raw\.npz; `reenact train prepare`"):
        build_recipe("warp_unet", settings)


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
        ("warp_unet", "texture_weight", -0.5),
        ("landmark_fusion", "batch_size", 0),
        ("landmark_fusion", "scripted_share", 1.5),
        ("fan2023", "size_px", 0),
        ("fan2023", "generator_rate", -2e-4),
    ],
)
def test_a_recipe_refuses_what_lies_out_of_range(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"settings\.{key}: Input should be"):
        build_recipe(name, {"train": "nowhere", "val": "nowhere", key: value})
