"""Clips for evaluation, and the one-shot targets made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SourceError, counted
from reenact.face.geometry import square_to_crop, transform_points
from reenact.imaging import resized_square
from reenact.targets.clip_files import (
    UNRELATED,
    clip_landmarks,
    clips_in,
    decode_clip,
    frames_with_face,
    person_of,
)
from reenact.types import Array, Image, Target

CLIP_FPS: Final = 25.0
"""Frame rate of the clips, 1/s."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One shot of one person, in memory.

    Attributes:
        name: file name without its suffix; the part before `__` names the person.
        images: uint8 (F, S, S, 3) RGB.
        landmarks: float32 (F, 478, 3) px; NaN in frames without a face.
        usable: (n,) indices of the frames with a face, at least two.
        unrelated: True if the frames are separate pictures of a data set, not a video.
    """

    name: str
    images: NDArray[np.uint8]
    landmarks: Array
    usable: NDArray[np.intp]
    unrelated: bool = False


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A clip that is not read yet."""

    path: Path

    @property
    def identity(self) -> str:
        """Name of the person."""
        return person_of(self.path.stem)


def find_clip_files(folder: Path) -> list[ClipFile]:
    """Return the clips of a folder; raises as `find_clips`."""
    return [ClipFile(path) for path in find_clips(folder)]


def find_clips(folder: Path, limit: int | None = None, pattern: str = "*") -> list[Path]:
    """Return the videos in a folder of clips whose names match the pattern, sorted by name.

    Raises SourceError if the folder is missing or has no videos, or if landmarks are missing.
    """
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}; name a folder of clips.")
    videos = [one for one in clips_in(folder) if fnmatch(one.stem, pattern)][:limit]
    if not videos:
        named = "" if pattern == "*" else f" {pattern}"
        raise SourceError(f"{folder} has no clips{named}; a clip is NAME.mp4 with its NAME.npz.")
    for video in videos:
        if not video.with_suffix(".npz").is_file():
            raise SourceError(
                f"{video.name} has no landmarks: {video.stem}.npz is missing; `reenact train "
                "prepare` makes clips with landmarks."
            )
    return videos


def read_landmarks(video: Path) -> tuple[Array, NDArray[np.intp]]:
    """Return the (F, 478, 3) landmarks of a clip, px, and the indices of the frames with a face.

    Raises SourceError if the landmarks are missing or damaged, or fewer than two frames have some.
    """
    landmarks = clip_landmarks(video)
    usable = frames_with_face(landmarks)
    if len(usable) < 2:
        raise SourceError(f"{video.stem}.npz has fewer than two frames with a face.")
    return landmarks, usable


def check_clip(video: Path) -> None:
    """Read the landmarks and the first frame of a clip, which takes a moment.

    Raises SourceError as `read_clip` does, except for what only later frames tell.
    """
    read_landmarks(video)
    _check_square(video, decode_clip(video, 1))


def read_clip(video: Path) -> Clip:
    """Read one clip with its landmarks.

    Raises SourceError if a file is damaged, the pictures are not square, pictures and landmarks
    differ in number, or fewer than two frames have landmarks.
    """
    landmarks, usable = read_landmarks(video)
    images = decode_clip(video)
    _check_square(video, images)
    if len(images) != len(landmarks):
        raise SourceError(
            f"{video.name} has {counted(len(images), 'frame')} but landmarks for {len(landmarks)}; "
            "make the clip again with `reenact train prepare`."
        )
    with np.load(video.with_suffix(".npz"), allow_pickle=False) as archive:
        unrelated = UNRELATED in archive
    return Clip(video.stem, images, landmarks, usable, unrelated)


def _check_square(video: Path, images: NDArray[np.uint8]) -> None:
    if images.shape[1] != images.shape[2]:
        raise SourceError(f"{video.name} is not square; clips are crops of the face.")


def there_and_back(count: int) -> NDArray[np.intp]:
    """Return the frame indices of one pass forwards and one back; the ends are not repeated."""
    return np.array([*range(count), *range(count - 2, 0, -1)])


def resized(clip: Clip, size_px: int) -> Clip:
    """Return the clip scaled to another side, px."""
    side = clip.images.shape[1]
    if side == size_px:
        return clip
    images = np.stack([resized_square(one, size_px) for one in clip.images])
    landmarks = transform_points(clip.landmarks, square_to_crop((0, 0, side), size_px))
    return replace(clip, images=images, landmarks=landmarks)


def first_frame_target(clip: Clip, renderer: str) -> Target:
    """Make a one-shot target of the clip's first frame with a face, see `crop_target`."""
    first = int(clip.usable[0])
    return crop_target(clip.name, clip.images[first], clip.landmarks[first], renderer)


def crop_target(name: str, picture: Image, points: Array, renderer: str) -> Target:
    """Make a target of a (S, S, 3) crop, which is also its plate, and (478, 3) px landmarks."""
    picture = np.ascontiguousarray(picture)
    return Target(
        name=name,
        references=picture[None],
        landmarks=points[None],
        neutral=points,
        plate=picture,
        crop_to_plate=np.eye(2, 3, dtype=np.float32),
        renderer=renderer,
    )
