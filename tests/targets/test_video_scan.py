"""Cuts and movement in a video: where a shot ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reenact.targets import video_scan
from reenact.targets.video_scan import CutDetector
from reenact.testing.portrait import portrait_landmarks
from reenact.types import Frame, Image, Landmarks
from support.clips import write_clip
from support.fakes import FakeTracker
from support.portraits import smooth_picture


def cuts(changes: Iterable[int]) -> list[int]:
    """Return which of these changes of a grey picture are cuts, in levels from frame to frame."""
    detector = CutDetector()
    levels = np.cumsum([20, *changes])
    found = [detector.is_cut(np.full((36, 64, 3), level, np.uint8)) for level in levels]
    return [number - 1 for number, is_cut in enumerate(found) if is_cut]


def test_a_change_much_larger_than_those_before_is_a_cut() -> None:
    assert cuts([1, 2, 1, 0, 20, 1, 2, 1]) == [4]
    assert cuts([5, 6, 5, 6, 20, 5]) == [], "movement"
    assert cuts([2, 4, 8, 14, 20, 20]) == [], "movement that begins"
    assert cuts([0, 1, 0, 1, 8, 0]) == [], "too small"


def test_a_large_change_is_a_cut_whatever_was_before() -> None:
    assert cuts([45]) == [0]
    assert cuts([30, 30, 45, 20, 2]) == [2]


class MovingTracker(FakeTracker):
    """Finds a face 30 px high that moves, and `others` beside it."""

    def __init__(self, px_per_frame: float = 0.0, others: int = 0) -> None:
        points = portrait_landmarks().points
        points = (points - points.min(axis=0)) * np.float32(30 / np.ptp(points[:, 1]))
        super().__init__(Landmarks(points, 1.0, (160, 120)))
        self.faces_seen = 1 + others
        self._px_per_frame = px_per_frame

    def track(self, frame: Frame) -> Landmarks | None:
        assert self.face is not None
        shift = np.array([self._px_per_frame * frame.index, 0, 0], np.float32)
        return replace(self.face, points=self.face.points + shift)


def longest_shot(
    path: Path, frames: int, picture: Callable[[int], Image], tracker: MovingTracker
) -> list[int]:
    """Return the numbers of the frames of a new video's longest shot."""
    write_clip(path, frames, picture=picture)
    return [face.number for face in video_scan._longest_shot(path, 0, tracker, "largest")]


def swaying(index: int) -> Image:
    """Return stripes that travel: a little from frame to frame, far in eight frames."""
    columns = 128 + 90 * np.sin((np.arange(160) + 2.5 * index) * 2 * np.pi / 40)
    return np.repeat(columns.astype(np.uint8)[None, :, None], 120, axis=0).repeat(3, axis=2)


def test_a_shot_ends_where_a_similar_scene_follows(tmp_path: Path) -> None:
    one, other = (smooth_picture((160, 120), seed).astype(float) for seed in (1, 2))
    scenes = [one.astype(np.uint8), (0.6 * one + 0.4 * other).astype(np.uint8)]
    assert 15 < np.abs(scenes[0].astype(int) - scenes[1]).mean() < 30
    shot = longest_shot(
        tmp_path / "two.mp4", 25, lambda index: scenes[int(index >= 10)], MovingTracker()
    )
    assert shot == list(range(10, 25))


@pytest.mark.parametrize(("cut_at", "used"), [(None, range(0, 64, 16)), (38, range(0, 38, 16))])
def test_movement_in_a_long_video_is_no_cut(
    cut_at: int | None, used: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut between two tracked frames is one."""
    monkeypatch.setattr(video_scan, "_MAX_SEEN", 6)

    def picture(index: int) -> Image:
        return swaying(index) if cut_at is None or index < cut_at else swaying(index + 20)

    assert np.abs(swaying(8).astype(int) - swaying(0)).mean() > 50
    shot = longest_shot(tmp_path / "long.mp4", 60, picture, MovingTracker())
    assert shot == list(used)


@pytest.mark.parametrize(("others", "used"), [(0, range(0, 40, 8)), (1, range(0, 24, 8))])
def test_a_face_alone_may_move_further_if_frames_are_skipped(
    others: int, used: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_scan, "_MAX_SEEN", 6)
    shot = longest_shot(tmp_path / "long.mp4", 40, lambda _: swaying(0), MovingTracker(5, others))
    assert shot == list(used)
