"""Compares the paper's four regressions, their λ, σ and patches, on held-out people of each fold.

    python -m reenact_pixel_regression.cross_validation CLIPS FOLDS.json

FOLDS.json holds lists of people under `folds`. The figure is the PSNR of the face, dB, in the
common frame, at every `STRIDE`-th pixel, averaged over people and then over expressions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import ReenactError
from reenact.evaluation.metrics import markdown_table
from reenact.training.people import read_folds
from reenact.types import Array
from reenact_pixel_regression.alignment import SIZE_PX, frame_points
from reenact_pixel_regression.pairs import AlignedPairs, align, motion_of, read_pairs
from reenact_pixel_regression.portable import weight
from reenact_pixel_regression.regression import (
    gaussian_kernel,
    masked_ridge,
    pixel_ridge,
    psnr_db,
    ridge_duals,
)
from reenact_pixel_regression.training import PixelRegressionTraining

STRIDE: Final = 8
"""Distance of the compared pixels; a kernel regression of all pixels would take hours."""

PENALTIES: Final = (0.004, 0.04, 0.4, 4.0)
WIDTHS: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
RADII: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class Choice:
    """A regression with its settings; those that it does not have are 0."""

    method: str
    penalty: float = 0.0
    width: float = 0.0
    radius: int = 0


def choices() -> Iterator[Choice]:
    """Yield everything that is compared."""
    yield Choice("copy")
    for penalty in PENALTIES:
        yield Choice("global ridge", 1000 * penalty)
        yield Choice("pixel ridge", penalty)
        yield from (Choice("masked ridge", penalty, radius=one) for one in RADII)
    for penalty in PENALTIES:
        yield from (Choice("pixel kernel", penalty, width=one) for one in WIDTHS)


def predict(choice: Choice, x: Array, t: Array, queries: Array) -> Array:
    """Return the faces (M, S, S, 3) of queries at every `STRIDE`-th pixel.

    Args:
        choice: the regression.
        x: (N, S, S, 3) neutral faces to learn from, 0..1.
        t: (N, S, S, 3) the same with the expression.
        queries: (M, S, S, 3) neutral faces of others.
    """
    few = (slice(None), slice(STRIDE // 2, None, STRIDE), slice(STRIDE // 2, None, STRIDE))
    if choice.method == "copy":
        return queries[few]
    if choice.method == "global ridge":
        flat, wanted = x.reshape(len(x), -1).astype(float), t[few].reshape(len(t), -1)
        duals = ridge_duals(flat, wanted.astype(float), choice.penalty)
        drawn = queries.reshape(len(queries), -1) @ flat.T @ duals
        return np.asarray(drawn.reshape(queries[few].shape), np.float32)
    if choice.method == "masked ridge":
        return _masked(choice, x, t, queries)
    if choice.method == "pixel ridge":
        w, b = pixel_ridge(x[few], t[few], choice.penalty)
        return np.asarray(queries[few] * w + b, np.float32)
    seen, wanted, asked = (one[few].reshape(len(one), -1).T for one in (x, t, queries))
    drawn = np.empty(asked.shape, np.float32)
    for at, own in enumerate(seen):
        kernel = gaussian_kernel(own[:, None], own[None], choice.width)
        kernel[np.diag_indices_from(kernel)] += choice.penalty
        kappa = gaussian_kernel(asked[at][:, None], own[None], choice.width)
        drawn[at] = kappa @ np.linalg.solve(kernel, wanted[at])
    return drawn.T.reshape(queries[few].shape)


def _masked(choice: Choice, x: Array, t: Array, queries: Array) -> Array:
    """Compute masked regression in the rows that are compared alone."""
    reach = choice.radius
    rows = []
    for row in range(STRIDE // 2, SIZE_PX, STRIDE):
        band = slice(row - reach, row + reach + 1)
        planes = [one[:, band].transpose(0, 3, 1, 2) for one in (x, t, queries)]
        drawn = masked_ridge(planes[0], planes[1], choice.penalty, reach, planes[2])
        rows.append(drawn[:, :, reach, STRIDE // 2 :: STRIDE])
    return np.asarray(np.stack(rows, axis=2).transpose(0, 2, 3, 1), np.float32)


def cross_validate(
    shown: Mapping[str, AlignedPairs], folds: Sequence[Collection[str]]
) -> dict[Choice, dict[str, float]]:
    """Return the PSNR of each choice by expression, dB."""
    face = weight(frame_points().astype(np.float64), SIZE_PX) > 0.5
    face = face[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    results = {}
    for choice in choices():
        results[choice] = {
            name: _held_out(choice, pairs, folds, face) for name, pairs in shown.items()
        }
        mean = np.mean(list(results[choice].values()))
        print(f"{choice}: {mean:.2f} dB", file=sys.stderr, flush=True)
    return results


def _held_out(
    choice: Choice,
    pairs: AlignedPairs,
    folds: Sequence[Collection[str]],
    face: NDArray[np.bool_],
) -> float:
    half = STRIDE // 2
    by_person: dict[str, list[float]] = {}
    for fold in folds:
        out = np.isin(pairs.people, list(fold))
        if out.all() or not out.any():
            continue
        drawn = predict(choice, pairs.inputs[~out], pairs.targets[~out], pairs.inputs[out])
        true = pairs.targets[out][:, half::STRIDE, half::STRIDE]
        for person, found_db in zip(pairs.people[out], psnr_db(drawn, true, face), strict=True):
            by_person.setdefault(str(person), []).append(float(found_db))
    return float(np.mean([np.mean(values) for values in by_person.values()]))


def table(results: Mapping[Choice, Mapping[str, float]]) -> str:
    """Return the figures as Markdown."""
    names = list(next(iter(results.values())))
    lines = []
    for choice, figures in results.items():
        side = 2 * choice.radius + 1 if choice.radius else 0
        settings = (choice.penalty, choice.width, side)
        values = [*figures.values(), float(np.mean(list(figures.values())))]
        shown = [f"{one:g}" if one else "" for one in settings]
        lines.append([choice.method, *shown, *(f"{value:.2f}" for value in values)])
    return markdown_table(["regression", "λ", "σ", "patch", *names, "mean"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a folder of clips."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", type=Path, help="folder of clips, NAME.mp4 with NAME.npz")
    parser.add_argument("folds", type=Path, help="JSON file of folds of people")
    options = parser.parse_args(arguments)
    config = PixelRegressionTraining(train=str(options.clips))
    try:
        folds = read_folds(options.folds)
        pairs = read_pairs(options.clips, config.evidence, config.min_people, config.mean_motion)
    except ReenactError as error:
        print(error, file=sys.stderr)
        return 2
    shown = {
        name: align(found, name, motion_of(found, name, name in config.mean_motion))
        for name, found in pairs.items()
        if found
    }
    for name, one in shown.items():
        print(f"{name}: {len(set(one.people.tolist()))} people, {len(one.people)} pairs")
    print(table(cross_validate(shown, folds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
