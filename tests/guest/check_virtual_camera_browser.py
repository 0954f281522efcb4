"""A page in Chromium asks for a camera and gets the virtual one, as in a call.

Takes minutes under emulation, so it runs on demand: pytest -m guest_browser
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guest import devices
from guest.traffic import COLOURS, traffic
from reenact.sinks.virtual_camera import CameraSink
from support.obs import browser

SIZE = (320, 240)

START_S = 300.0  # until the first picture; on real processors two seconds
NEXT_S = 60.0

PAGE = """<script>(async () => {
  const devices = await navigator.mediaDevices.enumerateDevices();
  progress('devices: ' + (devices.map(device => device.kind).join(', ') || 'none'));
  const media = await navigator.mediaDevices.getUserMedia({video: true});
  progress('the camera is open');
  const video = document.createElement('video');
  video.srcObject = media;
  video.muted = true;
  await video.play();
  progress('it plays');
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


def test_a_page_gets_the_virtual_camera(tmp_path: Path) -> None:
    if not browser.program():
        pytest.skip("Chromium is not installed")
    answer_yes = ("--use-fake-ui-for-media-stream",)  # to the question for the camera
    with devices.loopback(), CameraSink() as sink:
        sink.open(SIZE, 5.0)
        with (
            traffic(sink, SIZE, 5.0),
            browser.page(PAGE, tmp_path, "localhost", answer_yes) as reports,
        ):
            seen = [picture_in(reports, START_S)]
            seen += [picture_in(reports, NEXT_S) for _ in range(3)]
    assert {report["label"] for report in seen} == {"reenact"}
    assert {tuple(report["size"]) for report in seen} == {SIZE}
    numbers = [report["number"] for report in seen]
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0] > 0
    errors = np.abs(np.array(seen[-1]["colours"]) - np.array(COLOURS))
    assert errors.max() <= 8, "a browser may convert by another standard, but not swap channels"


def picture_in(reports: browser.Reports, timeout_s: float) -> dict[str, Any]:
    report = reports.get(timeout=timeout_s)
    assert "error" not in report, f"{report['error']}; steps: {'; '.join(reports.steps)}"
    assert isinstance(report, dict)
    return report
