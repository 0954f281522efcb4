"""Targets that are listed, made, imported, removed and brought back through the API."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.live.presets import give_settings, own_settings
from reenact.panel import app
from reenact.panel.jobs import collected_warnings
from reenact.panel.studio import Studio
from reenact.panel.uploads import TYPES
from reenact.storage import write_png
from reenact.targets.backgrounds import backgrounds_folder
from reenact.targets.store import TargetStore
from support.fakes import until
from support.panels import Panel
from support.portraits import (
    astronaut,
    box_target,
    smooth_picture,
    with_two_pictures,
    write_jpeg,
)

SMALL = box_target(smooth_picture((48, 40)), 8, 4, 32, crop_px=32)


@pytest.fixture
def store(panel: Panel) -> TargetStore:
    """The panel's targets: only anna."""
    panel.studio.gallery.store.create(replace(SMALL, name="anna"))
    return panel.studio.gallery.store


def names(panel: Panel) -> list[str]:
    return [one["name"] for one in panel.call("GET", "/api/targets") if not one["built_in"]]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_one_odd_folder_hides_no_target_and_prevents_no_start(
    panel: Panel, store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(replace(SMALL, name="ben"))
    (store.folder_of("ben") / "footage").symlink_to("footage")  # cannot be read
    removed = (*store.list(), "cleo")  # by another process since
    monkeypatch.setattr(TargetStore, "list", lambda _: removed)
    assert names(panel) == ["anna", "ben"]
    panel.start("pattern")


def test_points_are_offered_for_targets_of_one_picture_alone(
    panel: Panel, store: TargetStore
) -> None:
    store.create(with_two_pictures(SMALL, "two"))
    told = {one["name"]: one for one in panel.call("GET", "/api/targets")}
    assert (told["anna"]["one_picture"], told["two"]["one_picture"]) == (True, False)
    assert "points" in panel.call("GET", "/api/targets/anna/points")
    assert "has 2 pictures" in panel.call("GET", "/api/targets/two/points")


def test_what_making_a_target_warns_of_is_part_of_its_result(panel: Panel, tmp_path: Path) -> None:
    scaled = np.asarray(cv2.resize(astronaut(), (200, 200)), np.uint8)
    small = write_jpeg(tmp_path / "small.jpg", scaled)
    upload = panel.upload(small.read_bytes(), "image/jpeg", "small.jpg")
    panel.call("POST", "/api/targets", name="small", uploads=[upload], consent=True)
    until(lambda: panel.studio.jobs.described()[0]["state"] != "running", 120.0)
    (job,) = panel.studio.jobs.described()
    assert job["result"].startswith("small is ready. The face in small.jpg is only about")


def test_a_face_of_a_group_is_chosen_and_the_largest_is_told(
    panel: Panel, store: TargetStore, tmp_path: Path
) -> None:
    head = astronaut()[:300, 74:374]
    both = np.full((300, 550, 3), 110, np.uint8)
    both[:240, :240] = cv2.resize(head, (240, 240))
    both[:, 250:] = head
    photo = write_jpeg(tmp_path / "two.jpg", both).read_bytes()
    told = {}
    for name, given in {"right": {}, "left": {"face": "0"}}.items():
        upload = panel.upload(photo, "image/jpeg", "two.jpg")
        body = {"name": name, "uploads": [upload], "consent": True, **given}
        panel.call("POST", "/api/targets", **body)
        until(lambda: panel.studio.jobs.described()[-1]["state"] != "running", 120.0)
        told[name] = panel.studio.jobs.described()[-1]["result"]
    assert "There are 2 faces in two.jpg; the largest is used, which is number 1" in told["right"]
    assert "faces" not in told["left"]
    lefts = [store.load(name).crop_to_plate[0, 2] for name in ("left", "right")]
    assert lefts[0] < lefts[1] - 100


def test_warnings_of_other_threads_are_not_collected() -> None:
    log = logging.getLogger("reenact.targets")
    with collected_warnings() as told:
        for _ in range(2):
            log.warning("It is %s.", "small")
        other = threading.Thread(target=log.warning, args=("It is large.",))
        other.start()
        other.join()
    log.warning("It is late.")
    assert told == ["It is small."]


def test_an_imported_target_whose_name_is_taken_is_stored_under_another(
    panel: Panel, store: TargetStore, tmp_path: Path
) -> None:
    give_settings(store, "anna", ["fusion.mouth=1.5"])
    content = store.export_file("anna", tmp_path / "anna").read_bytes()
    upload = panel.upload(content, "application/octet-stream", "anna.reenact-target")
    body = json.dumps({"upload": upload}).encode()
    status, _, answer = panel.send("POST", "/api/import", body, Content_Type="application/json")
    assert (status, b"already a target anna" in answer) == (409, True)
    assert "already a target anna" in panel.call("POST", "/api/names", name="anna")
    assert "cannot be a target's name" in panel.call("POST", "/api/names", name="_MG_1234")
    assert panel.call("POST", "/api/names", name="berta") is None
    assert panel.call("POST", "/api/import", upload=upload, name="berta") == "berta"
    assert names(panel) == ["anna", "berta"]
    assert own_settings(store, "berta") == {"fusion.mouth": 1.5}
    assert not list(panel.studio.uploads.folder.iterdir())


def test_an_uploaded_picture_is_offered_as_background(panel: Panel, tmp_path: Path) -> None:
    photo = write_jpeg(tmp_path / "photo.jpg", astronaut()).read_bytes()
    for name in ("beach", "beach 2"):
        upload = panel.upload(photo, "image/jpeg", "beach.jpg")
        assert panel.call("POST", "/api/backgrounds", name="beach", upload=upload) == name
    told = {one["name"]: one for one in panel.call("GET", "/api/settings")}["output.background"]
    assert told["kind"] == "choice"
    assert told["choices"] == ["keep", "blur", "colour", "transparent", "beach", "beach 2"]
    for name in ("../beach", "/etc/passwd", ""):
        upload = panel.upload(photo, "image/jpeg", "beach.jpg")
        refused = panel.call("POST", "/api/backgrounds", name=name, upload=upload)
        assert "cannot be a background's name" in refused
    upload = panel.upload(b"no picture", "image/png", "text.png")
    refused = panel.call("POST", "/api/backgrounds", name="text", upload=upload)
    assert "text.png is not a picture" in refused
    assert "drop them" in panel.call("POST", "/api/backgrounds", name="text", upload=upload)
    assert not list(panel.studio.uploads.folder.iterdir())


def test_a_background_that_is_gone_is_not_kept(panel: Panel) -> None:
    gone = "There is no background 'beach'"
    assert gone in panel.call("PATCH", "/api/settings", values={"output.background": "beach"})
    backgrounds_folder().mkdir(parents=True)
    write_png(backgrounds_folder() / "beach.png", astronaut())
    assert panel.call("PATCH", "/api/settings", values={"output.background": "beach"}) == []
    with Studio() as again:
        assert again.choice.settings["output.background"] == "beach"
    (backgrounds_folder() / "beach.png").unlink()
    with Studio() as again:
        assert "output.background" not in again.choice.settings


def test_a_library_that_may_not_be_changed_is_told(
    panel: Panel, store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "rename", refuse)
        assert "you may not write to" in panel.call("DELETE", "/api/targets/anna")
    assert panel.call("DELETE", "/api/targets/anna") is None
    monkeypatch.setattr(Path, "rename", refuse)
    assert "you may not write to" in panel.call("POST", "/api/targets/anna/restore")
    monkeypatch.undo()
    assert panel.call("POST", "/api/targets/anna/restore") is None
    assert names(panel) == ["anna"]


def test_a_restored_target_replaces_none_that_was_made_meanwhile(
    panel: Panel, store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.call("DELETE", "/api/targets/anna")
    store.create(replace(SMALL, name="anna"))
    monkeypatch.setattr(TargetStore, "check_free", lambda *_: None)  # it came a moment later
    assert "already a target anna" in panel.call("POST", "/api/targets/anna/restore")


def test_the_page_sends_no_type_that_is_refused() -> None:
    script = Path(app.__file__).parent / "static" / "api.js"
    sent = set(re.findall(r'"((?:image|video)/[\w.-]+)"', script.read_text("utf-8")))
    assert len(sent) > 15
    assert sent <= TYPES


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".mpg", "video/mpeg"),
        (".ts", "video/mp2t"),
        (".3gp", "video/3gpp"),
        (".wmv", "video/x-ms-wmv"),
        (".heic", "image/heic"),
    ],
)
def test_files_of_cameras_and_phones_keep_their_endings(
    panel: Panel, ending: str, kind: str
) -> None:
    panel.upload(b"content", kind, f"holiday{ending.upper()}")
    (path,) = panel.studio.uploads.folder.rglob("holiday.*")
    assert path.name == f"holiday{ending}"
