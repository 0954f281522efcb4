"""Fixtures that several test files share. Media is generated, never stored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.clips import write_clip


@pytest.fixture(autouse=True)
def data_of_the_tests(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let no test write into the user's own data."""
    monkeypatch.setenv("REENACT_DATA", str(tmp_path_factory.getbasetemp() / "user-data"))


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The clips with faces: REENACT_FACES, else ../shared/faces beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "faces"
    folder = Path(os.environ.get("REENACT_FACES") or beside)
    if not folder.is_dir():
        pytest.skip(f"no clips with faces in {folder} (set REENACT_FACES)")
    return folder


@pytest.fixture
def numbered_clip(tmp_path: Path) -> Path:
    """30 numbered frames, 160 x 120 px, 30 frames/s, H.264 in MP4."""
    return write_clip(tmp_path / "numbered.mp4", frames=30)
