"""Learn `reenact/assets/face_model.npz` from the landmarks of clips of many people.

    python -m tools.face_model --data ../shared/faces/train

Its parameters were chosen on held-out people: `--folds ../shared/faces/folds.json --without 0`
leaves out the people of a fold.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reenact.expression.face_model import ASSET, CHANGES, RELATIVE, FaceModel
from reenact.expression.limits import CONTROLLED, controlled_rows, features
from reenact.expression.measures import MEASURES, measure, resting_shape
from reenact.expression.resting_measures import STEPS
from reenact.face.geometry import mirrored_deviation, to_face_frames
from reenact.targets.clip_files import clip_landmarks, frames_with_face, person_of
from reenact.types import Array
from tools import ASSETS

MODES: Final = 40
FRAMES_OF_A_PERSON: Final = 60
MAX_ANGLE: Final = 0.6
"""Maximum angle of the head to the camera, rad, in frames from which expressions are learned."""

USUAL: Final = (2.0, 98.0)
"""Percentiles of all people's frames between which a measure counts as usual."""

EXTREME: Final = (0.1, 99.9)
"""Percentiles of one person's frames that count as that person's extremes."""

SOFTNESS: Final = 1.25
"""Distance of a bound from the usual range, relative to that of the extreme of all people. Values
approach a bound asymptotically, so it must lie beyond the extreme."""

KERNEL: Final = 0.03
"""Width of the Gaussian that smooths the densities, iod or share."""

Clip = tuple[Array, Array]
"""(F, 478, 3) shapes in the face frame, iod, and (F,) angles to the camera, rad."""


def read_clips(folder: Path) -> dict[str, list[Clip]]:
    """Return each person's clips, by name."""
    people: dict[str, list[Clip]] = {}
    for path in sorted(folder.glob("*.npz")):
        points = clip_landmarks(path)
        points = points[frames_with_face(points)]
        shapes, turns = to_face_frames(points)
        angles = np.linalg.norm(turns, axis=1)
        people.setdefault(person_of(path.stem), []).append((shapes, angles))
    return people


def learn(people: Sequence[list[Clip]]) -> FaceModel:
    """Return the model of these people's clips."""
    rests, differences, shares = [], [], []
    changes: list[list[Array]] = [[] for _ in MEASURES]
    for clips in people:
        shapes = np.concatenate([shapes for shapes, _ in clips])
        angles = np.concatenate([angles for _, angles in clips])
        rest = resting_shape(shapes, angles)
        rests.append(rest)
        frontal = shapes[angles < MAX_ANGLE] if (angles < MAX_ANGLE).sum() > 20 else shapes
        index = np.linspace(0, len(frontal) - 1, min(FRAMES_OF_A_PERSON, len(frontal))).astype(int)
        differences.append(frontal[index] - rest)
        for row in range(len(MEASURES)):
            states = np.concatenate(
                [_distinct(measure(track)[:, row], STEPS[row]) for track, _ in clips]
            )
            at_rest = measure(rest)[row]
            changes[row].append(states / at_rest - 1 if RELATIVE[row] else states - at_rest)
        shares.append((frontal.reshape(len(frontal), -1) @ controlled_rows().T) / features(rest)[1])
    mirrored = [mirrored_deviation(rest) for rest in rests]
    mean, identity = _modes(np.stack(rests + mirrored))
    both = np.concatenate([*differences, *map(mirrored_deviation, differences)])
    expression_mean, expression = _modes(both)
    at_rest = measure(np.stack(rests + mirrored))
    return FaceModel(
        mean=mean,
        identity=identity,
        expression_mean=expression_mean,
        expression=expression,
        rest_mean=np.median(at_rest, axis=0).astype(np.float32),
        rest_deviation=_spread(at_rest),
        change_density=_densities(changes),
        limits=_limits(shares),
    )


def _distinct(values: Array, step: float) -> Array:
    """Return the values of a track that differ by more than a step from the last one returned."""
    distinct = [float(values[0])]
    for value in values[1:]:
        if abs(value - distinct[-1]) > step:
            distinct.append(float(value))
    return np.array(distinct, np.float32)


def _modes(samples: Array) -> tuple[Array, Array]:
    """Return the mean (1434,), and principal directions (MODES, 1434) times their deviations."""
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
    top = vectors[:, ::-1][:, :MODES] * np.sqrt(np.maximum(values[::-1][:MODES], 0))
    return mean.astype(np.float32), np.ascontiguousarray(top.T, dtype=np.float32)


def _spread(at_rest: Array) -> Array:
    """Return robust standard deviations, from the middle 80 % of a normal distribution."""
    low, high = np.percentile(at_rest, [10, 90], axis=0)
    return np.asarray((high - low) / 2.563, dtype=np.float32)


def _densities(changes: Sequence[Sequence[Array]]) -> Array:
    """Return densities (6, 401), with equal weight for each person; left and right are pooled."""
    rows = np.stack([np.mean([_density(values) for values in row], axis=0) for row in changes])
    for left, right in ((0, 1), (4, 5)):
        rows[[left, right]] = rows[[left, right]].mean(axis=0)
    return np.asarray(rows, dtype=np.float32)


def _density(values: Array) -> Array:
    kernel = np.exp(-0.5 * ((CHANGES[:, None] - values) / KERNEL) ** 2)
    return np.asarray(kernel.mean(axis=1) / (KERNEL * np.sqrt(2 * np.pi)))


def _limits(people: Sequence[Array]) -> Array:
    """Return lower bound, usual range and upper bound, (12, 4), of each person's shares, (F, 12).

    Left and right are pooled. The bounds lie beyond the extremes of all people, see `SOFTNESS`.
    """
    both = [np.concatenate([shares, _swapped(shares)]) for shares in people]
    ends = np.stack([np.percentile(shares, EXTREME, axis=0) for shares in both])
    count = 2 * FRAMES_OF_A_PERSON
    sampled = [rows[np.linspace(0, len(rows) - 1, count).astype(int)] for rows in both]
    low, high = np.percentile(np.concatenate(sampled), USUAL, axis=0)
    low[:2] = np.minimum(low[:2], 0)  # eyes may always close fully
    lowest = low + SOFTNESS * (ends[:, 0].min(axis=0) - low)
    highest = high + SOFTNESS * (ends[:, 1].max(axis=0) - high)
    return np.asarray(np.stack([lowest, low, high, highest], axis=1), dtype=np.float32)


def _swapped(shares: Array) -> Array:
    """Return the (F, 12) shares of the mirrored faces."""
    mirrored = shares[:, [1, 0, 2, 3, 5, 4, 6, 9, 10, 7, 8, 11]]
    mirrored[:, [7, 9]] *= -1
    return mirrored


def write(model: FaceModel, path: Path) -> None:
    """Store the model's arrays in half precision."""
    arrays = {name: getattr(model, name).astype(np.float16) for name in FaceModel.__slots__}
    np.savez_compressed(path, **arrays)


def _people_of(folder: Path, left_out: Iterable[str]) -> list[list[Clip]]:
    absent = set(left_out)
    return [clips for name, clips in read_clips(folder).items() if name not in absent]


def main() -> None:
    """Write the asset and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--folds", type=Path, help="folds of people, as in faces/folds.json")
    parser.add_argument("--without", type=int, help="number of the fold to leave out")
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
    arguments = parser.parse_args()
    left_out: list[str] = []
    if arguments.folds is not None and arguments.without is not None:
        left_out = json.loads(arguments.folds.read_text())["folds"][arguments.without]
    people = _people_of(arguments.data, left_out)
    model = learn(people)
    write(model, arguments.out)
    print(f"{arguments.out}: {len(people)} people, {arguments.out.stat().st_size // 1024} KiB")
    for name, row in zip(CONTROLLED, model.limits, strict=True):
        print(f"  {name:13s}" + "".join(f"{value:8.3f}" for value in row))
    for name, middle, spread in zip(MEASURES, model.rest_mean, model.rest_deviation, strict=True):
        print(f"  {name:13s}{middle:8.3f} ± {spread:.3f} at rest")


if __name__ == "__main__":
    main()
