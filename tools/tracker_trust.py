"""Learn `reenact/assets/tracker_trust.npz`: what tells covered from open mouths and eyes.

    python -m tools.tracker_trust --data ../shared/faces/train

Hands and cards are laid over the first clip of each person (`evaluation.covered`) and tracked.
Logistic regression then tells frames with a covered part from open ones and from all clips. With
`--folds ../shared/faces/folds.json --without 0` people are left out, and judged instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

import reenact
from reenact.config import TrackingSettings
from reenact.evaluation.clips import CLIP_FPS, find_clips, read_clip
from reenact.evaluation.covered import COVERS, track_covered
from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.tracker_trust import ASSET, DOUBT, features
from reenact.face.geometry import estimate_pose, mirrored_deviation, to_face_frame
from reenact.registry import load
from reenact.targets.clip_files import load_landmarks
from reenact.types import Array, Pose

EVERY: Final = 3
"""Of frames that follow one another so many are alike."""

PENALTY: Final = 200.0
MAX_FRAMES: Final = 200


def deviations(points: Array) -> Iterator[tuple[Array, Pose]]:
    """Yield each frame's (478, 3) deviation from the neutral as known by then, iod, and pose."""
    identity = ActorIdentity()
    for number, one in enumerate(points):
        pose = estimate_pose(one)
        neutral = identity.observe(to_face_frame(one, pose), pose, number / CLIP_FPS).shape
        pose = estimate_pose(one, neutral)
        yield to_face_frame(one, pose) - neutral, pose


def samples_of(videos: Sequence[Path]) -> dict[str, tuple[Array, Array]]:
    """Return of each part the `features` of many frames, and in which of them it is covered."""
    samples: dict[str, tuple[list[Array], list[bool]]] = {"mouth": ([], []), "eye": ([], [])}

    def add(part: str, deviation: Array, pose: Pose, covered: bool) -> None:
        samples[part][0].append(features(deviation, pose))
        samples[part][1].append(covered)

    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    seen: set[str] = set()
    for video in videos:
        points = load_landmarks(video.with_suffix(".npz"))
        points = points[np.isfinite(points).all(axis=(1, 2))][:MAX_FRAMES]
        for deviation, pose in list(deviations(points))[::EVERY]:
            for part in samples:
                add(part, deviation, pose, False)
                add(part, mirrored_deviation(deviation), pose, False)
        person = video.stem.split("__")[0]
        if person in seen:
            continue
        seen.add(person)
        clip = read_clip(video)
        for cover in COVERS:
            run = track_covered(clip, cover, tracker)
            if run is None:
                continue
            part = cover.split("_")[1]
            for number, (deviation, pose) in enumerate(deviations(run.covered)):
                if run.share[number] > 0.6:
                    add(part, deviation, pose, True)
                    if part == "mouth":
                        add(part, mirrored_deviation(deviation), pose, True)
                elif run.share[number] == 0 and not number % EVERY:
                    add(part, deviation, pose, False)
    tracker.close()
    return {part: (np.stack(rows), np.array(covered)) for part, (rows, covered) in samples.items()}


def logistic(rows: Array, positive: Array) -> Array:
    """Return weights and constant of a ridge logistic regression; both classes weigh the same."""
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    design = np.column_stack([(rows - mean) / deviation, np.ones(len(rows))])
    weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()) * len(rows)
    ridge = np.append(np.full(rows.shape[1], PENALTY), 1e-6)
    solution = np.zeros(design.shape[1])
    for _ in range(25):
        likely = 1 / (1 + np.exp(-np.clip(design @ solution, -30, 30)))
        slope = design.T @ (weight * (likely - positive)) + ridge * solution
        curve = (design * (weight * likely * (1 - likely))[:, None]).T @ design + np.diag(ridge)
        solution -= np.linalg.solve(curve, slope)
    scaled = solution[:-1] / deviation
    return np.append(scaled, solution[-1] - scaled @ mean).astype(np.float32)


def main() -> None:
    """Learn the weights and store them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips")
    parser.add_argument(
        "--out", type=Path, default=Path(reenact.__file__).parent / "assets" / ASSET
    )
    parser.add_argument("--folds", type=Path, help="folds of people, as in faces/folds.json")
    parser.add_argument("--without", type=int, help="number of the fold to leave out and judge")
    arguments = parser.parse_args()
    videos = find_clips(arguments.data)
    away: list[str] = []
    if arguments.folds is not None and arguments.without is not None:
        away = json.loads(arguments.folds.read_text())["folds"][arguments.without]
    known = samples_of([one for one in videos if one.stem.split("__")[0] not in away])
    weights = {part: logistic(*found) for part, found in known.items()}
    if not away:
        np.savez(arguments.out, **weights)
        return
    unknown = samples_of([one for one in videos if one.stem.split("__")[0] in away])
    for (part, (rows, covered)), (doubt, _) in zip(unknown.items(), DOUBT, strict=False):
        doubted = rows @ weights[part][:-1] + weights[part][-1] > doubt
        print(
            f"{part}: {doubted[covered].mean():.3f} of the covered frames are doubted, "
            f"{doubted[~covered].mean():.4f} of the open ones"
        )


if __name__ == "__main__":
    main()
