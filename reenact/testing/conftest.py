"""Configures `pytest --pyargs reenact.testing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that the program's own tests declare in pyproject.toml."""
    config.addinivalue_line("markers", "slow: takes more than ten seconds")
