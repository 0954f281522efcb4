"""Targets of pictures and videos that show several faces."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.errors import TargetError
from reenact.targets.additions import add_videos
from reenact.targets.builder import create_target
from reenact.targets.footage import read_footage
from reenact.targets.store import FOOTAGE, TargetStore
from reenact.types import Array, Image, Tracker
from support.clips import write_clip
from support.portraits import NOSE_PX, astronaut, nose_on_plate, on_canvas, write_jpeg


def group(*sides_px: int, size: tuple[int, int] = (1200, 320)) -> tuple[Image, list[Array]]:
    """Return a picture of the astronaut's head side by side in these sizes, and each one's nose."""
    picture, noses, left = on_canvas(astronaut()[:1, :1], size, (0, 0)), [], 0
    for side_px in sides_px:
        head = cv2.resize(astronaut()[:300, 70:370], (side_px, side_px))
        picture[:side_px, left : left + side_px] = head
        noses.append((NOSE_PX - [70, 0]) * (side_px / 300) + [left, 0])
        left += side_px + 5
    return picture, noses


def test_of_several_faces_the_largest_is_used_and_told(
    tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    picture, noses = group(250, 300, 200)
    path = write_jpeg(tmp_path / "three.jpg", picture)
    with caplog.at_level(logging.WARNING):
        target = create_target("x", [path], tracker)
    assert np.abs(nose_on_plate(target) - noses[1]).max() < 2
    (told,) = [text for text in caplog.messages if "faces" in text]
    assert told.startswith(
        "There are 3 faces in three.jpg; the largest is used, which is number 1 from the left"
    )


@pytest.mark.parametrize(("face", "number"), [("0", 0), ("2", 2), ("centre", 1), ("largest", 3)])
def test_another_of_several_faces_can_be_chosen(
    face: str, number: int, tmp_path: Path, tracker: Tracker
) -> None:
    """In the whole picture the tracker sees none of them: they are small."""
    picture, noses = group(200, 240, 180, 280, size=(1800, 900))
    picture = np.roll(picture, 600, axis=1)
    path = write_jpeg(tmp_path / "four.jpg", picture)
    target = create_target("x", [path], tracker, face=face)
    assert np.abs(nose_on_plate(target) - [600, 0] - noses[number]).max() < 2


def test_a_number_beyond_the_faces_of_a_photo_is_refused(tmp_path: Path, tracker: Tracker) -> None:
    path = write_jpeg(tmp_path / "two.jpg", group(250, 300)[0])
    with pytest.raises(TargetError, match=r"There are 2 faces in two\.jpg; .* 0 to 1"):
        create_target("x", [path], tracker, face="2")
    alone = write_jpeg(tmp_path / "one.jpg", astronaut())
    for paths, named in (([alone], r"one\.jpg"), ([alone, alone], r"one\.jpg and in one\.jpg")):
        with pytest.raises(TargetError, match=rf"There is only one face in {named}, .*number 0;"):
            create_target("x", paths, tracker, face="2")
    assert np.abs(nose_on_plate(create_target("x", [alone], tracker, face="0")) - NOSE_PX).max() < 2


def test_of_several_files_those_of_one_face_need_no_number(
    tmp_path: Path, tracker: Tracker
) -> None:
    picture, _ = group(250, 300, size=(560, 300))
    both = write_jpeg(tmp_path / "two.jpg", picture)
    alone = write_jpeg(tmp_path / "one.jpg", astronaut())
    assert len(create_target("x", [both, alone], tracker, face="1").references) == 2
    video = write_clip(tmp_path / "one.mp4", 3, size=(512, 512), picture=lambda _: astronaut())
    target = create_target("x", [video], tracker, face="1")
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2


@pytest.mark.parametrize(("face", "number"), [("largest", 1), ("0", 0)])
def test_a_face_of_a_video_is_chosen_in_the_same_words(
    face: str, number: int, tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    picture, noses = group(250, 300, size=(560, 300))
    path = write_clip(tmp_path / "two.mp4", 3, size=(560, 300), picture=lambda _: picture)
    target = create_target("x", [path], tracker, face=face)
    assert np.abs(nose_on_plate(target) - noses[number]).max() < 2
    assert ("There are 2 faces" in caplog.text) == (face == "largest")


def test_videos_that_are_added_show_the_face_that_was_chosen_at_first(
    tmp_path: Path, tracker: Tracker, store: TargetStore
) -> None:
    picture, _ = group(250, 300, size=(560, 300))
    picture[:, :252] //= 2
    path = write_clip(tmp_path / "two.mp4", 3, size=(560, 300), picture=lambda _: picture)
    store.create(create_target("left", [path], tracker, face="0"))
    store.create(create_target("largest", [path], tracker))
    odd = replace(store.load("left"), name="odd", metadata={"face": "the tall one"})
    store.create(odd)
    for name, face, is_left in (
        ("left", None, True),
        ("left", "largest", False),
        ("largest", None, False),
        ("largest", "0", True),
        ("odd", None, False),
    ):
        add_videos(store, name, [path], tracker, face=face)
        (clip,) = read_footage(store.folder_of(name) / FOOTAGE, 256)
        assert (clip.images[0, 64:192, 64:192].mean() < 90) == is_left


def test_points_placed_by_hand_choose_the_face_of_a_group(tmp_path: Path, tracker: Tracker) -> None:
    picture, noses = group(250, 300)
    path = write_jpeg(tmp_path / "two.jpg", picture)
    tip = float(noses[0][0]), float(noses[0][1])
    target = create_target("x", [path], tracker, landmarks={"nose_tip": tip})
    assert np.abs(nose_on_plate(target) - noses[0]).max() < 2
