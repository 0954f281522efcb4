"""The HTTP sink with real viewers: OBS's media source and Chromium."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from reenact.sinks.http_address import HttpAddress
from reenact.sinks.mjpeg_server import HttpSink
from reenact.types import Image
from support.clips import corners, four_colours, number_of, numbered_picture
from support.fakes import until
from support.obs import browser, studio
from support.obs.studio import needs_obs
from support.traffic import Traffic

SIZE = (320, 240)
START_S = 60.0

needs_browser = pytest.mark.skipif(not browser.program(), reason="not installed: chromium")


@contextmanager
def feeding() -> Iterator[tuple[HttpSink, Traffic]]:
    """Serve 25 numbered pictures a second."""
    with HttpSink() as sink:
        sink.open(SIZE, 25.0)
        with Traffic(sink, lambda number: numbered_picture(number % 4096, SIZE), 25.0) as feeder:
            yield sink, feeder


@needs_obs
@pytest.mark.obs
def test_media_source_of_obs_shows_the_stream(tmp_path: Path) -> None:
    studio.configure(tmp_path)
    with studio.start(tmp_path) as obs, feeding() as (sink, feeder):
        page = urlsplit(sink.url)
        address = HttpAddress(page.port or 0, page.query.removeprefix("token="))
        obs.add("Stream", "ffmpeg_source", studio.media_source_settings(address))

        def seen() -> Image | None:
            with contextlib.suppress(Exception):  # a source without a size has no screenshot
                return np.ascontiguousarray(obs.screenshot("Stream", SIZE)[..., :3])
            return None

        def number() -> int:
            image = seen()
            return 0 if image is None else number_of(image)

        first = until(number, START_S, "the stream is shown")
        until(lambda: first < number() <= feeder.number, what="it moves on")
        feeder.draw = lambda _: four_colours(SIZE)

        def colours() -> list[str]:
            image = seen()
            return [] if image is None else corners(image)

        until(lambda: colours() == ["red", "green", "blue", "white"], what="its colours are right")


_CANVAS_PAGE = """
<img crossorigin src=%s>
<script>
const picture = document.querySelector("img"), canvas = document.createElement("canvas");
const context = canvas.getContext("2d", {willReadFrequently: true});
picture.onerror = () => report("refused");
setInterval(() => {
  if (!picture.naturalWidth) return;
  canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
  context.drawImage(picture, 0, 0);
  try {
    const row = context.getImageData(0, canvas.height / 2, canvas.width, 1).data;
    report([canvas.width, canvas.height, Array.from(row)]);
  } catch (error) { report(error.name); }
}, 50);
</script>
"""


@needs_browser
@pytest.mark.browser
def test_page_of_this_machine_reads_the_pixels_in_chromium(tmp_path: Path) -> None:
    with feeding() as (sink, feeder):
        html = _CANVAS_PAGE % json.dumps(sink.url_of("stream.mjpg"))
        with browser.page(html, tmp_path) as reports:
            numbers: list[int] = []
            while len(set(numbers)) < 5:
                report: Any = reports.get(timeout=START_S)
                assert isinstance(report, list), report
                width, height, row = report
                assert (width, height) == SIZE
                pixels = np.array(row, np.uint8).reshape(1, -1, 4)
                numbers.append(number_of(np.ascontiguousarray(pixels[..., :3])))
            assert numbers == sorted(numbers)
            assert numbers[-1] <= feeder.number


@needs_browser
@pytest.mark.browser
@pytest.mark.parametrize("name", ["127.0.0.1", "elsewhere.example"])
def test_page_of_another_site_sees_nothing_in_chromium(tmp_path: Path, name: str) -> None:
    """Neither by this machine's name nor, after DNS rebinding, by the page's own."""
    with feeding() as (sink, _):
        address = sink.url_of("stream.mjpg").replace("127.0.0.1", name)
        page = _CANVAS_PAGE % json.dumps(address)
        with browser.page(page, tmp_path, host="elsewhere.example") as reports:
            assert reports.get(timeout=START_S) == "refused"
        assert sink.encoded_frames == 0


@needs_browser
@pytest.mark.browser
def test_own_page_shows_the_stream_in_chromium(tmp_path: Path) -> None:
    with feeding() as (sink, feeder):
        feeder.draw = lambda _: four_colours(SIZE)
        shot = tmp_path / "shot.png"
        picture = browser.screenshot(sink.url, shot, tmp_path / "profile")
    height, width = picture.shape[:2]
    side = min(width // 4, height // 3)
    left, top = (width - 4 * side) // 2, (height - 3 * side) // 2
    inside = picture[top : top + 3 * side, left : left + 4 * side]
    assert corners(inside) == ["red", "green", "blue", "white"]
