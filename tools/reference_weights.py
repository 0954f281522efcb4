"""Measure what a generator loses by drawing a face from an unlike reference.

    python -m tools.reference_weights --data ../shared/faces/train

References are chosen from the first 60 % of each clip, as those of a target are. Each of them draws
the same frames of the rest. Its loss in PSNR (mean of picture and face) against the frame's other
references is explained by the differences between the faces, by non-negative least squares. The
script prints `reference_ranking.DECIBELS` and how many dB a choice by them loses against the best
reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from reenact import registry
from reenact.config import RendererSettings
from reenact.evaluation import metrics
from reenact.evaluation.clips import Clip, find_clips, first_frame_target, read_clip
from reenact.live.drives import landmark_drive
from reenact.progress import progress_bar
from reenact.rendering.reference_ranking import DECIBELS, DIFFERENCES, SeenFaces, differences
from reenact.targets.reference_selection import choose_references, measure_look
from reenact.types import Image, Renderer

REFERENCES_SHARE: Final = 0.6
MIN_REFERENCES: Final = 40
"""A clip with fewer frames to choose references from is left out."""

FRAMES: Final = 8
"""Number of frames drawn of each clip."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """N frames of one clip, each drawn from K references.

    Attributes:
        differences: (K, N, 10), see `DIFFERENCES`.
        decibels: (K, N) PSNR, the mean of picture and face.
    """

    differences: NDArray[np.float32]
    decibels: NDArray[np.float64]

    def lost(self, weights: NDArray[Any]) -> float:
        """Return the mean loss in dB of the nearest reference by these weights against the best."""
        nearest = (self.differences @ weights).argmin(axis=0)
        got = self.decibels[nearest, np.arange(len(nearest))]
        return float((self.decibels.max(axis=0) - got).mean())


def draw(clip: Clip, renderer: Renderer) -> Drawn | None:
    """Draw frames of a clip's end from references of its beginning; None if it is too short."""
    early = clip.usable[clip.usable < REFERENCES_SHARE * len(clip.images)]
    late = clip.usable[len(early) :]
    if len(early) < MIN_REFERENCES or len(late) < FRAMES:
        return None
    frames = late[np.linspace(0, len(late) - 1, FRAMES).astype(int)]
    chosen = early[
        choose_references([measure_look(clip.images[i], clip.landmarks[i]) for i in early])
    ]
    target = first_frame_target(clip, "")
    decibels = np.empty((len(chosen), FRAMES))
    for row, reference in enumerate(chosen.tolist()):
        alone = slice(reference, reference + 1)
        renderer.prepare(
            replace(target, references=clip.images[alone], landmarks=clip.landmarks[alone])
        )
        for column, frame in enumerate(frames.tolist()):
            drawn = renderer.render(landmark_drive(clip.landmarks[frame]))
            decibels[row, column] = _likeness(clip, frame, drawn)
    seen = SeenFaces.of(clip.landmarks[chosen])
    return Drawn(np.stack([differences(seen, clip.landmarks[i]) for i in frames], 1), decibels)


def _likeness(clip: Clip, frame: int, drawn: Image) -> float:
    """Return the mean PSNR of the whole picture and the face."""
    true = np.asarray(clip.images[frame])
    whole = metrics.psnr(true, drawn)
    box = metrics.face_box(clip.landmarks[frame], (true.shape[1], true.shape[0]))
    return whole if box is None else (whole + metrics.psnr(true[box], drawn[box])) / 2


def fit(clips: Sequence[Drawn]) -> NDArray[np.float64]:
    """Return how many dB a unit of each difference costs, (10,)."""
    causes = [d.differences - d.differences.mean(axis=0) for d in clips]
    losses = [d.decibels.mean(axis=0) - d.decibels for d in clips]
    weights, _ = nnls(
        np.concatenate([cause.reshape(-1, len(DIFFERENCES)) for cause in causes]),
        np.concatenate([loss.ravel() for loss in losses]),
    )
    return np.asarray(weights, dtype=np.float64)


def main() -> None:
    """Draw, fit and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/faces/train"))
    parser.add_argument("--size", type=int, default=256, help="side of the clips, px")
    arguments = parser.parse_args()
    renderer = registry.load("renderers", "warp_unet").make(RendererSettings(size=arguments.size))
    clips = []
    for video in progress_bar(find_clips(arguments.data), unit="clip"):
        drawn = draw(read_clip(video), renderer)
        if drawn is not None:
            clips.append(drawn)
    weights = fit(clips)
    print("  ".join(f"{name} {w:.1f}" for name, w in zip(DIFFERENCES, weights, strict=True)))
    for label, chosen in (("these", weights), ("those of the program", DECIBELS)):
        lost = np.mean([drawn.lost(chosen) for drawn in clips])
        print(f"choosing by {label} loses {lost:.2f} dB against the best reference")


if __name__ == "__main__":
    main()
