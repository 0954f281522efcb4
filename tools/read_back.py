"""Make `assets/read_back.npz`: how a tracker misreads expressions on drawn faces.

    python -m tools.read_back --data ../shared/faces/train \
        --stills ../shared/faces/stills/human --cache runs/cache

Photos are animated by the motions of people in clips, starting at rest. The shipped generator draws
them, and a tracker for single pictures reads the action units of the result. Their difference from
the action units of the driven landmarks is regressed on the components of the change of shape, with
each pair also mirrored. Each round starts from the previous round's result, because the reading
follows a correction only in part.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.evaluation.clips import crop_target
from reenact.evaluation.face_reader import FaceReader, own_shape
from reenact.expression.bias_correction import ASSET, ReadBack
from reenact.face.action_units import RANGES, measures, mirrored_units
from reenact.face.expression_components import component_weights, expression_components
from reenact.face.geometry import estimate_pose, mirrored_deviation, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.live.drives import landmark_drive
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.training.augmentation import Pair, Still, transfer_motion
from reenact.training.sampling import Clip, load_clips, load_stills, rarity
from reenact.types import Array, Image, Renderer
from tools import ASSETS

RIDGE: Final = 0.01
"""Ridge penalty, as a share of a component's mean square; between .003 and .1 it hardly matters."""

MAX_ERROR: Final = 1.0
"""Activation to which errors are clipped, because the tracker fails on some faces."""

LEFT_ALONE: Final = ("mouth_open", "jaw_drop", "blink_left", "blink_right", "eye_wide")
"""Units that are not corrected: viewers see how far mouth and eyes are open, whatever a tracker
reads, and the fusion handles the lids itself."""

_SIZE_PX: Final = 256


class Reader:
    """Draws pairs with the shipped generator and reads the drawn faces."""

    def __init__(self, face_reader: FaceReader, renderer: Renderer) -> None:
        self._face_reader = face_reader
        self._renderer = renderer

    def read(self, pair: Pair, correction: ReadBack) -> tuple[Array, Array] | None:
        """Return the wanted change of shape (478, 3) and the error of the reading (17,).

        None if no face is found.
        """
        reference = np.ascontiguousarray(pair.reference)
        rest = self._face_reader.track(reference)
        if rest is None:
            return None
        neutral = to_face_frame(rest, estimate_pose(rest))
        wanted = own_shape(rest + pair.truth_landmarks - pair.reference_landmarks, neutral)
        drawn = self._face_reader.track(self._draw(pair, reference, correction))
        if drawn is None:
            return None
        error = measures(own_shape(drawn, neutral), neutral) - measures(wanted, neutral)
        return wanted - neutral, np.clip(error / RANGES, -MAX_ERROR, MAX_ERROR)

    def _draw(self, pair: Pair, reference: Image, correction: ReadBack) -> Image:
        points, driven = pair.reference_landmarks, pair.truth_landmarks
        rest, pose = to_face_frame(points, estimate_pose(points)), estimate_pose(driven)
        deviation = to_face_frame(driven, pose) - rest
        landmarks = to_image(rest + deviation + correction.correction(deviation), pose)
        self._renderer.prepare(crop_target("", reference, points, "warp_unet"))
        return self._renderer.render(landmark_drive(landmarks))


def fit(changes: Array, errors: Array, components: Array) -> Array:
    """Return the errors per unit of each component, (K, 17), by ridge regression.

    Args:
        changes: (N, 478, 3) changes of shape.
        errors: (N, 17) errors of their readings.
        components: (K, 468, 3).
    """
    both = np.concatenate([changes, mirrored_deviation(changes)])
    weights = component_weights(both, components).astype(np.float64)
    results = np.concatenate([errors, mirrored_units(errors)])
    gram = weights.T @ weights + RIDGE * len(weights) * np.eye(weights.shape[1])
    return np.asarray(np.linalg.solve(gram, weights.T @ results), np.float32)


def learn(pairs: Iterator[Pair], count: int, rounds: int, reader: Reader) -> ReadBack:
    """Fit the correction in rounds of `count` pairs."""
    components = expression_components()
    corrected = np.array([name not in LEFT_ALONE for name in ACTION_UNITS], np.float32)
    result = ReadBack(components, np.zeros((len(components), len(ACTION_UNITS)), np.float32))
    for number in range(1, rounds + 1):
        steps = progress_bar(range(count), desc=f"round {number}", unit="pair")
        readings = [reader.read(next(pairs), result) for _ in steps]
        found = [reading for reading in readings if reading is not None]
        changes, errors = (np.stack(part) for part in zip(*found, strict=True))
        mean_error = np.abs(errors * corrected).mean() / corrected.mean()
        print(f"mean error of the reading before round {number}: {mean_error:.4f}")
        result = ReadBack(components, result.errors + corrected * fit(changes, errors, components))
    return result


def acting_pairs(
    clips: Sequence[Clip], stills: Sequence[Still], rng: np.random.Generator
) -> Iterator[Pair]:
    """Yield photos with the motions of people in clips, starting from each clip's usual face."""
    while True:
        clip = clips[rng.integers(len(clips))]
        chances = rarity(clip.landmarks[clip.usable])
        rest, moved = clip.usable[chances.argmin()], rng.choice(clip.usable, p=chances)
        still = stills[rng.integers(len(stills))]
        points = transfer_motion(clip.landmarks[rest], clip.landmarks[moved], still.landmarks)
        yield Pair(still.image, still.landmarks, still.image, points, still.person)


def main() -> None:
    """Learn, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--stills", type=Path, required=True, help="folder of photos to learn on")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=2000, help="number in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, arguments.cache, with_people=True)
    pairs = acting_pairs(
        clips, load_stills([arguments.stills], _SIZE_PX), np.random.default_rng(arguments.seed)
    )
    settings = Settings()
    settings.renderer.name = "warp_unet"
    renderer: Renderer = load("renderers", "warp_unet").make(settings.renderer)
    with FaceReader() as face_reader:
        result = learn(pairs, arguments.pairs, arguments.rounds, Reader(face_reader, renderer))
    np.savez_compressed(arguments.out, errors=result.errors.astype(np.float16))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
