"""Installs a plugin for one test: its own entry-point lines, found like any installed plugin's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.program import repository

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLUGINS = repository() / "plugins"


def install(plugin: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a plugin where Python looks for packages, as `pip install` would.

    `plugin` is the folder with its pyproject.toml and package; `site` receives the record of the
    installation.
    """
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    record = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    record.mkdir(parents=True)
    facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (record / "METADATA").write_text(facts, encoding="utf-8")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in entries.items())]
    (record / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(plugin))
