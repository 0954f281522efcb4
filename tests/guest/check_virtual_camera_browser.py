"""A page in Chromium asks for a camera and gets the virtual one, as in a call.

Takes minutes under emulation, so it runs on demand: pytest -m guest_browser
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from obs import browser

from guest import devices
from guest.traffic import COLOURS, Traffic
from reenact.virtual_camera import CameraSink

SIZE = (320, 240)

PAGE = """<script>(async () => {
  const media = await navigator.mediaDevices.getUserMedia({video: true});
  const video = document.createElement('video');
  video.srcObject = media;
  video.muted = true;
  await video.play();
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', {willReadFrequently: true});
  setInterval(() => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    [canvas.width, canvas.height] = [width, height];
    context.drawImage(video, 0, 0);
    const at = (x, y) => [...context.getImageData(x * width, y * height, 1, 1).data].slice(0, 3);
    let number = 0;
    for (let bit = 0; bit < 12; bit++)
      number += (at((2 * bit + 1) / 24, 0.5)[1] > 128) << bit;
    report({
      label: media.getVideoTracks()[0].label, size: [width, height], number,
      colours: [at(0.25, 0.1), at(0.75, 0.1), at(0.25, 0.9), at(0.75, 0.9)],
    });
  }, 1000);
})().catch(error => report({error: String(error)}));</script>"""


def test_a_page_gets_the_virtual_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not browser.program():
        pytest.skip("Chromium is not installed")
    # Debian's start script adds these; the page's question is answered with yes.
    monkeypatch.setenv("CHROMIUM_FLAGS", "--use-fake-ui-for-media-stream")
    with devices.loopback(), CameraSink() as sink:
        sink.open(SIZE, 5.0)
        with Traffic(sink, SIZE, 5.0), browser.page(PAGE, tmp_path, "localhost") as reports:
            seen = [reports.get(timeout=600) for _ in range(4)]
    assert all("reenact" in report.get("label", str(report)) for report in seen)
    assert {tuple(report["size"]) for report in seen} == {SIZE}
    numbers = [report["number"] for report in seen]
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0] > 0
    errors = np.abs(np.array(seen[-1]["colours"]) - np.array(COLOURS))
    assert errors.max() <= 8, "a browser may convert by another standard, but not swap channels"
