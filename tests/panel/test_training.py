"""A target is made from a video, trained in a process of its own, and stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fakes import until
from support.panels import Panel

pytestmark = pytest.mark.slow


def test_a_training_tells_how_it_goes_and_is_stopped(panel: Panel, clip: Path) -> None:
    upload = panel.upload(clip.read_bytes(), "video/mp4")
    panel.call("POST", "/api/targets", name="anna", uploads=[upload], consent=True)
    until(lambda: panel.studio.gallery.store.list() == ("anna",), 240.0)
    told = {one["name"]: one for one in panel.call("GET", "/api/targets")}
    assert told["anna"]["footage"]
    number = panel.call("POST", "/api/targets/anna/train", minutes=30)
    again = panel.call("POST", "/api/targets/anna/train", minutes=30)
    assert "being trained already" in again
    assert "stop that first" in panel.call("DELETE", "/api/targets/anna")
    job = panel.studio.jobs.get(number)
    assert job is not None
    until(lambda: bool(job.left_s and job.progress), 60.0)
    assert 29 * 60 < (job.left_s or 0) < 30 * 60
    assert panel.call("DELETE", f"/api/jobs/{number}") is None
    until(lambda: job.state != "running", 240.0)
    assert (job.state, "anna" in job.result) == ("done", True), job.result
