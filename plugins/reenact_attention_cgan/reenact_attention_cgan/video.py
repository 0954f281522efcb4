"""Makes an expression video of a photo, and the SSIM of its consecutive frames (Wang 2025, §III-D).

    python -m reenact_attention_cgan.video PHOTO OUT.mp4 --emotion happy

The intensity rises from neutral to intense and falls again. `OUT.csv` gets a row for each frame:
its intensity, and its SSIM to the frame before (Fig. 8). `--weights` selects a weight file, and
`--renderer` another renderer that is driven by emotions.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from reenact.cli.arguments import add_size, number
from reenact.config import RendererSettings
from reenact.errors import ReenactError
from reenact.evaluation.emotions import emotion_drive, photo_target
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import ssim
from reenact.expression.emotions import EMOTIONS
from reenact.imaging import smoothstep
from reenact.lifecycle import separate_python_stderr
from reenact.registry import load
from reenact.sinks.video_file import write_video
from reenact.storage import atomic_write
from reenact.types import Image, Renderer, Target

FPS = 25.0


def intensities(frames: int) -> list[float]:
    """Return the intensity of each frame: up to 1 in the middle, and down again."""
    ramp = 1 - np.abs(np.linspace(-1, 1, frames))
    return [float(smoothstep(one)) for one in ramp]


def draw(
    renderer: Renderer, target: Target, emotion: str, levels: Sequence[float]
) -> tuple[list[Image], list[float]]:
    """Return the frames, and the SSIM of each but the first to the one before."""
    renderer.prepare(target)
    frames = [renderer.render(emotion_drive(target, emotion, level)) for level in levels]
    return frames, [ssim(*pair) for pair in pairwise(frames)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path, help="OUT.mp4; OUT.csv is written beside it")
    parser.add_argument("--emotion", choices=EMOTIONS[1:], default="happy")
    parser.add_argument("--renderer", default="attention_cgan")
    parser.add_argument("--weights", default="", help="weight file; empty: the renderer's own")
    parser.add_argument("--frames", type=number(int, 3, 10_000), default=75)
    add_size(parser, "video")
    options = parser.parse_args(arguments)
    try:
        settings = RendererSettings(name=options.renderer, weights=options.weights)
        renderer = load("renderers", options.renderer).make(settings)
        with FaceReader() as reader:
            target = photo_target(options.photo, options.size, options.renderer, reader)
        levels = intensities(options.frames)
        frames, alike = draw(renderer, target, options.emotion, levels)
        write_video(options.out, frames, FPS)
        table = options.out.with_suffix(".csv")
        with atomic_write(table) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", "intensity", "ssim"])
            for index, level in enumerate(levels):
                likeness = f"{alike[index - 1]:.5f}" if index else ""
                writer.writerow([index, f"{level:.4f}", likeness])
    except ReenactError as error:
        print(error, file=sys.stderr)
        return 2
    least, mean = min(alike), np.mean(alike)
    print(f"{options.out}: SSIM of consecutive frames at least {least:.4f}, {mean:.4f} on average")
    return 0


if __name__ == "__main__":
    separate_python_stderr()  # MediaPipe's own messages say nothing to the user
    sys.exit(main())
