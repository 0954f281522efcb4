"""Panels whose camera is the test pattern or a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reenact.testing.moving_portrait import moving_portrait, write_video
from support.panels import Panel


@pytest.fixture
def panel() -> Iterator[Panel]:
    opened = Panel()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a portrait that turns, opens its mouth and raises its brows."""
    path = tmp_path_factory.mktemp("clip") / "actor.mp4"
    write_video(path, moving_portrait()[0])
    return path


@pytest.fixture
def filmed(clip: Path) -> Iterator[Panel]:
    """A panel whose camera shows the clip again and again."""
    opened = Panel(f"video:{clip}")
    yield opened
    opened.close()
