"""Measures the face reader's errors on slightly changed true pictures.

    python benchmarks/face_reader_floor.py ../shared/faces/val

No renderer can be expected to do better than the true picture with camera noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from reenact.evaluation.clips import find_clips, read_clip
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures, mean_figures
from reenact.evaluation.self_reenactment import prepare_clip, tracked_figures
from reenact.types import Image

FIGURES = ("mouth_open_error", "au_error", "akd_px")


def noisy(picture: Image) -> Image:
    """Add noise with a standard deviation of 3 levels."""
    noise = np.random.default_rng(0).normal(0, 3, picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


def shifted(picture: Image) -> Image:
    """Move the picture by half a pixel in both directions."""
    affine = np.array([[1, 0, 0.5], [0, 1, 0.5]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    moved = cv2.warpAffine(
        picture, affine, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def compressed(picture: Image) -> Image:
    """Compress the picture as JPEG with quality 80."""
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def blurred(picture: Image) -> Image:
    """Blur the picture with a standard deviation of 0.7 px."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.uint8)


CHANGES: tuple[Callable[[Image], Image], ...] = (noisy, shifted, compressed, blurred)


def main(data: Path) -> None:
    """Print a table of the figures for each change."""
    rows: dict[str, list[Figures]] = {}
    with FaceReader() as reader:
        for video in find_clips(data):
            prepared = prepare_clip(read_clip(video), reader)
            true = [np.asarray(prepared.clip.images[i]) for i in prepared.scored]
            for change in CHANGES:
                figures = tracked_figures(prepared, [change(picture) for picture in true], reader)
                rows.setdefault(change.__name__, []).append(figures)
    print("| the true picture |", *(f"{name} |" for name in FIGURES))
    for name, clips in rows.items():
        figures = mean_figures(clips)
        means = [figures[figure] for figure in FIGURES]
        print(f"| {name} |", *("– |" if mean is None else f"{mean:.4f} |" for mean in means))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    main(parser.parse_args().data)
