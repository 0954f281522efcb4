"""The program as pip installed it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import distributions, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import reenact
from support import program
from support.program import repository

PACKAGE = Path(reenact.__file__).parent


def printed_by(code: str) -> str:
    """Return what some code prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_installed_program_is_tested() -> None:
    site = sysconfig.get_path("purelib")
    (installed,) = distributions(name="reenact", path=[site])
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        assert "CI" not in os.environ, "CI tests what a user installs"
        pytest.skip("installed by `pip install -e`: the checkout is tested; `pip install .`")
    assert Path(site, "reenact") == PACKAGE
    # As in tests that start other processes.
    assert printed_by("import reenact; print(reenact.__file__)") == reenact.__file__
    done = subprocess.run(program.reenact("--version"), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["reenact", installed.version]


def test_all_of_the_package_is_installed_and_nothing_else() -> None:
    """A file that package data forgets is missed here, and one that an old build left behind."""

    def files(folder: Path) -> dict[Path, bytes]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {p.relative_to(folder): p.read_bytes() for p in found if p.suffix != ".pyc"}

    installed, here = files(PACKAGE), files(repository() / "reenact")
    assert set(installed) == set(here)
    differing = sorted(str(path) for path in here if installed[path] != here[path])
    assert not differing, "another version is installed: `pip install '.[test]'` again"


def test_the_source_archive_holds_the_whole_repository(tmp_path: Path) -> None:
    """Its README names pages, plugins and tests, and the tests run from it."""
    listed = ["git", "-C", str(repository()), "ls-files", "-z"]
    try:
        told = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    tracked = {name for name in told.split("\0") if name and (repository() / name).is_file()}
    copy = tmp_path / "copy"
    for name in tracked:  # building leaves files beside the sources
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository() / name, copy / name)
    for left in (
        "plugins/reenact_midi/build/lib/left.py",
        "examples/tint/tint.egg-info/PKG-INFO",
        "tests/__pycache__/left.pyc",
    ):
        (copy / left).parent.mkdir(parents=True, exist_ok=True)
        (copy / left).touch()

    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    words = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(words, cwd=copy, capture_output=True, check=True)

    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {member.name.partition("/")[2] for member in opened if member.isfile()}
    made = {name for name in held if name.startswith("reenact.egg-info/")} | {
        "PKG-INFO",
        "setup.cfg",
    }
    assert held - made == tracked - {".gitignore"}


@pytest.mark.parametrize("version", [(3, 9), (3, 10), (3, 12), (3, 13)])
def test_an_unfit_python_is_told_so_before_anything_is_downloaded(
    version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip before 24.3 names some package that this Python does not have."""
    fits = f"{version[0]}.{version[1]}" in SpecifierSet(metadata("reenact")["Requires-Python"])
    ran: list[bool] = []
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    monkeypatch.setattr("setuptools.setup", lambda: ran.append(True))
    said = ""
    try:
        runpy.run_path(str(repository() / "setup.py"))
    except SystemExit as ended:
        said = str(ended)
    assert ran == [True] * fits
    needed = f"reenact needs Python 3.10, 3.11 or 3.12; this is Python {version[0]}.{version[1]}."
    assert said == ("" if fits else needed)


@pytest.mark.parametrize("name", reenact.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(reenact, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        reenact.Sesion  # noqa: B018
    assert reenact.__version__


def test_the_package_and_its_light_names_load_no_network_library() -> None:
    code = (
        "import sys, reenact; reenact.Settings; reenact.Session; reenact.SourceSpec; "
        "print(sorted({'torch', 'mediapipe', 'openvino'} & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"


def test_openvino_reports_nothing_to_its_maker() -> None:
    code = (
        "import reenact, openvino, threading\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, threading.active_count())"
    )
    assert printed_by(code) == "openvino.tools.ovc.telemetry_stub 1"
