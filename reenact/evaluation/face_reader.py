"""What the evaluation protocols share: clips, and a judge who looks at pictures.

The judge tracks every picture on its own, so that a rendered face is found by what it shows and
not by where the last one was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.evaluation.identity import distance, open_descriptor
from reenact.face.action_units import action_units
from reenact.face.geometry import estimate_pose, square_to_crop, to_face_frame, transform_points
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.imaging import resized_square
from reenact.lifecycle import ClosesOnExit
from reenact.targets.clip_files import clips_in, decode_clip, load_landmarks
from reenact.types import Array, Frame, Image, Target

CLIP_FPS: Final = 25.0
"""Frames a second of the clips."""

Figures = dict[str, float | None]
"""Figures by name; None where one could not be measured."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One shot of one person, in memory.

    Attributes:
        name: file name without its ending; identity is what stands before `__`.
        images: uint8 (F, S, S, 3) RGB.
        landmarks: float32 (F, 478, 3) px, NaN where there is no face.
        usable: (n,) indices of frames with a face, at least two.
    """

    name: str
    images: NDArray[np.uint8]
    landmarks: Array
    usable: NDArray[np.intp]


def find_clips(folder: Path, limit: int | None = None) -> list[Path]:
    """Return the videos of a folder of clips in order of their names.

    Raises:
        SourceError: there is no such folder, it holds no video, or landmarks are missing.
    """
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}; --data takes a folder of clips.")
    videos = clips_in(folder)[:limit]
    if not videos:
        raise SourceError(f"{folder} holds no clips; each is NAME.mp4 with its NAME.npz.")
    for video in videos:
        if not video.with_suffix(".npz").is_file():
            raise SourceError(f"{video.name} has no landmarks: {video.stem}.npz is missing.")
    return videos


def read_clip(video: Path) -> Clip:
    """Read one clip with its landmarks.

    Raises:
        SourceError: a file is damaged, pictures are not square, the lengths differ, or fewer
            than two frames have landmarks.
    """
    landmarks = load_landmarks(video.with_suffix(".npz"))
    if landmarks.ndim != 3 or landmarks.shape[1:] != (478, 3):
        raise SourceError(
            f"{video.stem}.npz holds {landmarks.shape}; clips need (frames, 478, 3) landmarks."
        )
    images = decode_clip(video)
    if images.shape[1] != images.shape[2]:
        raise SourceError(f"{video.name} is not square; clips are crops of the face.")
    if len(images) != len(landmarks):
        raise SourceError(
            f"{video.name} has {len(images)} frames but landmarks for {len(landmarks)}."
        )
    usable = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    if len(usable) < 2:
        raise SourceError(f"{video.stem}.npz has fewer than two frames with a face.")
    return Clip(video.stem, images, landmarks, usable)


def resized(clip: Clip, size_px: int) -> Clip:
    """Return a clip at another side."""
    side = clip.images.shape[1]
    if side == size_px:
        return clip
    images = np.stack([resized_square(one, size_px) for one in clip.images])
    landmarks = transform_points(clip.landmarks, square_to_crop((0, 0, side), size_px))
    return Clip(clip.name, images, landmarks, clip.usable)


def first_frame_target(clip: Clip, renderer: str) -> Target:
    """Make the one-shot target: the clip's first frame with a face, the crop as its own plate."""
    first = int(clip.usable[0])
    return crop_target(clip.name, clip.images[first], clip.landmarks[first], renderer)


def crop_target(name: str, picture: Image, points: Array, renderer: str) -> Target:
    """Make a target of one (S, S, 3) crop and its (478, 3) landmarks, the crop as its own plate."""
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


def own_shape(points: Array, template: Array) -> Array:
    """Take (478, 3) px landmarks into the face frame (iod), posed by the person's own shape."""
    return to_face_frame(points, estimate_pose(points, template))


def median_shape(points: Array) -> Array:
    """Return the (478, 3) median face-frame shape of a person's (N, 478, 3) px landmarks.

    The faces of the clips rest most of the time, so it stands for the neutral where none is
    known; comparisons use it on both sides alike.
    """
    shapes = np.stack([to_face_frame(one, estimate_pose(one)) for one in points])
    return np.asarray(np.median(shapes, axis=0), dtype=np.float32)


def units_of(points: Array, neutral: Array) -> Array:
    """Return the (17,) action units of (478, 3) px landmarks against a neutral shape (iod)."""
    return action_units(own_shape(points, neutral), neutral)


def mean_figures(clips: Iterable[Mapping[str, float | None]]) -> Figures:
    """Average each figure over the clips that have it; None where none has."""
    names: dict[str, list[float]] = {}
    for figures in clips:
        for name, value in figures.items():
            names.setdefault(name, []).extend([] if value is None else [value])
    return {name: float(np.mean(values)) if values else None for name, values in names.items()}


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return float(np.mean(values)) if values else None


class Judge(ClosesOnExit):
    """Tracks and recognises faces in single pictures. A context manager; not thread-safe."""

    def __init__(self) -> None:
        self._tracker = MediaPipeTracker(Settings().tracking, static=True)
        self._descriptor = open_descriptor()

    def close(self) -> None:
        """Release the tracker's models."""
        self._tracker.close()

    def track(self, image: Image) -> Array | None:
        """Return the (478, 3) px landmarks of a picture's face, None where there is none."""
        found = self._tracker.track(Frame(np.ascontiguousarray(image), 0.0, 0))
        return None if found is None else found.points

    def describe(self, image: Image, landmarks: Array) -> Array | None:
        """Return who is in the picture, None without the optional dependency."""
        if self._descriptor is None:
            return None
        return self._descriptor.describe(np.ascontiguousarray(image), landmarks)

    def identity(self, reference: Array | None, image: Image, landmarks: Array) -> float | None:
        """Return the descriptor distance of a face to a reference's descriptor."""
        if reference is None or self._descriptor is None:
            return None
        return distance(
            reference, self._descriptor.describe(np.ascontiguousarray(image), landmarks)
        )
