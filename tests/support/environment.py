"""A fresh environment in which the program and plugins are installed as wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel of a project, of a copy: building leaves files beside the sources."""
    copy = folder / f"source of {project.name}"
    skipped = shutil.ignore_patterns(".*", "build", "*.egg-info", "tests", "docs", "benchmarks")
    shutil.copytree(project, copy, ignore=skipped)
    out = folder / f"wheel of {project.name}"
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    _pip(sys.executable, "wheel", *options, "--wheel-dir", str(out), str(copy))
    (wheel,) = out.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment of its own, whose libraries are those of the running tests."""

    def __init__(self, folder: Path, wheels: Sequence[Path], variables: Mapping[str, str]) -> None:
        """Make it and install the wheels; nothing is downloaded."""
        venv.create(folder, with_pip=False)
        paths = {"base": str(folder), "platbase": str(folder)}
        self._scripts = Path(sysconfig.get_path("scripts", "venv", paths))
        site = Path(sysconfig.get_path("purelib", "venv", paths))
        libraries = [path for path in sys.path if Path(path).name == "site-packages"]
        (site / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
        self._variables = {**os.environ, **variables}
        self.python = str(self._scripts / Path(sys.executable).name)
        options = ["--no-deps", "--no-index", "--ignore-installed", "--quiet"]
        _pip(self.python, "install", *options, *map(str, wheels))

    def run(self, *words: str) -> str:
        """Run one of the environment's commands, in a process; return what it printed.

        Raises:
            AssertionError: it failed.
        """
        program = shutil.which(words[0], path=str(self._scripts))
        command = [program, *words[1:]] if program else [self.python, "-m", *words]
        done = subprocess.run(
            command, env=self._variables, capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _pip(python: str, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
