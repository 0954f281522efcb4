"""Measures how much the trust in the tracker holds back faces that nothing covers.

    python benchmarks/uncovered.py FOLDER [--trust FILE] [--interval 2]

The landmarks stored beside each clip are judged as in a live run, without the filters. The errors
are mean distances between what is believed and what was tracked, iod, and the correlation is that
of the opening of the mouth. `mouth_doubted` and `eye_doubted` are the shares of frames in which a
part is not fully trusted. The clips with the largest errors are printed first. For held-out people,
`tools.tracker_trust` with `--folds FILE --without NUMBER --out FILE` learns scores from the other
folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from reenact.evaluation.clips import CLIP_FPS, find_clips
from reenact.evaluation.metrics import Figures, mean_figures
from reenact.expression import tracker_trust
from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.measures import LID_RIGHT, MOUTH_OPEN, MOUTH_WIDTH, measure
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.targets.clip_files import clip_landmarks, frames_with_face
from reenact.types import Array, Landmarks

SIZE = (256, 256)


def held_back(points: Array, fps: float) -> Figures:
    """Compare what is believed of (F, 478, 3) px landmarks with what was tracked."""
    identity, judge = ActorIdentity(), tracker_trust.TrackerTrust()
    tracked, believed, trust = [], [], []
    for number, face in enumerate(points):
        pose = estimate_pose(face)
        neutral = identity.observe(to_face_frame(face, pose), pose, number / fps).shape
        pose = estimate_pose(face, neutral)
        deviation = to_face_frame(face, pose) - neutral
        trust.append(judge.judge(deviation, pose, Landmarks(face, 1.0, SIZE), 1 / fps))
        tracked.append(deviation)
        believed.append(judge.believe(deviation, 1 / fps))
    true, seen = measure(np.stack(tracked)), measure(np.stack(believed))
    error, doubted = np.abs(true - seen).mean(axis=0), (np.stack(trust) < 1).mean(axis=0)
    return {
        "opening_error": float(error[MOUTH_OPEN]),
        "width_error": float(error[MOUTH_WIDTH]),
        "lid_error": float(error[LID_RIGHT]),
        "opening_correlation": float(np.corrcoef(true[:, MOUTH_OPEN], seen[:, MOUTH_OPEN])[0, 1]),
        "mouth_doubted": float(doubted[0]),
        "eye_doubted": float(doubted[1]),
    }


def main() -> None:
    """Print the figures of the clips that are held back most, and the mean of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of clips")
    parser.add_argument("--trust", type=Path, help="scores to use instead of the shipped ones")
    parser.add_argument("--interval", type=int, default=1, help="frames from one to the next used")
    options = parser.parse_args()
    if options.trust:
        tracker_trust.ASSET = str(options.trust.resolve())  # type: ignore[misc]
    rows: dict[str, Figures] = {}
    for video in find_clips(options.folder):
        points = clip_landmarks(video)
        points = points[frames_with_face(points)][:: options.interval]
        rows[video.stem] = held_back(points, CLIP_FPS / options.interval)
    worst = sorted(rows, key=lambda name: -(rows[name]["opening_error"] or 0))[:5]
    for name, row in [*((one, rows[one]) for one in worst), ("mean", mean_figures(rows.values()))]:
        print(name, *(f"{figure} {value:.4f}" for figure, value in row.items()))


if __name__ == "__main__":
    main()
