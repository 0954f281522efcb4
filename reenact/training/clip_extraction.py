"""Tracks videos and pictures and cuts training clips of a face from them.

A clip is one shot of one person: a fixed square in which the face takes about 60 % of the height,
at 25 frames a second and at most 12 seconds long. A new clip begins at a cut, and where the face
was lost for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.face.face_search import find_face
from reenact.face.geometry import (
    box_shift,
    crop_transform,
    face_box,
    square_to_crop,
    transform_points,
)
from reenact.imaging import crop_image, encoded
from reenact.sinks.video_file import write_video
from reenact.sources.image_file import read_image
from reenact.sources.video_file import VideoSource
from reenact.storage import npz_bytes
from reenact.targets.clip_files import UNRELATED
from reenact.targets.video_scan import Box, CutDetector, cut, square
from reenact.training.dataset_layouts import shot_name
from reenact.training.labels import label
from reenact.types import Array, Frame, Image, Tracker

FPS: Final = 25.0
MAX_FRAMES: Final = 300
MIN_FRAMES: Final = 12
"""Minimum number of frames of a shot from a video; a sequence of pictures needs two."""

_LOST_FRAMES: Final = 10
"""A shot ends when the face is lost for longer."""

_HELD_FRAMES: Final = 10
"""Maximum number of repetitions of a picture where the video pauses."""

_CRF: Final = 16
_TAGS: Final = {"title": "Training clip", "comment": "A face, cut out to train with."}
_NOWHERE: Final = np.full((478, 3), np.nan, np.float32)

OnFrame = Callable[[], None]
"""Called after each frame; raises an exception to stop."""


@dataclass(slots=True)
class Shot:
    """Consecutive frames of one person: their indices in the source, and (478, 3) px for each.

    A source below 25 frames a second repeats frames. The points are NaN where no face was found.
    """

    frames: list[int] = field(default_factory=list)
    points: list[Array] = field(default_factory=list)

    def trimmed(self) -> Shot:
        """Return the shot without the frames before the first face and after the last one."""
        found = np.flatnonzero([bool(np.isfinite(one[0, 0])) for one in self.points])
        if not len(found):
            return Shot()
        keep = slice(int(found[0]), int(found[-1]) + 1)
        return Shot(self.frames[keep], self.points[keep])


@dataclass(frozen=True, slots=True)
class Extraction:
    """Tracks faces and writes what it cuts out.

    Attributes:
        tracker: for videos one that follows a face over time, otherwise one for still pictures; it
            is reset where another picture begins.
        size_px: side of the crops.
        on_frame: called after each frame.
        grey: convert the crops to luma.
    """

    tracker: Tracker
    size_px: int
    on_frame: OnFrame
    grey: bool = False

    def clips_of_video(self, path: Path, out: Path, name: str) -> list[Path]:
        """Write a video's clips as OUT/NAME.mp4, numbered by `shot_name` if there are several.

        Raises ReenactError if the video is damaged, no face is visible for long enough, or the disk
        is full.
        """
        found = _find_shots(path, self.tracker, self.on_frame)
        shots = [shot for shot in found if len(shot.frames) >= MIN_FRAMES]
        if not shots:
            raise ReenactError(f"{path.name} shows no face for half a second or longer.")
        written = []
        with VideoSource(path) as source:
            held = source.read()
            for number, shot in enumerate(shots, 1):
                clip = shot_name(name, number) if len(shots) > 1 else name

                def pictures(shot: Shot = shot) -> Iterator[Image]:
                    nonlocal held
                    for index in shot.frames:
                        while held is not None and held.index < index:
                            held = source.read()
                        if held is None:
                            raise ReenactError(
                                f"{path.name} gave different frames when read again."
                            )
                        yield held.image

                written.append(self._write(out / f"{clip}.mp4", shot.points, pictures(), {}))
        return written

    def clip_of_pictures(
        self, files: Sequence[Path], emotions: Sequence[int], out: Path, unrelated: bool
    ) -> Path:
        """Write pictures of one person, such as a CK+ sequence, as one clip.

        The pictures have the same size and framing. `emotions` are stored with the landmarks, one
        for each picture; the list may be empty. `unrelated` marks pictures that are no sequence.
        Raises ReenactError if a picture is damaged, fewer than two show a face, or the disk is
        full.
        """
        points = []
        for file in files:
            found = find_face(read_image(file), self.tracker)
            points.append(_NOWHERE if found is None else found.points)
            self.on_frame()
        if sum(bool(np.isfinite(one).all()) for one in points) < 2:
            raise ReenactError(f"Fewer than two pictures of {out.stem} show a face.")
        given = {"emotions": np.array(emotions, np.int8)} if emotions else {}
        if unrelated:
            given[UNRELATED] = np.array(True)
        return self._write(out, points, (read_image(file) for file in files), given)

    def still_of_photo(self, file: Path, emotions: Sequence[int], out: Path) -> Path:
        """Write the face in a photo as a square JPEG with its landmarks, and its emotion if known.

        Raises ReenactError if the photo is damaged, shows no face, or the result cannot be written.
        """
        self.on_frame()
        image = read_image(file)
        found = find_face(image, self.tracker)
        if found is None:
            raise ReenactError(f"{file.name} shows no face.")
        affine = crop_transform(found.points, self.size_px)
        picture = _coloured(crop_image(image, affine, self.size_px), self.grey)
        known = {"emotions": np.array(emotions[0], np.int8)} if emotions else {}
        _store_landmarks(out, transform_points(found.points, affine), known)
        out.write_bytes(encoded(picture, ".jpg"))
        return out

    def _write(
        self,
        path: Path,
        points: Sequence[Array],
        pictures: Iterator[Image],
        given: Mapping[str, NDArray[Any]],
    ) -> Path:
        """Write a clip: first its landmarks and labels, then its pictures."""
        found = [one for one in points if np.isfinite(one).all()]
        box: Box = square([face_box(one) for one in found], found[0])
        to_crop = square_to_crop(box, self.size_px)
        landmarks = np.stack([transform_points(one, to_crop) for one in points])
        labels = label(landmarks, given.get("emotions"))
        _store_landmarks(path, landmarks, {**given, **labels})
        crops = (_coloured(cut(one, box, self.size_px), self.grey) for one in pictures)
        write_video(path, crops, FPS, _CRF, _TAGS)
        return path


def _find_shots(path: Path, tracker: Tracker, on_frame: OnFrame) -> list[Shot]:
    """Track a video at 25 frames a second; split it at cuts and where the face jumps or is lost."""
    shots = [Shot()]
    lost = 0
    cuts = CutDetector()
    last: Array | None = None
    tracker.reset()
    with VideoSource(path) as source:
        for frame, times in _at_rate(source):
            if not times:
                continue
            if cuts.is_cut(frame.image):
                tracker.reset()
                shots.append(Shot())
                last = None
            found = tracker.track(frame)
            points = _NOWHERE if found is None else found.points
            lost = lost + times if found is None else 0
            jumped = found is not None and last is not None and box_shift(last, points) > 1
            last = last if found is None else points
            if jumped or len(shots[-1].frames) >= MAX_FRAMES or lost > _LOST_FRAMES:
                shots.append(Shot())
            shots[-1].frames += [frame.index] * times
            shots[-1].points += [points] * times
            on_frame()
    return [shot.trimmed() for shot in shots]


def _at_rate(source: VideoSource) -> Iterator[tuple[Frame, int]]:
    """Yield each frame with the number of the nearest tick of a 25 Hz clock.

    The timestamps of the frames decide, because a phone lowers its rate in the dark and some files
    declare a wrong rate.
    """
    frame = source.read()
    half_s = 0.5 / source.fps
    begun = 0
    while frame is not None:
        following = source.read()
        if following is not None:
            half_s = (following.time_s - frame.time_s) / 2
        end = int(np.ceil((frame.time_s + half_s) * FPS - 1e-6))
        yield frame, min(end - begun, _HELD_FRAMES)
        frame, begun = following, end


def _coloured(picture: Image, grey: bool) -> Image:
    """Return the picture, converted to luma in all three channels if `grey`."""
    if not grey:
        return picture
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), np.uint8)


def _store_landmarks(beside: Path, points: Array, labels: Mapping[str, NDArray[Any]]) -> None:
    """Write NAME.npz beside a clip or photo in half precision: 1/8 px at a side of 256."""
    path = beside.with_suffix(".npz")
    path.write_bytes(npz_bytes(landmarks=points.astype(np.float16), **labels))
