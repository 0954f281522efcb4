"""How steady and how true runs of the live generator are, by how late shoulders follow the head.

    python benchmarks/steadiness.py ../shared/faces/val 0 0.3 0.4 0.6

Runs of 60 frames, drawn and smoothed as the live path does, against the true ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reenact import registry
from reenact.config import Settings, SmoothingSettings
from reenact.evaluation import metrics
from reenact.evaluation.clips import find_clips, first_frame_target, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, mean_figures
from reenact.evaluation.self_reenactment import PreparedClip, prepare_clip, render_frames
from reenact.types import Image

CHIN: Final = 152
MIN_ROWS: Final = 10
"""Rows below the chin that are enough to be measured."""


def below_chin(shot: PreparedClip, true: Sequence[Image], drawn: Sequence[Image]) -> float | None:
    """Return the mean PSNR of what lies 6 px and more below the chin, None where nothing does."""
    found = []
    for frame, of_true, of_drawn in zip(shot.run, true, drawn, strict=True):
        first = int(shot.clip.landmarks[frame, CHIN, 1]) + 6
        if first < len(of_true) - MIN_ROWS:
            found.append(metrics.psnr(of_true[first:], of_drawn[first:]))
    return float(np.mean(found)) if found else None


def figures_of(shot: PreparedClip, drawn: Sequence[Image]) -> Figures:
    """Compare a run with the true one."""
    true = shot.true_run()
    of_drawn, of_true = metrics.consecutive_ssim(drawn), metrics.consecutive_ssim(true)
    more = None if of_drawn is None or of_true is None else of_drawn - of_true
    return {
        "psnr": float(np.mean([metrics.psnr(*pair) for pair in zip(true, drawn, strict=True)])),
        "psnr below the chin": below_chin(shot, true, drawn),
        "consecutive_ssim over the true": more,
        "flicker": metrics.flicker(true, drawn),
    }


def main(data: Path, times: Sequence[float]) -> None:
    """Print a table."""
    renderer = registry.load("renderers", "warp_unet").make(Settings().renderer)
    rows: dict[float, list[Figures]] = {time: [] for time in times}
    with FaceReader() as reader:
        shots = [prepare_clip(read_clip(video), reader) for video in find_clips(data)]
    for shot in shots:
        renderer.prepare(first_frame_target(shot.clip, "warp_unet"))
        for time, row in rows.items():
            smoothing = SmoothingSettings(body_time=time)
            row.append(figures_of(shot, render_frames(shot, renderer, shot.run, smoothing)))
    for number, (time, of_clips) in enumerate(rows.items()):
        means = mean_figures(of_clips)
        if number == 0:
            print("| body_time, s |", *(f"{name} |" for name in means))
        print(
            f"| {time} |", *("– |" if mean is None else f"{mean:.4f} |" for mean in means.values())
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    parser.add_argument("times", type=float, nargs="+", help="values of smoothing.body_time, s")
    arguments = parser.parse_args()
    main(arguments.data, arguments.times)
