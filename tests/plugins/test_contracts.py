"""The contract tests that the program ships, on this repository's plugins all at once.

They run in a process of their own, as a plugin's author starts them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.plugins import PLUGINS, install


@pytest.mark.slow
def test_all_plugins_pass_the_contract_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the slow ones, which train every recipe at its own size for minutes."""
    folders = sorted(one for one in PLUGINS.iterdir() if (one / "pyproject.toml").is_file())
    site = tmp_path / "all"
    for plugin in folders:
        install(plugin, site, monkeypatch)
    places = [*map(str, folders), str(site), os.environ.get("PYTHONPATH", "")]
    words = ["--pyargs", "reenact.testing", "-m", "not slow", "-q", "-rs"]
    words += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 10 * len(folders)
