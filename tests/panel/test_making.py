"""What happens to uploads, names and requests while targets are made and trained."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from reenact.errors import TargetError
from reenact.models.inference import choose_device
from reenact.panel.gallery import _train_elsewhere
from reenact.panel.jobs import Job
from reenact.panel.studio import Studio
from reenact.panel.uploads import Uploads
from reenact.targets.store import TargetStore
from reenact.types import Target
from support.faces import portrait_target
from support.fakes import until
from support.panels import Panel
from support.portraits import box_target, smooth_picture

SMALL = box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)

STEPS = {
    "create": "reenact.targets.library.create_target",
    "choose": "reenact.evaluation.renderer_selection.choose_renderer",
}


class Making:
    """Makes targets of any files; a step waits until it may go on.

    Attributes:
        begun: set once the step has begun.
        go: lets it end.
    """

    def __init__(self, patch: pytest.MonkeyPatch, step: str) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._step = step
        patch.setattr(STEPS["create"], self._create)
        patch.setattr(STEPS["choose"], self._choose)

    def _create(self, name: str, paths: Sequence[Path], *_: object, **__: object) -> Target:
        self._wait("create")
        assert all(path.is_file() for path in paths)
        return replace(SMALL, name=name)

    def _choose(self, target: Target) -> Target:
        self._wait("choose")
        return target

    def _wait(self, step: str) -> None:
        if step == self._step:
            self.begun.set()
            assert self.go.wait(60.0)


def make(panel: Panel, name: str, upload: str) -> Any:
    """Ask for a target; return the number of the job, or why it is refused."""
    return panel.call("POST", "/api/targets", name=name, uploads=[upload], consent=True)


def ended(panel: Panel, number: int) -> Job:
    job = panel.studio.jobs.get(number)
    assert job is not None
    until(lambda: job.state != "running", 60.0)
    return job


def test_a_refused_target_takes_no_file_from_another_that_is_being_made(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = Making(monkeypatch, "create")
    first, second = (panel.upload(b"photo", "image/jpeg") for _ in range(2))
    number = make(panel, "Zoë", first)
    assert making.begun.wait(60.0)
    for name in ("Zoë", "Zoe\u0308"):  # the same in another form of Unicode
        assert "is already being made" in panel.call("POST", "/api/names", name=name)
        for upload in (first, second):
            assert "is already being made" in make(panel, name, upload)
    assert "already used" in make(panel, "anna", first)
    making.go.set()
    assert ended(panel, number).result == "Zoë is ready."
    assert "already a target" in make(panel, "Zoë", second)
    assert ended(panel, make(panel, "anna", second)).result == "anna is ready."
    assert panel.studio.gallery.store.list() == ("Zoë", "anna")
    assert not list(panel.studio.uploads.folder.iterdir())


def test_uploaded_videos_are_added_to_a_target_and_forgotten(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[bytes]()

    def add(store: TargetStore, name: str, videos: Sequence[Path], _: object) -> int:
        with store.training(name):
            given.extend(video.read_bytes() for video in videos)
        logging.getLogger("reenact.targets.additions").warning("It is dark.")
        return 13

    monkeypatch.setattr("reenact.targets.additions.add_videos", add)
    panel.studio.gallery.store.create(replace(SMALL, name="anna"))
    uploads = [panel.upload(content, "video/mp4") for content in (b"first", b"second")]
    assert "no target 'ben'" in panel.call("POST", "/api/targets/ben/videos", uploads=uploads)
    before = panel.studio.gallery.changes
    number = panel.call("POST", "/api/targets/anna/videos", uploads=uploads)
    told = ended(panel, number).result
    assert told.startswith("anna has 13 new reference pictures.")
    assert told.endswith("It is dark.")
    assert given == [b"first", b"second"]
    assert panel.studio.gallery.changes > before
    assert not list(panel.studio.uploads.folder.iterdir())


def test_an_upload_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    with Uploads() as uploads:
        number = uploads.make("anna.jpg", lambda path: path.touch())
        (path,) = uploads.claim([number])
        with pytest.raises(TargetError, match="already used"):
            uploads.claim([number])
        uploads.release([number])
        assert uploads.claim([number]) == [path]


KILLED_RUN = """
import time
from pathlib import Path
from reenact.panel.uploads import Uploads

uploads = Uploads()
uploads.make("anna.jpg", Path.touch)
print(uploads.folder, flush=True)
time.sleep(60.0)
"""


def test_files_of_a_killed_program_are_deleted_by_the_next_one_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "reenact-panel-notes").mkdir()
    with (
        Uploads() as before,
        subprocess.Popen([sys.executable, "-c", KILLED_RUN], stdout=subprocess.PIPE) as process,
    ):
        before.make("ben.jpg", Path.touch)
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip())
        assert len(list(left.rglob("anna.jpg"))) == 1
        with Uploads():
            assert left.is_dir(), "it is in use"
        process.kill()
        process.wait()
        assert left.is_dir()
        with Uploads():
            assert not left.parent.exists()
            assert len(list(before.folder.rglob("ben.jpg"))) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["reenact-panel-notes"]


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_training_ends_with_a_panel_that_is_killed(
    is_alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, asked, answer = Mock(is_alive=lambda: is_alive), list[bool](), Mock()

    def train(*_: object, stop: Callable[[], bool], **__: object) -> None:
        asked.append(stop())
        raise TargetError("enough")

    monkeypatch.setattr("multiprocessing.parent_process", lambda: panel)
    monkeypatch.setattr("signal.signal", Mock())
    monkeypatch.setattr("os.nice", Mock(), raising=False)
    monkeypatch.setattr("reenact.targets.target_training.train_target", train)
    _train_elsewhere(Path(), "anna", 1.0, threading.Event(), answer, device="cpu")
    assert asked == [not is_alive]
    answer.send.assert_called_once_with((False, "enough"))


def test_what_a_panel_that_was_killed_left_a_day_ago_is_deleted() -> None:
    store = TargetStore()
    left, fresh = (store.folder / name for name in (".new-left", ".new-fresh"))
    removed = store.folder / ".removed" / "anna"
    for folder in (left, fresh, removed):
        folder.mkdir(parents=True)
    for folder in (left, removed):
        os.utime(folder, (0, 0))
    with Studio():
        assert [left.exists(), fresh.exists(), removed.exists()] == [False, True, False]


@pytest.mark.parametrize("step", STEPS)
def test_a_target_whose_making_is_stopped_is_not_stored(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    making = Making(monkeypatch, step)
    number = make(panel, "anna", panel.upload(b"photo", "image/jpeg"))
    assert making.begun.wait(60.0)
    assert panel.call("DELETE", f"/api/jobs/{number}") is None
    making.go.set()
    job = ended(panel, number)
    assert (job.state, job.result.partition(";")[0]) == (
        "failed",
        "anna was not made, because that was stopped",
    )
    assert panel.studio.gallery.store.list() == ()


def test_a_job_that_never_was_has_ended_whatever_its_number(panel: Panel) -> None:
    answers = {
        panel.send("DELETE", f"/api/jobs/{number}", b"{}", Content_Type="application/json")[::2]
        for number in ("7", "-1", "x", "9" * 5000)
    }
    assert answers == {(400, b'{"error": "That job has ended."}')}


def test_a_change_of_the_target_or_a_job_that_has_ended_cannot_be_stopped(panel: Panel) -> None:
    go = threading.Event()

    def work(job: Job) -> str:
        assert go.wait(60.0)
        return "anna is shown."

    number = panel.studio.jobs.start("switch", "anna", work).number
    assert "choose the old one again" in panel.call("DELETE", f"/api/jobs/{number}")
    job = panel.studio.jobs.get(number)
    assert job is not None
    assert not job.described()["stopping"]
    go.set()
    ended(panel, number)
    assert panel.call("DELETE", f"/api/jobs/{number}") == "That job has ended."


def test_a_training_uses_the_device_that_is_set(panel: Panel) -> None:
    if choose_device("auto") == "cuda":
        pytest.skip("needs a machine without CUDA")
    store = panel.studio.gallery.store
    store.create(replace(SMALL, name="anna"))
    (store.folder_of("anna") / "footage").mkdir()
    (store.folder_of("anna") / "footage" / "talk.mp4").touch()
    assert panel.call("PATCH", "/api/settings", values={"renderer.device": "cuda"}) == []
    number = panel.call("POST", "/api/targets/anna/train", minutes=1)
    assert "CUDA was requested" in ended(panel, number).result


def test_points_that_fit_no_picture_are_refused(panel: Panel) -> None:
    panel.studio.gallery.store.create(replace(portrait_target(), name="anna"))
    before = panel.call("GET", "/api/targets/anna/points")
    path = "/api/targets/anna/points"
    assert "There are no points" in panel.call("PUT", path, points={})
    for place in ([16, -5000], [before["side"] + 1, 9]):
        told = panel.call("PUT", path, points={"chin": place})
        assert told.startswith("The point chin lies outside the picture of anna, which has")
    assert panel.call("GET", path) == before
    assert "expressions" not in panel.studio.gallery.store.load("anna").metadata
    assert panel.call("PUT", path, points=before["points"]) is None
