"""A panel whose camera is the test pattern, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.obs.browser import program
from support.panel_page import Page
from support.panels import Panel


@pytest.fixture
def panel() -> Iterator[Panel]:
    opened = Panel()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: .[test]")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, panel: Panel) -> Iterator[Page]:
    opened = Page(chromium, panel)
    yield opened
    opened.close()
