"""The panel's page in a browser, and what a person does with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.panels import Panel


class Page:
    """A page of the panel, and what a person does with it.

    Attributes:
        tab: Playwright's page.
        strange: requests to other hosts, and errors of the scripts.
    """

    def __init__(self, browser: Any, panel: Panel, width: int = 1280, height: int = 800) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(60_000)
        self.strange: list[str] = []
        own = f"127.0.0.1:{panel.port}/"
        self.tab.on("pageerror", lambda error: self.strange.append(str(error)))
        self.tab.on(
            "request",
            lambda one: (
                None
                if own in one.url or one.url.startswith("blob:")
                else self.strange.append(one.url)
            ),
        )
        self.tab.goto(panel.server.url)

    def close(self) -> None:
        self.shoot("end")
        self.context.close()
        assert self.strange == []

    def shoot(self, moment: str) -> None:
        """Keep a picture for people to look at in the folder REENACT_SHOTS, if that is set."""
        if folder := os.environ.get("REENACT_SHOTS"):
            test = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split()[0]
            (Path(folder) / f"{test} {moment}.png").write_bytes(self.tab.screenshot())

    def button(self, name: str) -> Any:
        return self.tab.get_by_role("button", name=name, exact=True)

    def open(self, tab: str) -> None:
        """Open a tab and wait until it shows something."""
        self.tab.get_by_role("tab", name=tab).click()
        self.tab.locator(".tab h2").first.wait_for()

    def begin(self, target: str = "robin") -> None:
        """Choose camera and target and start: three clicks."""
        self.tab.locator(".choice").first.click()
        self.tab.locator(f'[data-name="{target}"]').click()
        self.button("Start").click()
        self.live()

    def live(self) -> None:
        """Wait for the first picture."""
        self.tab.locator(".stage").wait_for()
        self.tab.locator(".waiting").wait_for(state="hidden")

    def serious(self) -> list[str]:
        """Return what axe finds to be serious or critical."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(self.tab).response["violations"]
        return [
            f"{one['id']}: {one['nodes'][0]['html']}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
