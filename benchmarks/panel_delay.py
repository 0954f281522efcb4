"""Measures the delay between the outputs and the panel's page.

    python benchmarks/panel_delay.py --seconds 20

A session draws the demo's actor as the astronaut. Each output picture carries a number, drawn as
black and white fields. Chromium opens the page; before each repaint a script reads the number from
the page's canvas. A picture's delay (`late`) is the time from its write to the first repaint that
shows it. The lag at a repaint (`behind`) is the time since the picture after the shown one was
written, so it also counts pictures that the page skips.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from typing import Any, Final

from reenact.evaluation.glass_to_glass import draw_number
from reenact.panel.preview import NewestPicture
from reenact.panel.server import Address, PanelServer
from reenact.panel.studio import Studio
from reenact.storage import DEMO_ACTOR
from reenact.types import Image

# Reads the 18 fields of `draw_number`, whose bits are a Gray code, before each repaint.
WATCH: Final = """() => {
  const seen = (window.seen = []);
  const look = () => {
    requestAnimationFrame(look);
    const canvas = document.querySelector(".stage > canvas");
    if (!canvas || canvas.width < 64) return;
    const row = canvas.getContext("2d").getImageData(0, canvas.height >> 5, canvas.width, 1).data;
    const field = (n) => row[4 * Math.floor(((2 * n + 1) * canvas.width) / 36)] > 128;
    if (!field(0) || field(1)) return;
    let number = 0;
    for (let bit = 15; bit >= 0; bit--) number = (number << 1) | (field(bit + 2) ^ (number & 1));
    seen.push([number, performance.timeOrigin + performance.now()]);
  };
  look();
}"""


class NumberedPicture(NewestPicture):
    """Draws a number into each picture, and records the time.

    Attributes:
        times_s: wall-clock time by number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times_s: dict[int, float] = {}

    def put(self, image: Image | None) -> None:
        """Make this the newest picture."""
        if image is not None:
            image, number = image.copy(), len(self.times_s)
            draw_number(image, number)
            self.times_s[number] = time.time()
        super().put(image)


def watch(page: Any, url: str, seconds: float) -> list[tuple[int, float]]:
    """Return the number that the page shows at each repaint, and the wall-clock time."""
    page.goto(url)
    page.locator(".waiting").wait_for(state="hidden")
    page.evaluate(WATCH)
    page.wait_for_timeout(1000 * seconds)
    return [(number, ms / 1e3) for number, ms in page.evaluate("window.seen")]


def delays_ms(
    seen: list[tuple[int, float]], times_s: dict[int, float]
) -> tuple[list[float], list[float]]:
    """Return each picture's delay and the lag at each repaint, ms."""
    first: dict[int, float] = {}
    for number, at_s in seen:
        first.setdefault(number, at_s)
    late = [1e3 * (at_s - times_s[number]) for number, at_s in first.items()]
    behind = [1e3 * max(at_s - times_s.get(number + 1, at_s), 0.0) for number, at_s in seen]
    return late[1:], behind


def run(browser: Any, seconds: float, assignments: list[str], source: str, target: str) -> Any:
    """Run a session with a page; return the result of `watch` and the pictures' times."""
    studio = Studio(assignments=["source.video.loop=true", *assignments])
    studio.picture = picture = NumberedPicture()
    studio.offer(source, target)
    with studio, PanelServer(studio, Address(port=0)) as server:
        studio.start(source, target, [])
        choice = studio.next_start(1.0)
        controls = studio.open(choice) if choice else None
        assert controls is not None, studio.state()["error"]
        with controls.session as session:
            session.start()
            page = browser.new_page()
            seen = watch(page, server.url, seconds)
            page.close()
    return seen, picture.times_s


def main(seconds: float) -> None:
    """Measure and print the delays."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        seen, times_s = run(browser, seconds, [], f"video:{DEMO_ACTOR}", "astronaut")
        browser.close()
    for name, ms in zip(("late", "behind"), delays_ms(seen, times_s), strict=True):
        p95 = statistics.quantiles(ms, n=20)[-1]
        print(f"{name}: median {statistics.median(ms):.0f} ms, 95th percentile {p95:.0f} ms")
    shown = len({number for number, _ in seen})
    print(f"{shown / seconds:.1f} pictures/s shown; {len(times_s)} pictures written in total")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    main(parser.parse_args().seconds)
