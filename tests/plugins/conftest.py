"""Plugins of this repository that the tests here import: on Python's path, and registered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.plugins import PLUGINS, install

HERE = [
    PLUGINS / name for name in ("reenact_pixel_regression", "reenact_ganimation", "reenact_motion")
]

sys.path += map(str, HERE)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin in HERE:
        install(plugin, tmp_path / "site", monkeypatch)
