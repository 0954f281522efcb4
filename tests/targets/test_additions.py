"""A video that is added to a target becomes references and footage of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.cli.main import main
from reenact.errors import TargetError
from reenact.face.geometry import estimate_pose
from reenact.targets.additions import add_videos
from reenact.targets.builder import create_target
from reenact.targets.reference_selection import MAX_REFERENCES, Look, choose_more
from reenact.targets.store import FOOTAGE, TargetStore
from reenact.types import Image, Target, Tracker
from support.clips import write_clip
from support.portraits import astronaut, smooth_picture, turned, write_jpeg
from support.targets import same_target

WALL = (640, 480)


def at_the_wall(middle: tuple[int, int], degrees: float = 0.0) -> Image:
    """Return the astronaut's head, rolled, before a wall of 640 x 480 px, its middle at (x, y)."""
    head, oval = turned(astronaut(), degrees), np.zeros(astronaut().shape[:2], np.uint8)
    cv2.ellipse(oval, (224, 105), (58, 82), 0, 0, 360, (1,), -1)
    shift = np.array([[1, 0, middle[0] - 224], [0, 1, middle[1] - 105]], np.float32)
    shown = cv2.warpAffine(oval, shift, WALL)[..., None] > 0
    return np.where(shown, cv2.warpAffine(head, shift, WALL), smooth_picture(WALL, 3))


def moving(index: int) -> Image:
    """Return a head that leans aside and moves, before a wall that stands still."""
    return at_the_wall((310 + 4 * index, 225), 7.0 * (index - 2))


@pytest.fixture
def me(store: TargetStore, tmp_path: Path, tracker: Tracker) -> Target:
    """A stored target of one photo."""
    photo = write_jpeg(tmp_path / "me.jpg", at_the_wall((310, 235)))
    store.create(create_target("me", [photo], tracker))
    return store.load("me")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "me.mp4", 5, size=WALL, picture=moving)


def footage_of(store: TargetStore) -> list[str]:
    place = store.folder_of("me") / FOOTAGE
    return sorted(file.name for file in place.iterdir()) if place.is_dir() else []


def test_its_frames_become_references_and_the_first_stays(
    store: TargetStore, me: Target, video: Path, tracker: Tracker
) -> None:
    added = add_videos(store, "me", [video], tracker)
    grown = store.load("me")
    assert added == len(grown.references) - 1 >= 2
    first = replace(grown, references=grown.references[:1], landmarks=grown.landmarks[:1])
    assert same_target(first, me)
    assert np.array_equal(grown.neutral, me.neutral)
    assert grown.metadata["from"] == "me.jpg, me.mp4"
    assert footage_of(store) == ["me.mp4", "me.npz"]
    leaning = [estimate_pose(points).rotation[1, 0] for points in grown.landmarks]
    assert min(leaning) < leaning[0] - 0.1
    assert max(leaning) > leaning[0] + 0.1


def test_the_wall_stays_where_it_is_if_the_camera_stands(
    store: TargetStore, me: Target, video: Path, tracker: Tracker
) -> None:
    add_videos(store, "me", [video], tracker)
    first, *others = store.load("me").references.astype(int)
    for other in others:
        assert np.abs(other - first)[:, :16].mean() < 4


def test_faces_of_another_camera_lie_as_in_the_first_reference(
    store: TargetStore, me: Target, tmp_path: Path, tracker: Tracker
) -> None:
    def nearer(index: int) -> Image:
        larger = cv2.resize(moving(index)[60:420, 120:600], (720, 540))
        return np.ascontiguousarray(larger)

    video = write_clip(tmp_path / "near.mp4", 5, size=(720, 540), picture=nearer)
    add_videos(store, "me", [video], tracker)
    first, *others = map(estimate_pose, store.load("me").landmarks)
    assert others
    assert np.std([pose.scale / first.scale for pose in others]) < 0.1
    assert np.median([pose.scale / first.scale for pose in others]) == pytest.approx(1, abs=0.05)


def test_a_video_that_is_added_twice_adds_nothing_the_second_time(
    store: TargetStore, me: Target, video: Path, tracker: Tracker
) -> None:
    assert add_videos(store, "me", [video], tracker)
    grown = store.load("me")
    assert add_videos(store, "me", [video], tracker) == 0
    assert same_target(store.load("me"), grown)
    assert store.load("me").metadata == grown.metadata


@pytest.mark.usefixtures("me")
@pytest.mark.parametrize("light", [0.9, 0.6])
def test_a_video_unlike_the_target_gives_no_references_and_is_told(
    light: float,
    store: TargetStore,
    tmp_path: Path,
    tracker: Tracker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another person's, or one in another light."""
    told = light < 0.7

    def dimmed(index: int) -> Image:
        return (moving(index) * light).astype(np.uint8)

    video = write_clip(tmp_path / "day2.mp4", 5, size=WALL, picture=dimmed)
    assert (add_videos(store, "me", [video], tracker) == 0) == told
    assert (len(store.load("me").references) == 1) == told
    assert ("day2.mp4 differs from the pictures of me" in caplog.text) == told
    clip = store.folder_of("me") / FOOTAGE / "day2.mp4"
    assert clip.is_file()
    assert (f"delete {clip} to take it out" in caplog.text) == told


def test_a_cut_out_gets_no_references_and_that_is_told(
    store: TargetStore,
    me: Target,
    video: Path,
    tracker: Tracker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    side = me.crop_size
    alphas = np.full((1, side, side), 255, np.uint8)
    plate_alpha = np.full(me.plate.shape[:2], 255, np.uint8)
    store.remove("me")
    store.create(replace(me, alphas=alphas, plate_alpha=plate_alpha))
    assert add_videos(store, "me", [video], tracker) == 0
    assert same_target(store.load("me"), replace(me, alphas=alphas, plate_alpha=plate_alpha))
    assert "frames of me.mp4 do not become references" in caplog.text
    assert footage_of(store) == ["me.mp4", "me.npz"]


def test_a_photo_is_refused_before_any_video_is_stored(
    store: TargetStore, me: Target, video: Path, tmp_path: Path, tracker: Tracker
) -> None:
    photo = tmp_path / "me.jpg"
    with pytest.raises(TargetError, match=r"^me\.jpg is a photo.* only a video can be added"):
        add_videos(store, "me", [video, photo], tracker)
    assert same_target(store.load("me"), me)
    assert footage_of(store) == []


def test_the_command_tells_what_is_new(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_jpeg(tmp_path / "me.jpg", at_the_wall((310, 235)))
    assert main(["target", "create", "me", "--from", str(photo), "--yes"]) == 0
    words = ["target", "add", "me", "--from", str(video)]
    capsys.readouterr()
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "new reference pictures. It can also be trained" in told
    assert "Where it is shown, choose it again." in told
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("me keeps its reference pictures")
    assert main(["target", "add", "robin", "--from", str(video)]) == 2
    assert "built in" in capsys.readouterr().err


def looks(angles: list[float], sharpness: float = 10.0) -> list[Look]:
    return [Look(np.array([angle, 0, 0, 0, 0, 0], np.float32), sharpness) for angle in angles]


@pytest.mark.parametrize(
    ("known", "given", "chosen"),
    [
        (looks([0.0]), looks([0.1, 1.0, 3.0, 2.9]), [2, 1]),
        (looks([0.0, 3.0]), looks([3.0, 1.5]), [1]),
        (looks([0.0], 20.0), looks([3.0]), []),  # blurred beside the photo
        (looks([0.0], 5.0), looks([3.0]), [0]),
    ],
)
def test_chosen_is_what_the_references_do_not_show(
    known: list[Look], given: list[Look], chosen: list[int]
) -> None:
    assert choose_more(known, given) == chosen


def test_there_are_never_more_references_than_allowed() -> None:
    many = looks([float(number) for number in range(40)])
    assert len(choose_more(many[:3], many[3:])) == MAX_REFERENCES - 3
    assert choose_more(many[:MAX_REFERENCES], many[MAX_REFERENCES:]) == []
