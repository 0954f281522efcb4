"""Every shipped settings file loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from reenact.config import load_settings
from reenact.errors import ConfigError
from reenact.training.recipes import read_training_file

CONFIGS = Path(__file__).parents[1] / "configs"
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
