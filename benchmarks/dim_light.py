"""Measures what brightening gains where the actor sits in dim light (`reenact.face.dim_light`).

    python benchmarks/dim_light.py ../shared/faces/train --folds ../shared/faces/folds.json --fold 0

The first clip of each person is darkened to a share of its light, gets the noise of a camera
(levels, standard deviation) and the blocks of a JPEG, and is tracked as it is and brightened. The
figures are relative to the landmarks of the bright clip, and means over people:

    error           of the landmarks, RMS, iod
    jitter          RMS second difference of the landmarks between frames, iod
    width, gap      correlation and slope of the mouth's width and of the gap between the lips, for
                    people who move it
    photo           error of one frame as the photo of a target (`refine_face`)
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import TrackingSettings
from reenact.evaluation.clips import CLIP_FPS, find_clips
from reenact.face.face_search import refine_face
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.topology import MOUTH_CORNERS, N_SKIN, OUTER_EYE_CORNERS
from reenact.targets.clip_files import clip_landmarks, decode_clip, person_of
from reenact.training.people import read_fold
from reenact.types import Array, Frame, Image

LIGHTS: Final = ((0.5, 4.0), (0.28, 3.0), (0.28, 6.0), (0.15, 5.0))
"""(share of the light, noise)."""
FRAMES: Final = 80
SETTLING: Final = 10
"""Frames at the start that do not count."""
QUALITY: Final = 60
MOVES_IOD: Final = 0.02
"""Standard deviation of a distance from which a person moves it."""
DISTANCES: Final = {"width": MOUTH_CORNERS, "gap": (13, 14)}


def darkened(image: Image, share: float, noise: float, rng: np.random.Generator) -> Image:
    """Return the picture of a camera in dim light."""
    levels = image * np.float32(share) + rng.normal(0, noise, image.shape)
    _, jpeg = cv2.imencode(
        ".jpg",
        np.clip(levels, 0, 255).astype(np.uint8)[..., ::-1],
        [cv2.IMWRITE_JPEG_QUALITY, QUALITY],
    )
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def tracked(images: NDArray[np.uint8], tracker: MediaPipeTracker) -> Array:
    """Return the landmarks of a run from its start, (F, 478, 3) px; NaN: no face."""
    tracker.reset()
    rows = []
    for index, image in enumerate(images[:FRAMES]):
        found = tracker.track(Frame(np.ascontiguousarray(image), index / CLIP_FPS, index))
        rows.append(np.full((478, 3), np.nan) if found is None else found.points)
    return np.asarray(np.stack(rows)[SETTLING:], np.float32)


def error(true: Array, seen: Array) -> float:
    """Return the RMS distance of (F, 478, 3) landmarks, iod."""
    off = np.linalg.norm((seen - true)[:, :N_SKIN, :2], axis=-1)
    return float(np.sqrt((off**2).mean()) / distance(true, OUTER_EYE_CORNERS).mean())


def compared(true: Array, seen: Array) -> list[float]:
    """Return error, jitter, and for each of `DISTANCES` correlation and slope (NaN: no motion)."""
    both = np.isfinite(true[:, 0, 0]) & np.isfinite(seen[:, 0, 0])
    true, seen = true[both], seen[both]
    iod = float(distance(true, OUTER_EYE_CORNERS).mean())
    jumps = np.linalg.norm(np.diff(seen[:, :N_SKIN, :2], n=2, axis=0), axis=-1)
    figures = [error(true, seen), float(np.sqrt((jumps**2).mean()) / iod)]
    for pair in DISTANCES.values():
        first, second = distance(true, pair), distance(seen, pair)
        moves = first.std() > MOVES_IOD * iod
        figures += [
            float(np.corrcoef(first, second)[0, 1]) if moves else np.nan,
            float(np.polyfit(first, second, 1)[0]) if moves else np.nan,
        ]
    return figures


def distance(points: Array, pair: tuple[int, int]) -> Array:
    """Return the distance of two landmarks of (F, 478, 3) faces, (F,) px."""
    first, second = (points[:, i, :2] for i in pair)
    return np.asarray(np.linalg.norm(first - second, axis=-1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--fold", type=int, action="append", required=True)
    given = parser.parse_args()
    people = set().union(*(read_fold(given.folds, fold) for fold in given.fold))
    first = {person_of(video.stem): video for video in reversed(find_clips(given.data))}
    rows: dict[tuple[tuple[float, float], bool], list[list[float]]] = {}
    settings = TrackingSettings()
    with (
        closing(MediaPipeTracker(settings)) as tracker,
        closing(MediaPipeTracker(settings, static=True)) as still,
    ):
        for video in (video for person, video in sorted(first.items()) if person in people):
            images, known = decode_clip(video)[:FRAMES], clip_landmarks(video)
            frame = int(np.flatnonzero(np.isfinite(known[:FRAMES, 0, 0]))[-1])
            true = tracked(images, tracker)
            photo = refine_face(images[frame], known[frame], still)
            for light in LIGHTS:
                rng = np.random.default_rng(1)
                dim = np.stack([darkened(image, *light, rng) for image in images])
                for on in (False, True):
                    with contextlib.nullcontext() if on else as_it_is():
                        figures = compared(true, tracked(dim, tracker))
                        drawn = refine_face(dim[frame], known[frame], still)
                    rows.setdefault((light, on), []).append(
                        [*figures, error(photo[None], drawn[None])]
                    )
    print("| light, noise | brightened | error | jitter | width | gap | photo | lower error |")
    for (light, on), found in sorted(rows.items()):
        track, jitter, *moved, still_error = np.nanmean(found, axis=0)
        lower = np.array(found)[:, [0, -1]] < np.array(rows[light, False])[:, [0, -1]]
        width, gap = (f"{c:.3f}, {s:.2f}" for c, s in zip(moved[::2], moved[1::2], strict=True))
        counts = " and ".join(map(str, lower.sum(axis=0))) + f" of {len(found)}" if on else ""
        print(
            f"| {light[0]:g}, {light[1]:g} | {'yes' if on else 'no'} | {track:.4f} | {jitter:.4f} "
            f"| {width} | {gap} | {still_error:.4f} | {counts} |"
        )


@contextlib.contextmanager
def as_it_is() -> Iterator[None]:
    """Track dim faces as they are."""
    with (
        patch("reenact.face.mediapipe_tracker.brightened", lambda image, face: image),
        patch("reenact.face.face_search.brightened", lambda image, face: image),
    ):
        yield


if __name__ == "__main__":
    main()
