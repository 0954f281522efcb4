"""The linters run with the tests, so that one command says whether a change is fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.program import repository


@pytest.mark.slow
@pytest.mark.style
@pytest.mark.timeout(900)  # mypy on a busy machine, without its cache
@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["lint", "format", "types"],
)
def test_style(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=repository(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
