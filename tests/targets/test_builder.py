from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.errors import SourceError, TargetError
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    face_box,
    rotation_matrix,
    rotation_vector,
    to_image,
    transform_points,
)
from reenact.face.topology import CHIN, LIPS_INNER, OUTER_EYE_CORNERS
from reenact.rendering.compositing import Paster
from reenact.targets import video_scan as video_faces
from reenact.targets.builder import create_target, resize_target, target_from_image
from reenact.targets.footage import read_footage
from reenact.targets.library import open_target
from reenact.targets.reference_selection import MAX_REFERENCES
from reenact.types import Array, Frame, Image, Target, Tracker
from support.clips import write_clip, write_png
from support.faces import portrait, portrait_landmarks
from support.portraits import (
    NOSE_PX,
    astronaut,
    box_target,
    nose_on_plate,
    on_canvas,
    smooth_picture,
    turned,
    write_jpeg,
)


def roll_of(points: Array) -> float:
    return float(np.degrees(rotation_vector(estimate_pose(points).rotation)[2]))


def rolls(target: Target) -> Array:
    """Return by how many degrees the head is rolled in each reference."""
    return np.array([roll_of(points) for points in target.landmarks], np.float32)


def test_one_photo_makes_a_target(tmp_path: Path, tracker: Tracker) -> None:
    path = write_jpeg(tmp_path / "portrait.jpg", astronaut())
    target = create_target("Eileen", [path], tracker, metadata={"consent": "public domain"})
    assert target.name == "Eileen"
    # The face is 100 px high: the source does not hold a crop of 512.
    assert target.references.shape == (1, 256, 256, 3)
    assert target.landmarks.shape == (1, 478, 3)
    assert np.array_equal(target.neutral, target.landmarks[0])
    assert target.plate.shape == (512, 512, 3)
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2
    assert target.metadata["from"] == "portrait.jpg"
    assert target.metadata["consent"] == "public domain"
    left, top, right, bottom = face_box(target.neutral)
    assert max(right - left, bottom - top) == pytest.approx(0.6 * 256, abs=4)
    assert (top + bottom) / 2 == pytest.approx(0.53 * 256, abs=4)


def test_the_reference_is_what_the_plate_shows(tracker: Tracker) -> None:
    target = target_from_image("x", astronaut(), tracker)
    paster = Paster(target)
    error = np.abs(paster.paste(target.references[0]).astype(int) - paster.plate)
    assert np.array_equal(paster.plate, astronaut())
    assert error[paster.box].mean() < 2.0


def scaled(side_px: int) -> Image:
    return np.asarray(cv2.resize(astronaut(), (side_px, side_px)), dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "scale", "corner", "crop_px"),
    [
        (lambda: scaled(120), 120 / 512, (0, 0), 256),
        (lambda: on_canvas(scaled(120), (160, 120), (40, 0)), 120 / 512, (40, 0), 256),
        (lambda: on_canvas(astronaut(), (3840, 2160), (2900, 900)), 1.0, (2900, 900), 256),
        (lambda: scaled(2000), 2000 / 512, (0, 0), 512),
        (lambda: scaled(8000), 4096 / 512, (0, 0), 1024),
        (lambda: np.ascontiguousarray(astronaut()[40:190, 150:300]), 1.0, (-150, -40), 256),
    ],
    ids=["120 px", "160x120", "small face in 4K", "2000 px", "8000 px", "nothing but face"],
)
def test_pictures_and_faces_of_any_size_make_a_target(
    tracker: Tracker,
    picture: Callable[[], Image],
    scale: float,
    corner: tuple[int, int],
    crop_px: int,
) -> None:
    target = target_from_image("x", picture(), tracker)
    assert target.crop_size == crop_px
    assert max(target.plate.shape) <= 4096
    face_px = 100 * scale
    error = np.abs(nose_on_plate(target) - (NOSE_PX * scale + corner)).max()
    assert error < max(0.04 * face_px, 1.5)


@pytest.mark.parametrize(("side_px", "heights_px"), [(250, [52]), (400, [])])
def test_a_small_face_gives_a_warning(
    side_px: int,
    heights_px: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_png(tmp_path / "small.png", scaled(side_px))
    open_target(str(path))
    told = re.findall(r"in small.png is only about (\d+) px high", caplog.text)
    assert [int(px) for px in told] == pytest.approx(heights_px, abs=4)


def test_grey_transparent_and_rotated_photos_make_the_same_target(
    tmp_path: Path, tracker: Tracker
) -> None:
    bgr = np.asarray(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR), dtype=np.uint8)
    grey = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    bgra = np.dstack([bgr, np.full((512, 512), 255, np.uint8)])
    lying = np.ascontiguousarray(np.rot90(astronaut()))
    paths = [
        write_png(tmp_path / "grey.png", grey),
        write_png(tmp_path / "rgba.png", bgra),
        write_jpeg(tmp_path / "lying.jpg", lying, exif_orientation=6),
    ]
    for path in paths:
        target = create_target("x", [path], tracker)
        assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2, path.name


def test_several_photos_begin_with_the_most_frontal(tmp_path: Path, tracker: Tracker) -> None:
    angles = [-25, 2, 18]
    paths = [write_jpeg(tmp_path / f"{angle}.jpg", turned(astronaut(), angle)) for angle in angles]
    target = create_target("x", paths, tracker)
    assert target.references.shape[0] == 3
    roll = rolls(target)
    assert abs(roll[0]) < 8
    assert sorted(np.abs(roll - roll[0])) == pytest.approx([0, 16, 27], abs=4)
    for points in target.landmarks:
        assert np.abs(points[:468, :2].mean(axis=0) - 256 * 0.5).max() < 25


@pytest.mark.parametrize(("light", "told"), [(0.9, False), (0.6, True)])
def test_photos_in_another_light_are_told(
    light: float, told: bool, tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    dimmed = (astronaut() * light).astype(np.uint8)
    paths = [
        write_jpeg(tmp_path / "one.jpg", astronaut()),
        write_jpeg(tmp_path / "two.jpg", dimmed),
    ]
    create_target("anna", paths, tracker)
    assert ("pictures of anna differ in light, hair or background" in caplog.text) == told


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_photo_on_its_side_or_upside_down_is_turned_upright(
    turns: int, tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_jpeg(tmp_path / "scan.jpg", np.ascontiguousarray(np.rot90(astronaut(), turns)))
    target = create_target("x", [path], tracker)
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2
    assert np.abs(target.plate.astype(int) - astronaut()).mean() < 4
    assert ("scan.jpg is not upright" in caplog.text) == (turns != 0)


@pytest.mark.parametrize("turns", [1, 2])
def test_a_video_on_its_side_or_upside_down_is_turned_upright(
    turns: int, tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its footage as well."""
    path = write_clip(
        tmp_path / "webcam.mp4",
        3,
        size=(512, 512),
        picture=lambda _: np.ascontiguousarray(np.rot90(astronaut(), turns)),
    )
    target = create_target("x", [path], tracker, footage=tmp_path / "footage")
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2
    assert np.abs(target.plate.astype(int) - astronaut()).mean() < 8
    assert "webcam.mp4 is not upright" in caplog.text
    (clip,) = read_footage(tmp_path / "footage", 256)
    eyes = clip.landmarks[0][list(OUTER_EYE_CORNERS), :2]
    assert abs(np.subtract(*eyes)[1]) < 20


def test_a_head_that_leans_far_is_not_turned(tmp_path: Path, tracker: Tracker) -> None:
    path = write_jpeg(tmp_path / "lean.jpg", turned(astronaut(), 40))
    assert abs(rolls(create_target("x", [path], tracker))[0]) == pytest.approx(40, abs=6)


def test_missing_empty_and_unreadable_files_are_refused(tmp_path: Path, tracker: Tracker) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture")
    film = tmp_path / "text.mp4"
    film.write_text("this is no video")
    whole = write_jpeg(tmp_path / "whole.jpg", astronaut()).read_bytes()
    half = tmp_path / "half.jpg"
    half.write_bytes(whole[: len(whole) // 2])  # a video's reader makes a frame of it
    apple = tmp_path / "apple.jpg"
    apple.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, said in (
        (tmp_path / "missing.jpg", "no file"),
        (tmp_path / "missing.mp4", "no file"),
        (text, "not a picture"),
        (film, "not a video"),
        (half, "is damaged"),
        (apple, "is a HEIC picture"),
        (empty, "empty"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            create_target("x", [path], tracker)
        assert path.name in str(caught.value)
    with pytest.raises(TargetError, match="at least one"):
        create_target("x", [], tracker)


@pytest.mark.parametrize(
    ("shift_px", "fits"), [(0, True), (-90, True), (-1000, False), (900, False)]
)
def test_landmarks_by_hand_must_lie_in_the_picture(
    shift_px: float, fits: bool, tmp_path: Path, tracker: Tracker
) -> None:
    path = write_jpeg(tmp_path / "portrait.jpg", portrait())
    placed = portrait_landmarks().points + np.array([0, shift_px, 0], np.float32)
    if fits:
        assert len(create_target("x", [path], tracker, landmarks=placed).references) == 1
        return
    with pytest.raises(TargetError, match=r"outside portrait\.jpg, which has 512 x 512 px"):
        create_target("x", [path], tracker, landmarks=placed)


@pytest.mark.parametrize(("turn_deg", "told"), [(30, False), (55, True)])
def test_a_photo_from_the_side_is_told(
    turn_deg: float, told: bool, tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_jpeg(tmp_path / "portrait.jpg", portrait())
    pose = estimate_pose(portrait_landmarks().points)
    turn = rotation_matrix(np.array([0, np.radians(turn_deg), 0], np.float32))
    points = to_image(canonical_face(), replace(pose, rotation=turn))
    create_target("anna", [path], tracker, landmarks=points)
    assert (f"of anna is turned by {turn_deg} degrees" in caplog.text) == told


def test_a_few_points_by_hand_correct_the_tracked_face(tmp_path: Path, tracker: Tracker) -> None:
    path = write_jpeg(tmp_path / "portrait.jpg", portrait())
    chin = portrait_landmarks().points[CHIN, :2] + (0, 30)
    drawn = {"chin": (float(chin[0]), float(chin[1]))}
    target = create_target("x", [path], tracker, landmarks=drawn)
    points = transform_points(target.neutral, target.crop_to_plate)
    np.testing.assert_allclose(points[CHIN, :2], chin, atol=1.5)
    assert target.metadata["expressions"] == "relative"
    eyes = list(OUTER_EYE_CORNERS)
    np.testing.assert_allclose(points[eyes], portrait_landmarks().points[eyes], atol=1.5)
    cat = write_jpeg(tmp_path / "cat.jpg", cat_picture())
    for picture, place in ((cat, drawn["chin"]), (path, (9.0, 9.0))):
        sentence = rf"No face was found near these points in {picture.name}.*left_eye_outer"
        with pytest.raises(TargetError, match=sentence):
            create_target("x", [picture], tracker, landmarks={"chin": place})


def test_unusable_points_are_told_before_a_face_is_searched(
    tmp_path: Path, tracker: Tracker
) -> None:
    path = write_jpeg(tmp_path / "portrait.jpg", portrait())
    for points, sentence in (
        ({"left_ear": (9.0, 9.0)}, "There is no point 'left_ear'"),
        ({"chin": (1e9, 9.0)}, "chin lies outside any picture"),
        ({}, "or add left_eye_outer"),
    ):
        with pytest.raises(TargetError, match=sentence):
            create_target("x", [path], tracker, landmarks=points)


def cat_picture() -> Image:
    from skimage import data

    cat: Image = data.chelsea()  # type: ignore[no-untyped-call]  # scikit-image has no types
    return cat


def test_a_picture_without_a_face_is_refused(
    tmp_path: Path, numbered_clip: Path, tracker: Tracker
) -> None:
    pictures = {"wall": smooth_picture((640, 480)), "cat": cat_picture()}
    for width, height in ((2, 6000), (6000, 2), (1, 1)):
        pictures[f"{width}x{height}"] = np.full((height, width, 3), 90, np.uint8)
    paths = [write_jpeg(tmp_path / f"{name}.jpg", image) for name, image in pictures.items()]
    for path in (*paths, numbered_clip):
        with pytest.raises(TargetError, match="No face was found in") as caught:
            create_target("x", [path], tracker)
        assert path.name in str(caught.value)


def head_rolling(index: float) -> Image:
    """Roll from -24 to 24 degrees within 25 frames."""
    return turned(astronaut(), 2.0 * (index - 12))


def test_a_video_gives_various_references_in_one_square(tmp_path: Path, tracker: Tracker) -> None:
    path = write_clip(tmp_path / "roll.mp4", 25, picture=head_rolling)
    target = create_target("x", [path], tracker)
    assert 3 <= len(target.references) <= 8
    roll = rolls(target)
    assert abs(roll[0]) < 10
    assert roll.max() > 15
    assert roll.min() < -15
    # One square: the face's middle, about which the picture turns, stays where it is.
    middles = target.landmarks[:, 168, :2]
    assert np.ptp(middles, axis=0).max() < 0.12 * target.crop_size
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 15
    assert target.plate.shape == (512, 512, 3)


@pytest.mark.parametrize("frames", [1, 12])
def test_frames_that_show_nothing_new_are_left_out(
    frames: int, tmp_path: Path, tracker: Tracker
) -> None:
    path = write_clip(tmp_path / "still.mp4", frames, picture=lambda _: astronaut())
    target = create_target("x", [path], tracker)
    assert len(target.references) == 1
    assert np.abs(nose_on_plate(target) - NOSE_PX).max() < 2


def test_only_one_shot_of_a_cut_video_is_used(tmp_path: Path, tracker: Tracker) -> None:
    def picture(index: int) -> Image:
        if index < 10:  # somebody else, in a dark place
            return (turned(astronaut(), 6.0 * (index - 5)) // 3).astype(np.uint8)
        return turned(astronaut(), 2.0 * (index - 22))

    path = write_clip(tmp_path / "cut.mp4", 34, picture=picture)
    target = create_target("x", [path], tracker)
    assert len(target.references) >= 2
    assert target.references.mean(axis=(1, 2, 3)).min() > 90


def test_blurred_frames_are_not_used_as_references(tmp_path: Path, tracker: Tracker) -> None:
    def picture(index: int) -> Image:
        image = head_rolling(index)
        if index >= 17:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 3.0), dtype=np.uint8)
        return image

    path = write_clip(tmp_path / "blur.mp4", 25, picture=picture)
    target = create_target("x", [path], tracker)
    roll = rolls(target)
    assert np.ptp(roll) > 15
    # Frames 17 to 24 turn the head by 10 to 24 degrees one way; no reference shows that.
    first_to_last = _roll_of(turned(astronaut(), 20), tracker) - _roll_of(astronaut(), tracker)
    assert (np.sign(first_to_last) * (roll - _roll_of(astronaut(), tracker))).max() < 11
    assert abs(roll[0]) < 12


def _roll_of(image: Image, tracker: Tracker) -> float:
    tracker.reset()
    found = tracker.track(Frame(image, 0.0, 0))
    assert found is not None
    return roll_of(found.points)


def test_a_crop_beyond_the_picture_mirrors_a_thin_edge() -> None:
    """The face ends 12 rows above the picture's edge, and then beyond it."""
    rows = np.repeat(np.arange(100, dtype=np.uint8), 100).reshape(100, 100)
    picture = np.stack([rows] * 3, axis=-1)
    square = video_faces.cut(picture, (0, 4, 100), 100)[:, 0, 0].astype(int)
    np.testing.assert_array_equal(square[:96], np.arange(4, 100))
    np.testing.assert_array_equal(square[96:99], [98, 97, 96])
    assert square[96:].min() >= 99 - 0.4 * 12
    tight = video_faces.cut(picture, (0, 30, 100), 100)[:, 0, 0].astype(int)
    np.testing.assert_array_equal(tight[:70], np.arange(30, 100))
    assert tight[70:].min() >= 98, "a chin is not mirrored"


def test_a_long_video_is_scanned_to_its_end(
    tmp_path: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_faces, "_MAX_SEEN", 6)
    path = write_clip(tmp_path / "long.mp4", 49, picture=lambda i: head_rolling(i / 2))
    target = create_target("x", [path], tracker)
    roll = rolls(target)
    assert np.ptp(roll) > 35


def test_damage_of_a_video_is_told_once(
    tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_clip(
        tmp_path / "whole.mp4", 60, picture=head_rolling, options={"movflags": "faststart"}
    ).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    create_target("x", [cut], tracker, footage=tmp_path / "footage")
    assert caplog.text.count("damaged or cut off") == 1


def test_resizing_keeps_everything_in_its_place() -> None:
    target = box_target(smooth_picture((640, 480)), 190, 100, 300, crop_px=512)
    small = resize_target(target, 256)
    assert small.references.shape == (1, 256, 256, 3)
    for points, others in ((small.neutral, target.neutral), (small.landmarks, target.landmarks)):
        moved = transform_points(points, small.crop_to_plate)
        assert np.allclose(moved, transform_points(others, target.crop_to_plate), atol=1e-2)
    assert Paster(small).box == Paster(target).box == (slice(100, 400), slice(190, 490))
    difference = Paster(small).paste(small.references[0]).astype(int) - target.plate
    assert np.abs(difference).mean() < 1
    back = resize_target(small, 512)
    assert np.allclose(back.crop_to_plate, target.crop_to_plate, atol=1e-4)
    assert np.allclose(back.neutral, target.neutral, atol=1e-2)
    assert resize_target(target, 512) is target


@pytest.mark.faces
@pytest.mark.parametrize("name", ["webcam_d9.mp4", "webcam_face_noface.mov", "talk_face4.mp4"])
def test_videos_of_people_make_targets(faces_dir: Path, tracker: Tracker, name: str) -> None:
    target = create_target("x", [faces_dir / "raw" / name], tracker)
    assert 8 < len(target.references) <= MAX_REFERENCES
    assert target.references.shape[1:] == (512, 512, 3)
    iod = estimate_pose(target.neutral).scale
    gaps = [float(np.linalg.norm(p[13] - p[14])) / iod for p in target.landmarks]
    assert gaps[0] < 0.08, "the mouth of the first reference is not closed"
    assert max(gaps) > 0.2, "no reference with an open mouth"
    assert np.degrees(np.linalg.norm(rotation_vector(estimate_pose(target.neutral).rotation))) < 15
    for picture, points in zip(target.references, target.landmarks, strict=True):
        tracker.reset()
        found = tracker.track(Frame(picture, 0.0, 0))
        assert found is not None
        mouth = list(LIPS_INNER)
        assert np.abs(found.points[mouth, :2] - points[mouth, :2]).mean() < 0.05 * iod
