"""Plugins of this repository that the tests here import: on Python's path, and registered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reenact.testing.weights import people
from reenact.training.faces.clips import FaceData
from reenact.training.faces.material import FaceMaterial, load_faces
from support.plugins import PLUGINS, install

HERE = [
    PLUGINS / f"reenact_{name}"
    for name in (
        "baselines",
        "pixel_regression",
        "ganimation",
        "lgp_gan",
        "attention_cgan",
        "expression_baselines",
        "motion",
        "midi",
    )
]

sys.path += map(str, HERE)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin in HERE:
        install(plugin, tmp_path / "site", monkeypatch)


@pytest.fixture(scope="session")
def people_faces() -> FaceMaterial:
    """The aligned faces of two generated people, 32 px."""
    data = FaceData(str(people() / "train"), str(people() / "val"), size_px=32, frames=6)
    return load_faces(data)
