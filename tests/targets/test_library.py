from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.config import TrackingSettings
from reenact.errors import SourceError, TargetError
from reenact.face.geometry import transform_points
from reenact.targets.library import open_target, still_tracker
from reenact.targets.store import TargetStore
from reenact.types import Tracker
from support.portraits import astronaut, box_target, on_canvas, smooth_picture, write_jpeg


def no_tracker() -> Tracker:
    raise AssertionError("no face needs to be found")


def test_a_stored_target_opens_without_a_tracker(store: TargetStore) -> None:
    store.create(box_target(smooth_picture((320, 240)), 60, 20, 160, name="me"))
    target = open_target("me", store=store, make_tracker=no_tracker)
    assert target.name == "me"
    assert target.crop_size == 256
    assert open_target("me", 128, store=store, make_tracker=no_tracker).crop_size == 128


def test_the_built_in_target_needs_no_making(store: TargetStore) -> None:
    target = open_target("astronaut", 256, store=store)
    assert target.references.shape == (1, 256, 256, 3)
    assert target.plate.shape == (640, 640, 3)  # head and shoulders, enlarged
    shrunk = cv2.resize(target.plate, (300, 300), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shrunk - astronaut()[:300, 74:374]).mean() < 3
    assert "public domain" in target.metadata["consent"]
    assert store.list() == ()


def test_a_photo_can_be_opened_as_a_target(
    store: TargetStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_jpeg(tmp_path / "photo of me.jpg", astronaut())
    with caplog.at_level(logging.WARNING):
        target = open_target(str(path), store=store)
    assert target.name == "photo of me"
    assert target.metadata["consent"].startswith("not asked")
    assert "without asking" in caplog.text
    assert store.list() == ()


def test_the_actors_face_of_the_settings_says_nothing_of_the_targets(
    store: TargetStore, tmp_path: Path
) -> None:
    face = astronaut()[:300, 74:374]
    small = np.asarray(cv2.resize(face, (220, 220)), np.uint8)
    image = on_canvas(face, (560, 300), (0, 0))
    image[:220, 320:540] = small
    path = write_jpeg(tmp_path / "two.jpg", image)
    settings = TrackingSettings(face="1")
    target = open_target(str(path), store=store, make_tracker=lambda: still_tracker(settings))
    nose = transform_points(target.landmarks[0], target.crop_to_plate)[1, :2]
    assert nose[0] < 300  # that of the larger one


def test_an_unknown_target_names_those_that_exist(
    store: TargetStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.create(box_target(smooth_picture((320, 240)), 60, 20, 160, name="me"))
    with pytest.raises(TargetError, match=r"no target or file 'mee'.*me, astronaut"):
        open_target("mee", store=store, make_tracker=no_tracker)
    with pytest.raises(TargetError, match="no target or file ''"):
        open_target("", store=store, make_tracker=no_tracker)
    with pytest.raises(SourceError, match="folder"):
        open_target(str(tmp_path), store=store)
    assert "without asking" not in caplog.text
    exported = store.export_file("me", tmp_path / "me")
    with pytest.raises(TargetError, match=r"exported target; store it with `reenact target import"):
        open_target(str(exported), store=store, make_tracker=no_tracker)
