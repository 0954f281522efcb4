"""Measures whether the generator draws the motion of brows, lids, irises and mouth in full.

    python benchmarks/drawn_motion.py ../shared/faces/train --folds ../shared/faces/folds.json \
        --fold 1 2 3 4

Frames of each person's first clip are drawn from its first frame, by their own landmarks. The
motion of one part is then multiplied by a gain, and the part's psnr is compared with that at gain
1: means over people ± standard error, over frames in which the part moves. If a generator drew a
motion too weakly, a gain above 1 would be nearer to the true picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.evaluation import metrics
from reenact.evaluation.clips import Clip, find_clips, first_frame_target, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.face.action_units import BROWS, LID_PAIRS_LEFT, LID_PAIRS_RIGHT
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.regions import IRISES, iris_motion, point_gains
from reenact.face.topology import LIPS_OUTER
from reenact.live.drives import landmark_drive
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.targets.clip_files import person_of
from reenact.training.people import read_fold
from reenact.types import Array, Image, Renderer

GAINS: Final = (0.7, 0.85, 1.15, 1.3, 1.5)

_EYES: Final = np.unique([LID_PAIRS_RIGHT, LID_PAIRS_LEFT])
PARTS: Final = {
    "brows": (np.unique(BROWS), 0.02, 0.06),
    "eyes": (_EYES, 0.02, 0.03),
    "irises": (_EYES, 0.02, 0.0),
    "mouth": (np.unique(LIPS_OUTER), 0.05, 0.05),
}
"""The landmarks of each part, the least mean motion of a measured frame, and the margin around
them in which the picture is compared, iod. The eyes are the lids."""


def with_gain(deviation: Array, part: str, gain: float) -> Array:
    """Return a (478, 3) deviation from the photo with one part's motion multiplied by a gain."""
    gains = {region: gain if region == part else 1.0 for region in ("mouth", "eyes", "brows")}
    scaled = point_gains(**gains) * deviation
    scaled[IRISES] = deviation[IRISES]
    if part == "irises":
        scaled[IRISES] += np.float32(gain - 1) * iris_motion(deviation)
    return scaled


def motion_of(deviation: Array, part: str) -> float:
    """Return how far a part has moved, iod."""
    moved = iris_motion(deviation) if part == "irises" else deviation[PARTS[part][0]]
    return float(np.linalg.norm(moved[:, :2], axis=1).mean())


def box_of(points: Array, part: str, iod_px: float, size: int) -> tuple[slice, slice]:
    """Return the rows and columns of a picture in which a part is compared."""
    chosen, _, margin = PARTS[part]
    low = np.clip(points[chosen, :2].min(axis=0) - margin * iod_px, 0, size).astype(int)
    high = np.clip(points[chosen, :2].max(axis=0) + margin * iod_px, 0, size).astype(int)
    return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)


def changes(clip: Clip, renderer: Renderer, frames: int) -> dict[str, Array]:
    """Return the mean change of each part's psnr with each of `GAINS`, dB, if it moves."""
    target = first_frame_target(clip, "warp_unet")
    renderer.prepare(target)
    pose = estimate_pose(target.neutral)
    shape = to_face_frame(target.neutral, pose)
    later = clip.usable[1:]
    found: dict[str, list[list[float]]] = {}
    for i in later[np.linspace(0, len(later) - 1, min(frames, len(later))).round().astype(int)]:
        points = np.ascontiguousarray(clip.landmarks[i])
        pose, true = estimate_pose(points, shape), np.asarray(clip.images[i])
        deviation = to_face_frame(points, pose) - shape
        plain = drawn(renderer, to_image(shape + deviation, pose))
        for part, (_, least, _) in PARTS.items():
            if motion_of(deviation, part) < least:
                continue
            box = box_of(points, part, float(pose.scale), len(true))
            faces = (to_image(shape + with_gain(deviation, part, gain), pose) for gain in GAINS)
            scaled = (drawn(renderer, face) for face in faces)
            before = metrics.psnr(true[box], plain[box])
            row = [metrics.psnr(true[box], picture[box]) - before for picture in scaled]
            found.setdefault(part, []).append(row)
    return {part: np.mean(rows, axis=0) for part, rows in found.items()}


def drawn(renderer: Renderer, face: Array) -> Image:
    """Draw a face of (478, 3) crop px by itself."""
    renderer.reset()
    return renderer.render(landmark_drive(face))


def main(arguments: argparse.Namespace) -> None:
    """Print the table."""
    people = set().union(*(read_fold(arguments.folds, fold) for fold in arguments.fold))
    videos = [
        one for one in find_clips(arguments.data, pattern="*__01") if person_of(one.stem) in people
    ]
    renderer = load("renderers", "warp_unet").make(Settings().renderer)
    rows: dict[str, list[Array]] = {part: [] for part in PARTS}
    with FaceReader() as reader:
        for video in progress_bar(videos, desc="clips", unit="clip"):
            clip = reader.refine_photo(read_clip(video))
            for part, change in changes(clip, renderer, arguments.frames).items():
                rows[part].append(change)
    print(f"| | people | {' | '.join(map(str, GAINS))} |")
    for part, found in rows.items():
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
        cells = [f"{m:+.2f} ± {s:.2f}" for m, s in zip(mean, spread, strict=True)]
        print(f"| {part} | {len(found)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--fold", type=int, nargs="+", default=[0], help="folds to measure")
    parser.add_argument("--frames", type=int, default=10, help="frames of each clip")
    main(parser.parse_args())
