from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from mediapipe.framework.formats import landmark_pb2
from mediapipe.python.solution_base import SolutionBase

from reenact.config import TrackingSettings
from reenact.errors import ModelError
from reenact.face.face_search import refine_face
from reenact.face.geometry import face_box
from reenact.face.mediapipe_tracker import MediaPipeTracker, _Detector, _in_px
from reenact.types import Frame, Image
from support.faces import portrait, portrait_landmarks
from support.obs.studio import display


@pytest.fixture
def still_tracker() -> Iterator[MediaPipeTracker]:
    tracker = MediaPipeTracker(TrackingSettings(), static=True)
    yield tracker
    tracker.close()


def two_faces() -> Image:
    """The portrait twice: small on the left, large on the right."""
    import cv2

    small = cv2.resize(portrait()[:256, 96:352], (300, 300), interpolation=cv2.INTER_CUBIC)
    large = cv2.resize(portrait()[:256, 96:352], (420, 420), interpolation=cv2.INTER_CUBIC)
    canvas = np.full((420, 760, 3), 127, np.uint8)
    canvas[60:360, 20:320] = small
    canvas[:, 330:750] = large
    return canvas


def test_a_mediapipe_without_models_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("mediapipe.solutions")
    with pytest.raises(ModelError, match="contains no models; run: pip install mediapipe"):
        MediaPipeTracker(TrackingSettings())


def test_portrait_has_478_landmarks_on_the_face() -> None:
    found = portrait_landmarks()
    assert found.points.shape == (478, 3)
    assert found.points.dtype == np.float32
    left, top, right, bottom = face_box(found.points)
    assert 165 < left < 195
    assert 55 < top < 85
    assert 255 < right < 285
    assert 165 < bottom < 190
    assert found.points[33, 0] < found.points[1, 0] < found.points[263, 0]


@pytest.mark.parametrize("more", [{}, {"visibility": 0.5, "presence": 1.0}])
def test_landmarks_are_read_from_the_bytes_of_a_message(more: dict[str, float]) -> None:
    shares = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    shares[7] = 0  # is written all the same
    face = landmark_pb2.NormalizedLandmarkList()
    for x, y, z in shares.tolist():
        face.landmark.add(x=x, y=y, z=z, **more)
    found = _in_px(face, np.zeros((48, 64, 3), np.uint8))
    np.testing.assert_array_equal(found, shares * np.array([64, 48, 64], np.float32))


def test_the_first_landmarks_are_those_of_a_followed_face() -> None:
    """They alternate by .2 px; those by the detected face alone are .6 px away, see `PASSES`."""
    frame = Frame(portrait(), 0.0, 0)
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [landmarks.points[:, :2] for _ in range(8) if (landmarks := tracker.track(frame))]
    with closing(MediaPipeTracker(TrackingSettings(), static=True)) as tracker:
        detected = tracker.track(frame)
        assert detected is not None
        refined = refine_face(portrait(), detected.points, tracker)
    others = (found[0], refined[:, :2], detected.points[:, :2])
    apart = [float(np.abs(one - found[-1]).mean()) for one in others]
    assert len(found) == 8
    assert max(apart[:2]) < 0.3, apart
    assert apart[2] > 0.5, apart


def test_depths_do_not_depend_on_the_shape_of_the_picture(still_tracker: MediaPipeTracker) -> None:
    depths = []
    for width in (512, 800):
        picture = np.full((512, width, 3), 90, np.uint8)
        picture[:, :512] = portrait()
        still_tracker.reset()
        found = still_tracker.track(Frame(picture, 0.0, 0))
        assert found is not None
        depths.append(np.ptp(found.points[:, 2]))
    assert depths[1] == pytest.approx(depths[0], rel=0.1)


def test_a_picture_without_a_face_gives_none(still_tracker: MediaPipeTracker) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    assert still_tracker.track(Frame(noise, 0.0, 0)) is None
    assert still_tracker.faces_seen == 0


@pytest.mark.parametrize("size", [(1, 1), (300, 1)])
def test_the_smallest_pictures_are_searched_closer_as_well(size: tuple[int, int]) -> None:
    width, height = size
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        for index in range(10):
            picture = np.zeros((height, width, 3), np.uint8)
            assert tracker.track(Frame(picture, index / 30, index)) is None


@pytest.mark.parametrize(
    ("rule", "side"), [("largest", "right"), ("0", "left"), ("1", "right"), ("9", "right")]
)
def test_the_setting_chooses_one_of_two_faces(rule: str, side: str) -> None:
    tracker = MediaPipeTracker(TrackingSettings(face=rule), static=True)
    found = tracker.track(Frame(two_faces(), 0.0, 0))
    seen = tracker.faces_seen
    tracker.close()
    assert found is not None
    assert seen == 2
    assert (found.points[:, 0].mean() < 320) == (side == "left")


def test_the_largest_face_is_followed_when_it_comes_after_two_others() -> None:
    import cv2

    face = portrait()[30:200, 140:310]
    before = np.full((740, 1300, 3), 127, np.uint8)
    before[5:365, 20:380] = before[375:735, 20:380] = cv2.resize(face, (360, 360))
    after = before.copy()
    after[20:720, 500:1200] = cv2.resize(face, (700, 700))
    with_two, with_three = (
        [Frame(picture, index / 30, index) for index in indices]
        for picture, indices in ((before, range(5)), (after, range(5, 60)))
    )
    tracker = MediaPipeTracker(TrackingSettings(face="largest"))
    found = [tracker.track(frame) for frame in with_two]
    assert tracker.faces_seen == 2
    found += [tracker.track(frame) for frame in with_three]
    tracker.close()
    first, last = found[0], found[-1]
    assert first is not None
    assert last is not None
    assert first.points[:, 0].mean() < 400 < last.points[:, 0].mean()


def test_a_covered_face_does_not_give_way_to_the_one_beside_it() -> None:
    both = two_faces()
    covered = both.copy()
    covered[:, 330:750] = 90
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:

        def sides(picture: Image, first_s: float, seconds: float) -> list[bool | None]:
            """Return where the followed face is: True to the right, None: nowhere."""
            times_s = np.arange(first_s, first_s + seconds, 1 / 30)
            found = [tracker.track(Frame(picture, time_s, 0)) for time_s in times_s]
            return [None if one is None else bool(one.points[:, 0].mean() > 325) for one in found]

        assert sides(both, 0, 1)[-1] is True
        assert set(sides(covered, 1, 0.6)) == {None}
        assert set(sides(both, 1.6, 1)) <= {None, True}
        assert sides(covered, 2.6, 4)[-1] is False  # gone for good
        tracker.reset()
        assert sides(both, 7, 1)[-1] is True
        tracker.reset()
        assert sides(covered, 8, 0.3)[-1] is False  # another picture, in which nobody is covered


def room(*faces: tuple[int, int, int]) -> Image:
    """A plain picture with the portrait's face at each (left, top), with a side, px."""
    import cv2

    canvas = np.full((480, 960, 3), 127, np.uint8)
    for left, top, side in faces:
        face = cv2.resize(portrait()[:256, 96:352], (side, side), interpolation=cv2.INTER_AREA)
        canvas[top : top + side, left : left + side] = face
    return canvas


def test_who_sat_beside_is_followed_once_much_nearer() -> None:
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [
            tracker.track(Frame(picture, (60 * turn + number) / 30, number))
            for turn, picture in enumerate(
                [room((60, 60, 340), (520, 0, 440)), room((0, 0, 440), (560, 60, 340))]
            )
            for number in range(60)
        ]
    sides = [None if one is None else bool(one.points[:, 0].mean() > 500) for one in found]
    assert set(sides[:90]) == {True}  # not at once: who only passes is not followed
    assert sides[-1] is False


def test_whoever_passes_before_the_actor_is_not_followed() -> None:
    alone = room((300, 100, 300))
    larger = room((0, 0, 460))[:460, :460]
    pictures = [alone] * 30
    for left in range(-450, 960, 15):
        picture = alone.copy()
        picture[:460, max(left, 0) : left + 460] = larger[:, max(-left, 0) : 960 - left]
        pictures.append(picture)
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [
            tracker.track(Frame(picture, number / 30, number))
            for number, picture in enumerate(pictures)
        ]
    places = [None if one is None else float(one.points[:, 0].mean()) for one in found]
    assert places[29] is not None
    apart = [abs(place - places[29]) for place in places if place is not None]
    assert max(apart) < 60, places
    assert places[-1] is not None, places


def test_a_face_that_moves_beside_a_covered_one_is_not_followed() -> None:
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        for number in range(45):
            before = tracker.track(Frame(room((240, 0, 340), (520, 0, 440)), number / 30, number))
        assert before is not None
        assert before.points[:, 0].mean() > 600
        pictures = [room((left, 0, 340)) for left in range(240, 0, -8)]
        times_s = 1.5 + np.arange(len(pictures)) / 30
        moved = [
            tracker.track(Frame(picture, time_s, 0))
            for picture, time_s in zip(pictures, times_s, strict=True)
        ]
        assert moved == [None] * 30
        assert tracker.faces_seen == 1
        # Somewhere else is the followed one, who has moved out of the cover.
        back = [tracker.track(Frame(room((330, 0, 440)), 2.5 + n / 30, n)) for n in range(10)]
        assert back[-1] is not None


def test_a_picture_on_the_wall_gives_way_to_whoever_sits_down() -> None:
    import cv2

    face = portrait()[30:200, 140:310]
    wall = np.full((480, 640, 3), 120, np.uint8)
    wall[30:130, 40:140] = cv2.resize(face, (100, 100), interpolation=cv2.INTER_AREA)
    seated = wall.copy()
    seated[150:470, 280:600] = cv2.resize(face, (320, 320), interpolation=cv2.INTER_CUBIC)
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [tracker.track(Frame(wall, number / 30, number)) for number in range(60)]
        assert found[-1] is not None
        assert found[-1].points[:, 0].mean() < 150
        found = [tracker.track(Frame(seated, 2 + number / 30, number)) for number in range(60)]
        assert found[-1] is not None
        assert found[-1].points[:, 0].mean() > 300


def test_a_second_face_that_joins_one_is_noticed_soon() -> None:
    """A face that is alone is followed without a search in every picture."""
    both, tracker = two_faces(), MediaPipeTracker(TrackingSettings(face="1"))
    alone = both.copy()
    alone[:, 330:] = 127
    found = [tracker.track(Frame(alone, index / 30, index)) for index in range(30)]
    places = np.stack([landmarks.points for landmarks in found if landmarks])
    assert len(places) == 30
    assert np.abs(places[20:] - places[10:20].mean(axis=0)).max() < 2
    joined = [tracker.track(Frame(both, index / 30, index)) for index in range(30, 37)]
    tracker.close()
    assert tracker.faces_seen == 2
    assert joined[-1] is not None
    assert joined[-1].points[:, 0].mean() > 330


@pytest.fixture
def resets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The graphs that were reset so far; each takes as long as to search a picture."""
    graphs: list[object] = []
    reset = SolutionBase.reset

    def counted(graph: SolutionBase) -> None:
        graphs.append(graph)
        reset(graph)

    monkeypatch.setattr(SolutionBase, "reset", counted)
    return graphs


def test_a_face_that_is_alone_is_followed_without_a_search_in_every_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph that searches for others, too, takes half as long again."""
    processed: Counter[SolutionBase] = Counter()
    process = SolutionBase.process

    def counted(graph: SolutionBase, input_data: object) -> object:
        processed[graph] += 1
        return process(graph, input_data)

    monkeypatch.setattr(SolutionBase, "process", counted)
    picture = room((60, 0, 440))
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        for number in range(90):
            if number == 30:
                processed.clear()
            assert tracker.track(Frame(picture, number / 30, number)) is not None
    (_, tracked), (_, searched) = processed.most_common()
    assert tracked == 60
    assert 6 <= searched <= 12  # a second face is to be noticed soon


def test_a_face_that_was_alone_is_found_at_once_where_it_jumps_to() -> None:
    pictures = [room((60, 0, 440))] * 40 + [room((480, 0, 440))] * 20 + [room((60, 20, 440))]
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [
            tracker.track(Frame(picture, number / 30, number))
            for number, picture in enumerate(pictures)
        ]
    sides = [None if one is None else bool(one.points[:, 0].mean() > 480) for one in found]
    assert sides == [False] * 40 + [True] * 20 + [False]


def test_an_empty_room_is_searched_without_starting_anew(resets: list[object]) -> None:
    face, room = two_faces(), np.full((380, 760, 3), 127, np.uint8)
    face[:, 330:] = 127
    tracker = MediaPipeTracker(TrackingSettings())
    for index in range(30):
        tracker.track(Frame(face if index < 20 else room, index / 30, index))
    assert 0 < len(resets) <= 3
    resets.clear()
    assert not any(tracker.track(Frame(room, index / 30, index)) for index in range(30, 40))
    assert not resets
    assert any(tracker.track(Frame(face, index / 30, index)) for index in range(40, 50))
    tracker.close()


LATE_DISPLAY = """
import os, sys
import cv2
from reenact.config import TrackingSettings
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.types import Frame

picture = cv2.imread(sys.argv[1])[..., ::-1].copy()
tracker = MediaPipeTracker(TrackingSettings(), static=True)
first = tracker.track(Frame(picture, 0.0, 0))
os.environ["DISPLAY"] = sys.argv[2]
tracker.reset()
second = tracker.track(Frame(picture, 0.1, 1))
tracker.close()
print(abs(first.points - second.points).max())
"""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is missing (apt install xvfb)")
def test_a_display_that_comes_later_does_not_end_the_tracking(tmp_path: Path) -> None:
    """With one, MediaPipe finds a GPU, and cannot restart a graph that was built without."""
    import cv2

    picture = tmp_path / "portrait.png"
    cv2.imwrite(str(picture), cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))
    without = {
        key: value
        for key, value in os.environ.items()
        if key not in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
    }
    with display(tmp_path) as name:
        done = subprocess.run(
            [sys.executable, "-c", LATE_DISPLAY, str(picture), name],
            env=without,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5


def test_centre_is_the_face_nearest_to_the_centre_of_the_picture() -> None:
    canvas = np.full((420, 1100, 3), 127, np.uint8)
    canvas[:, 340:1100] = two_faces()
    tracker = MediaPipeTracker(TrackingSettings(face="centre"), static=True)
    found = tracker.track(Frame(canvas, 0.0, 0))
    tracker.close()
    assert found is not None
    assert found.points[:, 0].mean() < 660


def test_sizes_from_160_to_4k(still_tracker: MediaPipeTracker) -> None:
    import cv2

    face = portrait()[:256, 96:352]
    for size in ((160, 120), (3840, 2160)):
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        picture[:, : size[1]] = cv2.resize(face, (size[1], size[1]))
        found = still_tracker.track(Frame(picture, 0.0, 0))
        assert found is not None
        assert found.size == size
        assert 0 < found.points[1, 0] < size[1]


def walking(index: int, face_px: int) -> Image:
    """A small face that walks to the right through a large picture."""
    import cv2

    scale = face_px / 106
    face = cv2.resize(portrait()[:260, 90:350], None, fx=scale, fy=scale)
    canvas = np.full((720, 1280, 3), 90, np.uint8)
    left = 100 + index * 14
    canvas[200 : 200 + face.shape[0], left : left + face.shape[1]] = face
    return canvas


def test_a_far_face_is_found_and_followed_across_the_picture(resets: list[object]) -> None:
    tracker = MediaPipeTracker(TrackingSettings())
    found = [tracker.track(Frame(walking(i, 90), i / 30, i)) for i in range(60)]
    tracker.close()
    assert len(resets) <= 12  # the window follows in steps
    first = next(index for index, landmarks in enumerate(found) if landmarks is not None)
    assert first <= 12
    followed = [landmarks for landmarks in found[first:] if landmarks is not None]
    assert len(followed) >= len(found) - first - 4  # moving the window may cost a frame
    for index, landmarks in enumerate(found):
        if landmarks is not None:
            # The nose is 134 px to the right of the cut-out's left edge in the portrait.
            assert abs(landmarks.points[1, 0] - (100 + index * 14 + 134 * 90 / 106)) < 12


@pytest.mark.faces
def test_a_lost_face_is_found_again_in_a_real_clip(faces_dir: Path) -> None:
    """The clip shows a face, then, after a cut, none at all."""
    tracker = MediaPipeTracker(TrackingSettings())
    found = []
    with av.open(str(faces_dir / "raw" / "webcam_face_noface.mov")) as container:
        for index, picture in enumerate(container.decode(video=0)):
            image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            found.append(tracker.track(Frame(image, index / 30, index)) is not None)
        first = next(iter(av.open(container.name).decode(video=0))).to_ndarray(format="rgb24")
    assert all(found[:20])
    assert not any(found[-20:])
    face = Frame(np.asarray(first, np.uint8), 99.0, 999)
    again = [tracker.track(face) is not None for _ in range(3)]
    tracker.close()
    assert again[-1]


@pytest.mark.faces
def test_landmarks_agree_with_those_of_the_data(faces_dir: Path) -> None:
    stored = np.load(faces_dir / "val" / "v024__01.npz")["landmarks"].astype(np.float32)
    tracker = MediaPipeTracker(TrackingSettings(), static=True)
    with av.open(str(faces_dir / "val" / "v024__01.mp4")) as container:
        for index, picture in enumerate(container.decode(video=0)):
            if index % 60 == 0:
                image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
                found = tracker.track(Frame(image, index / 25, index))
                assert found is not None
                distance = np.linalg.norm((found.points - stored[index])[:, :2], axis=1)
                assert distance.mean() < 2.5
    tracker.close()


@pytest.mark.faces
def test_the_actor_of_a_real_clip_is_followed_again_once_somebody_has_passed(
    faces_dir: Path,
) -> None:
    """The passer-by takes the mesh along, and was then followed; the actor was left out for 3 s."""
    from reenact.targets.clip_files import decode_clip

    actor, other = (
        decode_clip(faces_dir / "train" / f"{name}.mp4") for name in ("v044__01", "v071__01")
    )
    pictures = []
    for number in range(100):
        picture = np.full((360, 1200, 3), 120, np.uint8)
        picture[104:, 472:728] = actor[number]
        left = 14 * number - 300
        if 0 <= left < 944:
            picture[104:, left : left + 256] = other[number]
        pictures.append(np.ascontiguousarray(picture[:, 280:920]))
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        found = [tracker.track(Frame(one, n / 25, n)) for n, one in enumerate(pictures)]
    places = [None if one is None else float(one.points[:468, 0].mean()) for one in found]
    usual = [place for place in places[:25] if place is not None]
    after = [place for place in places[90:] if place is not None]
    assert len(usual) == 25
    assert len(after) == 10, places
    assert np.abs(np.array(after) - usual[-1]).max() < 40, places


def test_the_followed_face_is_not_the_nearer_one_that_ends_a_window() -> None:
    """Its own box is wider than its mesh. A far actor was lost every half second."""
    box = SimpleNamespace(xmin=0.45, ymin=0.4, width=0.13, height=0.2)
    seen = SimpleNamespace(location_data=SimpleNamespace(relative_bounding_box=box))
    detector: Any = SimpleNamespace(_windows=0, _whole=SimpleNamespace(found=lambda: [seen]))
    picture = np.zeros((360, 640, 3), np.uint8)
    assert _Detector.widest_px(detector, picture, (0.5, 0.5)) == 0
    assert _Detector.widest_px(detector, picture, (0.2, 0.5)) == pytest.approx(83.2)
