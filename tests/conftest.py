"""Fixtures that several test files share. Media is generated, never stored."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # read when the libraries below are loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import platformdirs
import pytest
from hypothesis import settings

from guest.image import CACHE_VARIABLE, cache_folder
from support.clips import write_clip
from support.process_state import changes, process_state
from support.program import repository

MAX_WORKERS = 4  # each holds torch, MediaPipe and OpenVINO: about 1.5 GB

# Behind the installed package, so that `tools` is found and the checkout's `reenact` is not.
sys.path.append(str(repository()))

settings.register_profile("reenact", deadline=None, database=None, derandomize=True)
settings.load_profile("reenact")


@pytest.hookimpl(optionalhook=True)  # the guest runs without that plugin
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Share the whole suite among the cores; run a part of it in this process."""
    chosen = {Path(argument).resolve() for argument in config.args}
    return min(os.cpu_count() or 1, MAX_WORKERS) if chosen == {repository() / "tests"} else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, for their fixtures; all of the guest, and all of OBS, to one.

    The guest boots once for all its files, and OBS is shown what has one name on this machine.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if "/guest/" in file:
                return "guest"
            return "obs" if "/obs/" in file or file.endswith("test_contracts.py") else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give caches and the user's own data a folder that goes with this run; return the latter.

    platformdirs asks these variables on Linux alone.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache_folder()))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_DATA_HOME", str(home / "share"))
        yield platformdirs.user_data_path("reenact")


@pytest.fixture(autouse=True)
def process_left_as_it_was(user_data: Path) -> Iterator[None]:
    """Give each test a data folder and a working folder; fail it if it changes the process."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        here = Path(folder, "here")
        here.mkdir()
        patch.chdir(here)
        patch.setenv("REENACT_DATA", str(Path(folder, "data")))
        before = process_state(user_data)
        yield
        left = changes(before, user_data)
    if left:
        pytest.fail("the test leaves the process changed:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The clips with faces: REENACT_FACES, else ../shared/faces beside the checkout."""
    folder = Path(os.environ.get("REENACT_FACES") or repository().parent / "shared" / "faces")
    if not folder.is_dir():
        pytest.skip(f"no clips with faces in {folder} (set REENACT_FACES)")
    return folder


@pytest.fixture
def numbered_clip(tmp_path: Path) -> Path:
    """30 numbered frames, 160 x 120 px, 30 frames/s, H.264 in MP4."""
    return write_clip(tmp_path / "numbered.mp4", frames=30)
