"""Looks through a video for its longest shot of one face, and cuts the face's square out of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import TargetError
from reenact.face.geometry import FACE_MIDDLE, FACE_SHARE, box_shift, face_box
from reenact.sources.video_file import VideoSource
from reenact.targets.reference_selection import Look, calmest, measure_look
from reenact.types import Array, Frame, Image, Tracker

_SCAN_BUDGET_S: Final = 60.0
_MAX_SEEN: Final = 512
"""Frames of a video that are looked at closely; of a longer one every second, fourth, ..."""

_MAX_WIDENING: Final = 1.5
"""A video's square is at most this much wider than its calmest frame needs."""

_MIRRORED: Final = 0.08
"""Of a square's side: so much of the picture, at most, is mirrored beyond its edge. More would show
a second mouth under a chin that the edge cuts."""

_CUT_LEVELS: Final = 40.0
_THUMBNAIL_PX: Final = (32, 18)

_log = logging.getLogger(__name__)

Box = tuple[int, int, int]
"""(left, top, side) of a square with whole-numbered edges, px of the picture."""


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in one picture.

    Attributes:
        number: index of the frame; 0 for a photo.
        points: float32 (478, 3) px of the picture.
        look: what it shows.
    """

    number: int
    points: Array
    look: Look


@dataclass(frozen=True, slots=True)
class VideoFaces:
    """The longest shot of a face in a video.

    Attributes:
        path: of the video.
        box: one square over all that the face does, so that the backgrounds of its crops agree.
        faces: at most 512, in order of their frames, each wholly inside the square.
    """

    path: Path
    box: Box
    faces: list[FoundFace]

    def pictures(self, numbers: Collection[int]) -> Iterator[tuple[int, Image]]:
        """Read those frames of the video again, in order; yields (index, RGB picture).

        Raises:
            SourceError: the video cannot be read any more.
        """
        last = max(numbers)
        with VideoSource(self.path) as source:
            while (frame := source.read()) is not None and frame.index <= last:
                if frame.index in numbers:
                    yield frame.index, frame.image


def scan_video(path: Path, tracker: Tracker) -> VideoFaces:
    """Find a video's longest shot of a face.

    Args:
        path: of the video.
        tracker: one for still pictures serves best; it is reset on the way.

    Raises:
        SourceError: it is missing, damaged or no video.
        TargetError: it shows no face.
    """
    shot = _longest_shot(path, tracker)
    if not shot:
        raise TargetError(
            f"No face was found in {path.name}; take a video where the face is larger, upright "
            "and seen from the front."
        )
    first = shot[calmest([face.look for face in shot])]
    box = square([face_box(face.points) for face in shot], first.points)
    inside = [face for face in shot if _holds(box, face.points)]
    return VideoFaces(path, box, inside or [first])


def square(boxes: list[tuple[float, float, float, float]], calm: Array) -> Box:
    """Return the square over all boxes (but for rare ones), with the calm face well inside.

    Its edges are whole-numbered, so that pasting back needs no shift by parts of a px.

    Args:
        boxes: (left, top, right, bottom) px of faces.
        calm: (478, 3) px of the calmest one.
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
    """Cut a square out at (side, side, 3), mirrored where it reaches beyond the picture."""
    left, top, side = box
    height, width = picture.shape[:2]
    rows = _mirrored(np.arange(top, top + side), height, _MIRRORED * side)
    columns = _mirrored(np.arange(left, left + side), width, _MIRRORED * side)
    way = cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC
    patch = picture[np.ix_(rows, columns)]
    return np.asarray(cv2.resize(patch, (side_px, side_px), interpolation=way), dtype=np.uint8)


def _mirrored(numbers: NDArray[np.intp], count: int, most: float) -> NDArray[np.intp]:
    """Return numbers in 0 to count - 1: those beyond come back, at most `most` deep."""
    inside = np.clip(numbers, 0, count - 1)
    beyond = numbers - inside
    depth = np.round(most * np.tanh(beyond / most)).astype(np.intp)
    return np.asarray(np.clip(inside - depth, 0, count - 1))


def _longest_shot(path: Path, tracker: Tracker) -> list[FoundFace]:
    """Look through a video; return its longest shot of a face.

    A cut, or the face jumping by its own size, ends a shot: another person may follow. A long
    video is looked at in ever larger steps, and as far as the time allows.
    """
    shots: list[list[FoundFace]] = [[]]
    stride, seen = 1, 0
    thumbnail: Array | None = None
    deadline_s = time.monotonic() + _SCAN_BUDGET_S
    tracker.reset()
    with VideoSource(path) as source:
        while (frame := source.read()) is not None:
            if frame.index % stride:
                continue
            if time.monotonic() > deadline_s:
                _log.warning("%s is long; only its first %.0f s were used.", path, frame.time_s)
                break
            previous, thumbnail = thumbnail, _thumbnail(frame)
            if previous is not None and np.abs(thumbnail - previous).mean() > _CUT_LEVELS:
                tracker.reset()
                shots.append([])
            found = tracker.track(frame)
            if found is None:
                continue
            seen += 1
            if tracker.faces_seen > 1 and seen == 1:
                _log.warning("There are several faces in %s; one is taken.", path)
            if shots[-1] and box_shift(shots[-1][-1].points, found.points) > 1:
                shots.append([])
            look = measure_look(frame.image, found.points)
            shots[-1].append(FoundFace(frame.index, found.points, look))
            if seen >= _MAX_SEEN:
                stride *= 2
                shots = [[face for face in shot if face.number % stride == 0] for shot in shots]
                seen = sum(len(shot) for shot in shots)
    return max(shots, key=len)


def _thumbnail(frame: Frame) -> Array:
    small = cv2.resize(frame.image, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _holds(box: Box, points: Array) -> bool:
    left, top, right, bottom = face_box(points)
    return left > box[0] and top > box[1] and right < box[0] + box[2] and bottom < box[1] + box[2]
