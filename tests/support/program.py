"""The program under test: its repository, and the console script that pip installed."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path


def repository() -> Path:
    """Return the folder of the checkout: README.md, configs, docs, benchmarks, tools."""
    return Path(__file__).parents[2]


def reenact(*arguments: str) -> list[str]:
    """Return a command for `subprocess` that calls the installed console script."""
    scripts = sysconfig.get_path("scripts")
    program = shutil.which("reenact", path=scripts)
    assert program is not None, f"no console script in {scripts}: `pip install '.[test]'` first"
    return [program, *arguments]
