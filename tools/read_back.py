"""Make `assets/read_back.npz`: what expressions are read as beside themselves.

    python -m tools.read_back --data ../shared/faces/train \
        --stills ../shared/faces/stills/human --cache runs/cache

Faces of clips and photos act what people in the clips do, from rest on; the shipped generator
draws them, and a tracker that looks at single pictures reads the action units off what was drawn.
By how much they differ from the landmarks' own is regressed on the components of the change of
shape, each pair also mirrored. Each later round begins from the answer before: what is read does
not wholly follow a correction.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
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
from reenact.live.pipeline import landmark_drive
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.training.sampling import Pair, PairSampler, load_clips, load_stills
from reenact.types import Array, Image, Renderer

OUT: Final = Path(__file__).parents[1] / "assets" / ASSET

RIDGE: Final = 0.01
"""Of the mean square of a component; from .003 to .1 it hardly matters."""

MOST_READ: Final = 1.0
"""Activation; a greater error is a face that the tracker lost its way on."""

LEFT_ALONE: Final = ("mouth_open", "jaw_drop", "blink_left", "blink_right", "eye_wide")
"""How wide mouths and eyes open is seen by everybody, whatever a tracker reads; to the lids fusion
itself sees."""

_SIZE_PX: Final = 256


class Reader:
    """Draws pairs by the shipped generator and reads the drawn faces."""

    def __init__(self, face_reader: FaceReader, renderer: Renderer) -> None:
        self._face_reader = face_reader
        self._renderer = renderer

    def read(self, pair: Pair, known: ReadBack) -> tuple[Array, Array] | None:
        """Return (478, 3) the change of shape that is wanted and (17,) what is read too much.

        None where no face is found.
        """
        reference = np.ascontiguousarray(pair.reference)
        own = self._face_reader.track(reference)
        if own is None:
            return None
        neutral = to_face_frame(own, estimate_pose(own))
        wanted = own_shape(own + pair.truth_landmarks - pair.reference_landmarks, neutral)
        drawn = self._face_reader.track(self._draw(pair, reference, known))
        if drawn is None:
            return None
        error = measures(own_shape(drawn, neutral), neutral) - measures(wanted, neutral)
        return wanted - neutral, np.clip(error / RANGES, -MOST_READ, MOST_READ)

    def _draw(self, pair: Pair, reference: Image, known: ReadBack) -> Image:
        points, driven = pair.reference_landmarks, pair.truth_landmarks
        rest, pose = to_face_frame(points, estimate_pose(points)), estimate_pose(driven)
        deviation = to_face_frame(driven, pose) - rest
        landmarks = to_image(rest + deviation + known.correction(deviation), pose)
        self._renderer.prepare(crop_target("", reference, points, "warp_unet"))
        return self._renderer.render(landmark_drive(landmarks))


def fit(changes: Array, errors: Array, components: Array) -> Array:
    """Return the (K, 17) errors for one of each component that explain (N, 17) errors best.

    Args:
        changes: (N, 478, 3) of the shape.
        errors: (N, 17), of each.
        components: (K, 468, 3).
    """
    both = np.concatenate([changes, mirrored_deviation(changes)])
    found = component_weights(both, components).astype(np.float64)
    results = np.concatenate([errors, mirrored_units(errors)])
    ridge = RIDGE * len(found) * np.eye(found.shape[1])
    return np.asarray(np.linalg.solve(found.T @ found + ridge, found.T @ results), np.float32)


def learn(pairs: Iterator[Pair], count: int, rounds: int, reader: Reader) -> ReadBack:
    """Return what so many pairs a round tell."""
    components = expression_components()
    heeded = np.array([name not in LEFT_ALONE for name in ACTION_UNITS], np.float32)
    answer = ReadBack(components, np.zeros((len(components), len(ACTION_UNITS)), np.float32))
    for number in range(1, rounds + 1):
        shown = (
            next(pairs) for _ in progress_bar(range(count), desc=f"round {number}", unit="pair")
        )
        seen = [read for pair in shown if (read := reader.read(pair, answer)) is not None]
        changes, errors = (np.stack(part) for part in zip(*seen, strict=True))
        wrong = np.abs(errors * heeded).mean() / heeded.mean()
        print(f"wrongly read before round {number}: {wrong:.4f} in the mean")
        answer = ReadBack(components, answer.errors + heeded * fit(changes, errors, components))
    return answer


def main() -> None:
    """Learn, and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--stills", type=Path, required=True, help="folder of photos to learn on")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--pairs", type=int, default=2000, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    clips = load_clips(arguments.data, arguments.cache, with_people=True)
    sampler = PairSampler(clips, load_stills([arguments.stills], _SIZE_PX), 0.0, acting_share=1.0)
    rng = np.random.default_rng(arguments.seed)
    settings = Settings()
    settings.renderer.name = "warp_unet"
    renderer: Renderer = load("renderers", "warp_unet").make(settings.renderer)
    with FaceReader() as face_reader:
        pairs = iter(lambda: sampler.draw(rng), None)
        answer = learn(pairs, arguments.pairs, arguments.rounds, Reader(face_reader, renderer))
    np.savez_compressed(arguments.out, errors=answer.errors.astype(np.float16))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
