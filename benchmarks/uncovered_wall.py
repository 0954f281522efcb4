"""Measures how close a filled background comes to the wall that a moved head uncovers.

    python benchmarks/uncovered_wall.py FOLDER [--json FILE] [--against FILE]

The background of each clip's first frame is filled with texture and smoothly, and compared with the
wall of sixteen later frames that the first one hides: psnr, mean and standard error over clips.
Clips that show no such wall, or whose background changes by itself, are left out. `--against` gives
the mean difference from an earlier run, perhaps of another version.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.evaluation import metrics
from reenact.evaluation.clips import Clip, find_clips, read_clip
from reenact.face.segmentation import person_masks
from reenact.rendering.background import hidden_in
from reenact.rendering.inpainting import diffused, textured
from reenact.storage import write_json
from reenact.types import Image

FILLS: Final = {"textured": textured, "diffused": diffused}
FRAMES: Final = 16
MIN_PX: Final = 300
"""Uncovered px in all frames, below which a clip is left out."""

STATIC: Final = 6.0
"""Largest mean change of the wall that both frames show, levels."""

NO_PERSON: Final = 0.02
"""Share of a person in a px, below which it shows the wall."""


def measure(clip: Clip) -> dict[str, float] | None:
    """Return the psnr of each fill, or None if the clip uncovers too little of a static wall."""
    chosen = np.linspace(1, len(clip.usable) - 1, FRAMES).round().astype(int)
    first, *later = (np.asarray(clip.images[i]) for i in clip.usable[[0, *chosen]])
    person, *people = person_masks([first, *later])
    hidden = hidden_in(first, np.asarray(person * 255, np.uint8))
    filled = {name: fill(first, hidden) for name, fill in FILLS.items()}
    true: list[Image] = []
    drawn: dict[str, list[Image]] = {name: [] for name in FILLS}
    for picture, mask in zip(later, people, strict=True):
        wall = cv2.erode((mask < NO_PERSON).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        both, uncovered = wall & (hidden == 0), wall & (hidden > 0)
        if both.any() and cv2.absdiff(picture, first)[both].mean() <= STATIC:
            true.append(picture[uncovered])
            for name, background in filled.items():
                drawn[name].append(background[uncovered])
    if sum(map(len, true)) < MIN_PX:
        return None
    return {
        name: metrics.psnr(np.concatenate(true), np.concatenate(pixels))
        for name, pixels in drawn.items()
    }


def main(arguments: argparse.Namespace) -> None:
    """Print a table's row for each fill."""
    measured = {video.stem: measure(read_clip(video)) for video in find_clips(arguments.folder)}
    rows = {name: found for name, found in measured.items() if found}
    before = json.loads(arguments.against.read_text("utf-8")) if arguments.against else {}
    for fill in FILLS:
        found = [row[fill] - (before[clip][fill] if before else 0) for clip, row in rows.items()]
        error = np.std(found, ddof=1) / len(found) ** 0.5
        print(f"| {fill} | {np.mean(found):.2f} ± {error:.2f} ({len(found)} clips) |")
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of clips")
    parser.add_argument("--json", type=Path, help="output file")
    parser.add_argument("--against", type=Path, help="earlier --json file to compare with")
    main(parser.parse_args())
