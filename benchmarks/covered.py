"""Measures jumps, and the use of the face's limits, while hands and cards cover mouths and eyes.

    python benchmarks/covered.py FOLDER --people 6 [--trust FILE] [--limits FILE]

Covers are drawn over the first clip of each person, and the clip is tracked, as in `evaluate
--protocol wild`, which defines the figures. For held-out people, `tools.tracker_trust` and
`tools.face_model` with `--folds FILE --without NUMBER --out FILE` learn scores and limits from the
other folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from reenact.config import FusionSettings, TrackingSettings
from reenact.evaluation.clips import find_clips, read_clip
from reenact.evaluation.covered import COVERS, track_covered
from reenact.evaluation.metrics import Figures, mean_figures
from reenact.evaluation.wild import Stage, next_person, read_performance
from reenact.expression import face_model, tracker_trust
from reenact.registry import load
from reenact.targets.clip_files import person_of


def main() -> None:
    """Print the mean figures of each cover, and the worst excess and share with a limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of clips")
    parser.add_argument("--people", type=int, help="number of people (default: all)")
    parser.add_argument("--trust", type=Path, help="scores to use instead of the shipped ones")
    parser.add_argument("--limits", type=Path, help="face model with limits to use instead")
    options = parser.parse_args()
    if options.trust:
        tracker_trust.ASSET = str(options.trust.resolve())  # type: ignore[misc]
    if options.limits:
        known = face_model.face_model().limits
        known.setflags(write=True)
        with np.load(options.limits) as archive:
            known[:] = archive["limits"]
    first = {person_of(video.stem): video for video in reversed(find_clips(options.folder))}
    videos = [first[person] for person in sorted(first)][: options.people]
    clips = [read_performance(video) for video in videos]
    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    found: dict[str, list[Figures]] = {cover: [] for cover in COVERS}
    for number, (clip, video) in enumerate(zip(clips, videos, strict=True)):
        stage = Stage(clip, next_person(clips, number).points[0], FusionSettings())
        for cover in COVERS:
            run = track_covered(read_clip(video), cover, tracker)
            if run is not None:
                found[cover].append(stage.covered(run, cover))
    tracker.close()
    for name, runs in found.items():
        means = mean_figures(runs)
        print(
            name, len(runs), *(f"{figure} {value:.4f}" for figure, value in means.items() if value)
        )
        for figure in ("excess", "limits"):
            print(f"  worst {figure} {max(run[figure] or 0 for run in runs):.4f}")


if __name__ == "__main__":
    main()
