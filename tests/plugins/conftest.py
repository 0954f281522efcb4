"""Plugins of this repository that the tests here import: on Python's path, and registered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.plugins import PLUGINS, install

PIXEL_REGRESSION = PLUGINS / "reenact_pixel_regression"

sys.path.append(str(PIXEL_REGRESSION))


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(PIXEL_REGRESSION, tmp_path / "site", monkeypatch)
