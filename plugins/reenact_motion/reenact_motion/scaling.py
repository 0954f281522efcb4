"""Draws real and generated motions in a plane, by their geodesic distances (Otberdout 2022).

    python -m reenact_motion.scaling CLIPS OUT.png --folds FOLDS.json --fold 1

Classical multidimensional scaling places the motions so that their mutual distances are preserved
best. Real motions of the clips are rings, as many generated ones are dots, a colour per emotion.
Without `--folds` all people of the clips are drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.expression.emotions import EMOTIONS
from reenact.storage import write_png
from reenact.training.deformation_transfer import load_motions
from reenact.training.people import read_fold
from reenact.types import Image
from reenact_motion import MotionGANSettings
from reenact_motion.measures import by_class
from reenact_motion.segments import find_segments
from reenact_motion.source import MotionGAN
from reenact_motion.srvf import Curve, distance

_SIDE_PX: Final = 900
_MARGIN_PX: Final = 40
_COLOURS: Final = (
    (214, 39, 40), (148, 103, 189), (44, 160, 44), (127, 127, 127), (255, 160, 0), (31, 119, 180),
    (227, 119, 194),
)  # fmt: skip
"""RGB of the emotions but neutral."""


def plane(distances: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the positions (N, 2) that best preserve the given distances (N, N).

    Also returns the share of the squared distances' variance that they preserve.
    """
    count = len(distances)
    centred = np.eye(count) - 1 / count
    products = -0.5 * centred @ distances**2 @ centred
    values, vectors = np.linalg.eigh(products)
    kept = np.maximum(values[[-1, -2]], 0)
    return vectors[:, [-1, -2]] * np.sqrt(kept), float(kept.sum() / np.abs(values).sum())


def scatter(places: NDArray[np.float64], emotions: Sequence[int], real: Sequence[bool]) -> Image:
    """Draw the places, real motions as rings and generated ones as dots."""
    canvas = np.full((_SIDE_PX, _SIDE_PX, 3), 255, np.uint8)
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (_SIDE_PX - 2 * _MARGIN_PX) / max(float((high - low).max()), 1e-9)
    pixels = np.round((places - (low + high) / 2) * scale + _SIDE_PX / 2).astype(int)
    for place, emotion, is_real in zip(pixels.tolist(), emotions, real, strict=True):
        width = 2 if is_real else cv2.FILLED
        cv2.circle(canvas, place, 6 if is_real else 4, _COLOURS[emotion - 1], width, cv2.LINE_AA)
    for row, (name, colour) in enumerate(zip(EMOTIONS[1:], _COLOURS, strict=True)):
        at = (12, 24 + 20 * row)
        cv2.putText(canvas, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return canvas


def with_drawn(real: dict[int, Curve], source: MotionGAN) -> tuple[Curve, list[int], list[bool]]:
    """Return real points of the sphere and as many generated ones, their emotions, and which."""
    points: list[Curve] = []
    emotions: list[int] = []
    is_real: list[bool] = []
    for emotion, found in real.items():
        rng = np.random.default_rng(emotion)
        points += [*found, *(source.point(emotion, rng) for _ in found)]
        emotions += [emotion] * (2 * len(found))
        is_real += [True] * len(found) + [False] * len(found)
    return np.stack(points), emotions, is_real


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, help="folder of clips, NAME.npz with landmarks")
    parser.add_argument("out", type=Path, help="the picture, a .png")
    parser.add_argument("--folds", type=Path, help="JSON file of folds of people")
    parser.add_argument("--fold", type=int, default=0, help="whose motions are drawn")
    parser.add_argument("--weights", default="", help="weight file; empty: the plugin's own")
    options = parser.parse_args(arguments)
    try:
        motions = load_motions(options.clips)
        if options.folds:
            people = read_fold(options.folds, options.fold)
            motions = [one for one in motions if one.identity in people]
        real = by_class(find_segments(motions))
        if not real:
            raise ReenactError(f"{options.clips} has no motion from neutral to an emotion.")
        source = MotionGAN(MotionGANSettings(weights=options.weights))
        points, emotions, is_real = with_drawn(real, source)
        places, kept = plane(distance(points[:, None], points[None]))
        write_png(options.out, scatter(places, emotions, is_real))
    except ReenactError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {sum(is_real)} real motions and as many generated; {kept:.0%} kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
