"""Make the pictures of the panel in the documentation, from the real page in Chromium.

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
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"

SOURCE: Final = "video:Webcam.mp4"

TABS: Final = ("Targets", "Expression", "Calibrate", "Outputs", "Presets", "Settings")
SIZES: Final = ((320, 700), (1280, 800), (1920, 1080))


@contextlib.contextmanager
def empty_place() -> Iterator[None]:
    """Work in a folder that holds the actor of the demo and nothing that the user has stored."""
    actor = files("reenact") / "assets" / "demo_actor.mp4"
    with tempfile.TemporaryDirectory() as folder, as_file(actor) as path:
        shutil.copy(path, Path(folder) / "Webcam.mp4")
        os.environ["REENACT_DATA"] = str(Path(folder) / "data")
        os.chdir(folder)
        yield
        os.chdir(FOLDER)


def shoot(page: Any, path: Path, size: tuple[int, int], scheme: str = "dark") -> None:
    """Keep what the page shows in a window of this size."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(1000)
    page.screenshot(path=path, type="jpeg", quality=88)


def shoot_all(page: Any, folder: Path) -> None:
    """Keep every tab in every size and scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        for tab in TABS:
            page.get_by_role("tab", name=tab).click()
            for scheme in ("light", "dark"):
                path = folder / f"{tab.lower()}-{width}-{scheme}.jpg"
                shoot(page, path, (width, height), scheme)


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    everything = parser.parse_args().all
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    with empty_place(), Studio(assignments=["source.video.loop=true"]) as studio:
        studio.offer(SOURCE, "")
        with PanelServer(studio, Address(port=0)) as server, sync_playwright() as started:
            browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(server.url)
            page.locator(".choice").first.click()
            page.locator('[data-name="astronaut"]').click()
            page.locator(".thumb .muted").wait_for(state="hidden")
            shoot(page, FOLDER / "panel-start.jpg", (1280, 684))
            if everything:
                for width, scheme in ((320, "light"), (1920, "light")):
                    everything.mkdir(parents=True, exist_ok=True)
                    path = everything / f"start-{width}-{scheme}.jpg"
                    shoot(page, path, (width, 900), scheme)
            page.get_by_role("button", name="Start", exact=True).click()
            choice = studio.next_start(10.0)
            controls = studio.open(choice) if choice else None
            assert controls is not None, studio.state()["error"]
            with controls.session as session:
                session.start()
                page.locator(".waiting").wait_for(state="hidden")
                page.wait_for_timeout(8000)
                page.get_by_role("tab", name="Expression").click()
                shoot(page, FOLDER / "panel-live.jpg", (1280, 800))
                shoot(page, FOLDER / "panel-dock.jpg", (320, 700))
                if everything:
                    shoot_all(page, everything)
            browser.close()


if __name__ == "__main__":
    main()
