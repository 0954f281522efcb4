"""Measures what brightening gains where the actor sits in dim light (`reenact.face.dim_light`).

    python benchmarks/dim_light.py ../shared/faces/train --folds ../shared/faces/folds.json --fold 0

The first clip of each person is darkened to a share of its light, gets the noise of a camera
(levels, standard deviation) and the blocks of a JPEG, and is tracked as it is and brightened. The
figures are relative to the landmarks of the bright clip, and means over people:

    error           of the landmarks, RMS, iod
    jitter          RMS second difference of the landmarks between frames, iod
    width, gap      correlation and slope of the mouth's width and of the gap between the lips, for
                    people who move it
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Final
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import TrackingSettings
from reenact.evaluation.clips import CLIP_FPS, find_clips
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.topology import MOUTH_CORNERS, N_SKIN, OUTER_EYE_CORNERS
from reenact.targets.clip_files import decode_clip, person_of
from reenact.training.folds import read_fold
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


def compared(true: Array, seen: Array) -> list[float]:
    """Return error, jitter, and for each of `DISTANCES` correlation and slope (NaN: no motion)."""
    both = np.isfinite(true[:, 0, 0]) & np.isfinite(seen[:, 0, 0])
    true, seen = true[both], seen[both]
    iod = float(distance(true, OUTER_EYE_CORNERS).mean())
    off = np.linalg.norm((seen - true)[:, :N_SKIN, :2], axis=-1)
    jumps = np.linalg.norm(np.diff(seen[:, :N_SKIN, :2], n=2, axis=0), axis=-1)
    figures = [float(np.sqrt((x**2).mean()) / iod) for x in (off, jumps)]
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
    with closing(MediaPipeTracker(TrackingSettings())) as tracker:
        for video in (video for person, video in sorted(first.items()) if person in people):
            images = decode_clip(video)
            true = tracked(images, tracker)
            for light in LIGHTS:
                rng = np.random.default_rng(1)
                dim = np.stack([darkened(image, *light, rng) for image in images[:FRAMES]])
                rows.setdefault((light, True), []).append(compared(true, tracked(dim, tracker)))
                with patch("reenact.face.mediapipe_tracker.brightened", lambda image, face: image):
                    found = compared(true, tracked(dim, tracker))
                rows.setdefault((light, False), []).append(found)
    print("| light, noise | brightened | error | jitter | width | gap | people | lower error |")
    for (light, on), figures in sorted(rows.items()):
        error, jitter, *moved = np.nanmean(figures, axis=0)
        lower = np.array(figures)[:, 0] < np.array(rows[light, False])[:, 0]
        width, gap = (f"{c:.3f}, {s:.2f}" for c, s in zip(moved[::2], moved[1::2], strict=True))
        print(
            f"| {light[0]:g}, {light[1]:g} | {'yes' if on else 'no'} | {error:.4f} | {jitter:.4f} "
            f"| {width} | {gap} | {len(figures)} | {lower.sum() if on else ''} |"
        )


if __name__ == "__main__":
    main()
