"""Make the documentation's pictures of the panel from the real page in Chromium.

python -m tools.panel_pictures
python -m tools.panel_pictures --all /tmp/panel

`--all` also stores every tab, small and large, light and dark, for visual inspection.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.storage import DEMO_ACTOR

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"

SOURCE: Final = "video:Webcam.mp4"

TABS: Final = ("Targets", "Expression", "Calibrate", "Outputs", "Presets", "Settings")
SIZES: Final = ((320, 700), (1280, 800), (1920, 1080))


@contextlib.contextmanager
def temporary_folder() -> Iterator[None]:
    """Work in a temporary folder that has the demo's actor and an empty data folder."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(DEMO_ACTOR, Path(folder) / "Webcam.mp4")
        os.environ["REENACT_DATA"] = str(Path(folder) / "data")
        os.chdir(folder)
        yield
        os.chdir(FOLDER)


def save_screenshot(page: Any, path: Path, size: tuple[int, int], scheme: str = "dark") -> None:
    """Save a screenshot of the page in a window of this size, px."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(1000)
    page.screenshot(path=path, type="jpeg", quality=88)


def save_all_screenshots(page: Any, folder: Path) -> None:
    """Save a screenshot of every tab in every size and colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        for tab in TABS:
            page.get_by_role("tab", name=tab).click()
            for scheme in ("light", "dark"):
                path = folder / f"{tab.lower()}-{width}-{scheme}.jpg"
                save_screenshot(page, path, (width, height), scheme)


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="also save every tab there")
    folder = parser.parse_args().all
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    with temporary_folder(), Studio(assignments=["source.video.loop=true"]) as studio:
        studio.offer(SOURCE, "")
        with PanelServer(studio, Address(port=0)) as server, sync_playwright() as started:
            browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(server.url)
            page.locator(".choice").first.click()
            page.locator('[data-name="astronaut"]').click()
            page.locator(".thumb .muted").wait_for(state="hidden")
            save_screenshot(page, FOLDER / "panel-start.jpg", (1280, 684))
            if folder:
                for width, scheme in ((320, "light"), (1920, "light")):
                    folder.mkdir(parents=True, exist_ok=True)
                    path = folder / f"start-{width}-{scheme}.jpg"
                    save_screenshot(page, path, (width, 900), scheme)
            page.get_by_role("button", name="Start", exact=True).click()
            choice = studio.next_start(10.0)
            controls = studio.open(choice) if choice else None
            assert controls is not None, studio.state()["error"]
            with controls.session as session:
                session.start()
                page.locator(".waiting").wait_for(state="hidden")
                page.wait_for_timeout(8000)
                page.get_by_role("tab", name="Expression").click()
                save_screenshot(page, FOLDER / "panel-live.jpg", (1280, 800))
                save_screenshot(page, FOLDER / "panel-dock.jpg", (320, 700))
                if folder:
                    save_all_screenshots(page, folder)
            browser.close()


if __name__ == "__main__":
    main()
