"""Finds the longest shot of a face in a video, and cuts the face's square out of its frames."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import TargetError
from reenact.face.face_search import find_upright_face
from reenact.face.geometry import FACE_MIDDLE, FACE_SHARE, box_shift, choose_face, face_box
from reenact.imaging import mirrored_within, resized_square, turned
from reenact.sources.video_file import VideoSource
from reenact.storage import file_name
from reenact.targets.camera_take import is_take
from reenact.targets.reference_selection import Look, calmest, measure_look
from reenact.types import Array, Image, SeesFaces, Tracker

_SCAN_BUDGET_S: Final = 60.0
_MAX_SEEN: Final = 512
"""Maximum number of faces that are kept; in a longer video every second, fourth, ... frame."""

_MAX_WIDENING: Final = 1.5
"""Maximum side of a video's square, as a multiple of what its calmest frame needs."""

_MAX_MIRRORED: Final = 0.08
"""How deep the picture is mirrored beyond its edge, at most, as a fraction of the square's side."""

_CUT_LEVELS: Final = 40.0
_MIN_CUT_LEVELS: Final = 12.0
_CUT_RATIO: Final = 4.0
_CHANGES: Final = 5
_THUMBNAIL_PX: Final = (32, 18)
_THINNED_PX: Final = 180
"""Of a larger picture, every second, third, ... pixel is enough for its thumbnail."""

_MAX_SHIFT: Final = 1.0
_MAX_SKIPPING_SHIFT: Final = 2.0
"""How far a face may move from one tracked frame to the next, as a multiple of its size; the second
applies if frames between them were skipped and there is no other face."""

_log = logging.getLogger(__name__)

Box = tuple[int, int, int]
"""(left, top, side) px of a square in the picture, integers."""


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in one picture: frame (0 for a photo), (478, 3) px landmarks, and its look."""

    number: int
    points: Array
    look: Look


@dataclass(frozen=True, slots=True)
class VideoFaces:
    """The longest shot of a face in a video.

    Attributes:
        path: of the video.
        box: one square for all frames, so that the backgrounds of the crops agree.
        faces: at most 512 in the order of their frames, all completely inside the square.
        turns: quarter turns that make the pictures upright.
    """

    path: Path
    box: Box
    faces: list[FoundFace]
    turns: int = 0

    def pictures(self, numbers: Collection[int]) -> Iterator[tuple[int, Image]]:
        """Read frames of the video again, and yield (index, RGB picture) in order."""
        last = max(numbers)
        with VideoSource(self.path) as source:
            while (frame := source.read()) is not None:
                if frame.index in numbers:
                    yield frame.index, turned(frame.image, self.turns)
                if frame.index >= last:
                    return


class CutDetector:
    """Finds hard cuts in a video by the mean change of a thumbnail from frame to frame.

    A change of more than `_CUT_LEVELS` is a cut. So is one of more than `_MIN_CUT_LEVELS` that is
    more than `_CUT_RATIO` times as large as each of the last `_CHANGES`: the scenes may be similar.
    Of 4,830 cuts between clips of 70 people this misses 0.1 % (`_CUT_LEVELS` alone: 5.8 %), and it
    finds one cut within 103 clips that have none.
    """

    def __init__(self) -> None:
        self._before: Array | None = None
        self._changes: deque[float] = deque(maxlen=_CHANGES)

    def is_cut(self, image: Image) -> bool:
        """Return whether a frame, uint8 (H, W, 3) RGB, shows another scene than the one before."""
        every = max(1, min(image.shape[:2]) // _THINNED_PX)
        thinned = np.ascontiguousarray(image[::every, ::every])
        small = cv2.resize(thinned, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, small
        if before is None:
            return False
        change = float(np.abs(small - before).mean())
        usual = max(self._changes, default=_CUT_LEVELS)
        if change > min(_CUT_LEVELS, max(_MIN_CUT_LEVELS, _CUT_RATIO * usual)):
            self._changes.clear()
            return True
        self._changes.append(change)
        return False


def scan_video(path: Path, tracker: Tracker, face: str = "largest") -> VideoFaces:
    """Find a video's longest shot of a face; a video that is not upright is turned.

    Of several faces, `face` chooses one in each frame, see `geometry.choose_face`. The tracker is
    preferably one for still pictures; it is reset. Raises SourceError if the file is missing,
    damaged or not a video, TargetError if it shows no face.
    """
    shot = _longest_shot(path, 0, tracker, face)
    turns = _turns(path, shot, tracker)
    if turns:
        _log.warning("%s is not upright; the target's pictures are turned.", file_name(path))
        shot = _longest_shot(path, turns, tracker, face)
    if not shot:
        if is_take(path):
            raise TargetError(
                "No face was found in the recording, which is not kept: sit closer to the camera, "
                "with light from the front, and record again."
            )
        raise TargetError(
            f"No face was found in {path.name}; use a video in which the face is larger, upright "
            "and seen from the front."
        )
    first = shot[calmest([face.look for face in shot])]
    box = square([face_box(face.points) for face in shot], first.points)
    inside = [face for face in shot if holds(box, face.points)]
    return VideoFaces(path, box, inside or [first], turns)


def square(boxes: list[tuple[float, float, float, float]], calm: Array) -> Box:
    """Return a square around all boxes except outliers, with the calm face well inside.

    Boxes are (left, top, right, bottom) px, `calm` the (478, 3) px landmarks of the calmest face.
    The edges are integers, so that pasting back needs no shift by fractions of a px.
    """
    edges = np.array(boxes)
    low = np.percentile(edges[:, :2], 4, axis=0)
    high = np.percentile(edges[:, 2:], 96, axis=0)
    left, top, right, bottom = face_box(calm)
    own = max(right - left, bottom - top, 1.0)
    extent = max(float((high - low).max()), own)
    middle = (low + high) / 2
    if extent > _MAX_WIDENING * own:
        extent = _MAX_WIDENING * own
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
    side = max(8, round(extent / FACE_SHARE))
    return round(middle[0] - side / 2), round(middle[1] - side * FACE_MIDDLE), side


def cut(picture: Image, box: Box, side_px: int) -> Image:
    """Cut a square out at (side_px, side_px, 3), mirrored beyond the picture's edge."""
    left, top, side = box
    height, width = picture.shape[:2]
    rows = _mirrored(top, side, height, FACE_MIDDLE)
    columns = _mirrored(left, side, width, 0.5)
    return resized_square(picture[np.ix_(rows, columns)], side_px)


def _mirrored(start: int, side: int, count: int, face: float) -> NDArray[np.intp]:
    """Return indices of a square's px along one axis, those beyond 0 to count - 1 mirrored.

    `face` is where the face's middle lies in the square, as a share of its side.
    """
    around = start + side * (face + FACE_SHARE * np.array([-0.5, 0.5]))
    positions = np.arange(start, start + side, dtype=np.float32)
    face_range = float(around[0]), float(around[1])
    within = mirrored_within(positions, count, face_range, _MAX_MIRRORED * side)
    return np.asarray(np.round(within), np.intp)


def _turns(path: Path, shot: list[FoundFace], tracker: Tracker) -> int:
    """Return the quarter turns after which the calmest face of a shot is upright.

    In an upside-down video the tracker finds no face, or a wrong one.
    """
    number = shot[calmest([face.look for face in shot])].number if shot else 0
    ((_, picture),) = VideoFaces(path, (0, 0, 0), []).pictures([number])
    found = find_upright_face(picture, tracker)
    return 0 if found is None else found[0]


def _longest_shot(path: Path, turns: int, tracker: Tracker, rule: str) -> list[FoundFace]:
    """Track the face through a video turned by quarter turns, and return its longest shot.

    A cut, or a face that jumps by its own size, ends a shot, because another person may follow.
    A long video is tracked in ever larger steps, for at most `_SCAN_BUDGET_S`; cuts are looked for
    in all its frames.
    """
    shots: list[list[FoundFace]] = [[]]
    stride, seen = 1, 0
    cuts, is_new = CutDetector(), False
    deadline_s = time.monotonic() + _SCAN_BUDGET_S
    tracker.reset()
    with VideoSource(path) as source:
        while (frame := source.read()) is not None:
            is_new = cuts.is_cut(frame.image) or is_new
            if frame.index % stride:
                continue
            if time.monotonic() > deadline_s:
                _log.warning(
                    "%s is long; only its first %.0f s are used.", file_name(path), frame.time_s
                )
                break
            image = turned(frame.image, turns)
            if is_new:
                tracker.reset()
                shots.append([])
                is_new = False
            found = tracker.track(replace(frame, image=image))
            if found is None:
                continue
            seen += 1
            points = found.points
            if isinstance(tracker, SeesFaces):
                points = choose_face(tracker.faces, found.size, rule)
            if tracker.faces_seen > 1 and seen == 1 and rule == "largest":
                _log.warning(
                    "There are %d faces in the first picture of %s that shows any; the largest is "
                    "used. Another one can be chosen (--face).",
                    tracker.faces_seen,
                    file_name(path),
                )
            alone = stride > 1 and tracker.faces_seen < 2
            max_shift = _MAX_SKIPPING_SHIFT if alone else _MAX_SHIFT
            if shots[-1] and box_shift(shots[-1][-1].points, points) > max_shift:
                shots.append([])
            shots[-1].append(FoundFace(frame.index, points, measure_look(image, points)))
            if seen >= _MAX_SEEN:
                stride *= 2
                shots = [[face for face in shot if face.number % stride == 0] for shot in shots]
                seen = sum(len(shot) for shot in shots)
    return max(shots, key=len)


def holds(box: Box, points: Array) -> bool:
    """Return whether a square holds the whole face with these (478, 3) px landmarks."""
    left, top, right, bottom = face_box(points)
    return left > box[0] and top > box[1] and right < box[0] + box[2] and bottom < box[1] + box[2]
