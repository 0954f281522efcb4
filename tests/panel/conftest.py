"""A panel whose camera is the test pattern."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.panels import Panel


@pytest.fixture
def panel() -> Iterator[Panel]:
    opened = Panel()
    yield opened
    opened.close()
