"""A target's footage: the crops of its videos, kept to train on.

`NAME.mp4` holds the square crops (H.264), and `NAME.npz` their `landmarks` (frames, 478, 3) px. A
target's footage is a folder of clips like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SourceError, TargetError
from reenact.face.face_search import refine_face
from reenact.face.geometry import square_to_crop, transform_points
from reenact.face.topology import N_LANDMARKS
from reenact.imaging import resized_square
from reenact.sinks.video_file import write_video
from reenact.sources.video_file import VideoSource
from reenact.storage import atomic_write, file_name, npz_bytes
from reenact.targets.clip_files import clips_in, load_landmarks
from reenact.targets.video_scan import VideoFaces, cut
from reenact.types import Array, Image, Tracker

MAX_FRAMES: Final = 1024
"""Number of frames that are read of all clips; `video_scan` keeps up to 512 a video."""

_FPS: Final = 25.0
_CRF: Final = 14
_TAGS: Final = {"title": "Footage of a target", "comment": "Crops that a target is trained with."}


@dataclass(frozen=True, slots=True)
class Footage:
    """One clip of the target: uint8 (F, S, S, 3) RGB, and float32 (F, 478, 3) px of the crop."""

    images: NDArray[np.uint8]
    landmarks: Array

    def resized(self, size_px: int) -> Footage:
        """Return the clip resized to a side of size_px."""
        side = self.images.shape[1]
        if side == size_px:
            return self
        to_new = square_to_crop((0, 0, side), size_px)
        return Footage(
            np.stack([resized_square(image, size_px) for image in self.images]),
            transform_points(self.landmarks, to_new),
        )

    def __len__(self) -> int:
        return len(self.images)


def clip_names(videos: Iterable[Path]) -> list[str]:
    """Return clip names after the video files, with a number where a name occurs again."""
    names: dict[str, str] = {}
    for video in videos:
        name = stem = Path(file_name(video)).stem
        number = 1
        while name.casefold() in names:  # some file systems ignore case
            number += 1
            name = f"{stem}-{number}"
        names[name.casefold()] = name
    return list(names.values())


def write_footage(
    faces: VideoFaces, folder: Path, name: str, side_px: int, tracker: Tracker
) -> None:
    """Store the faces of a video as the clip NAME.mp4 with NAME.npz, atomically.

    The folder is created if it is missing; an older clip of that name is replaced. Each face is
    tracked again, enlarged; the tracker is reset. Raises SinkError if the clip cannot be
    written, SourceError if the video can no longer be read.
    """
    path = folder / f"{name}.mp4"
    with atomic_write(path, parents=True) as clip:
        _write_clip(faces, clip, side_px, tracker)
        # An older clip must never stand beside the new one's landmarks.
        path.unlink(missing_ok=True)
        clip.with_suffix(".npz").replace(path.with_suffix(".npz"))


def _write_clip(faces: VideoFaces, path: Path, side_px: int, tracker: Tracker) -> None:
    to_crop = square_to_crop(faces.box, side_px)
    known = {face.number: face.points for face in faces.faces}
    landmarks: list[Array] = []

    def crops() -> Iterator[Image]:
        for number, picture in faces.pictures(known):
            points = refine_face(picture, known[number], tracker, shaken=False)
            landmarks.append(transform_points(points, to_crop))
            yield cut(picture, faces.box, side_px)

    write_video(path, crops(), _FPS, _CRF, _TAGS)
    path.with_suffix(".npz").write_bytes(npz_bytes(landmarks=np.stack(landmarks)))


def read_footage(folder: Path, size_px: int) -> list[Footage]:
    """Read a target's clips, resized to a side of size_px; at most `MAX_FRAMES` frames, evenly.

    Raises TargetError if a clip is damaged.
    """
    found = [(path, _read_landmarks(path)) for path in clips_in(folder)]
    every = max(1, math.ceil(sum(len(landmarks) for _, landmarks in found) / MAX_FRAMES))
    return [_read_clip(path, landmarks, every, size_px) for path, landmarks in found]


def split(clip: Footage, share: float) -> tuple[Footage, Footage]:
    """Split a clip at a share of its frames; each part has at least one frame."""
    at = min(max(round(len(clip) * share), 1), len(clip) - 1)
    return (
        Footage(clip.images[:at], clip.landmarks[:at]),
        Footage(clip.images[at:], clip.landmarks[at:]),
    )


def _read_landmarks(path: Path) -> Array:
    try:
        return load_landmarks(path.with_suffix(".npz"))
    except (OSError, ValueError, SourceError) as error:
        raise _damaged(path) from error


def _read_clip(path: Path, landmarks: Array, every: int, size_px: int) -> Footage:
    """Read every n-th frame of a clip; `landmarks` are those of all frames."""
    landmarks = landmarks[::every]
    try:
        images = _read_images(path, every, len(landmarks))
    except (OSError, ValueError, SourceError) as error:
        raise _damaged(path) from error
    if landmarks.shape != (len(images), N_LANDMARKS, 3) or not np.isfinite(landmarks).all():
        raise _damaged(path)
    return Footage(images, landmarks).resized(size_px)


def _read_images(path: Path, every: int, max_frames: int) -> NDArray[np.uint8]:
    images: list[Image] = []
    with VideoSource(path) as source:
        for frame in islice(iter(source.read, None), 0, None, every):
            if frame.size[0] != frame.size[1]:
                raise ValueError("not square")
            images.append(frame.image)
            if len(images) == max_frames:
                break
    return np.stack(images)


def _damaged(path: Path) -> TargetError:
    return TargetError(
        f"The footage {path} is damaged; delete it, and add its video again with "
        "`reenact target add NAME --from VIDEO`."
    )
