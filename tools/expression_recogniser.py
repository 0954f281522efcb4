"""Make `assets/expression_recogniser.npz`, and print its confusion table on held-out people.

python -m tools.expression_recogniser --data CLIPS --folds FOLDS.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reenact.evaluation.recognition import (
    ASSET,
    clear_labels,
    confusion_table,
    fit_recogniser,
    read_expressions,
)
from reenact.expression.emotions import EMOTIONS
from reenact.face.geometry import mirrored_deviation
from reenact.targets.clip_files import person_of
from reenact.types import Array
from tools import ASSETS

MAX_FRAMES = 12
"""Maximum number of frames of each emotion from one clip."""

Frames = tuple[Array, NDArray[np.intp], NDArray[np.str_]]
"""Deviations, labels and people."""

MAX_TURN = 25.0
"""Maximum rotation of the head in these frames, degrees."""


def read(folder: Path) -> Frames:
    """Return the deviations, labels and people of all clearly labelled frames, also mirrored."""
    deviations: list[Array] = []
    labels: list[int] = []
    people: list[str] = []
    for path in sorted(folder.glob("*.npz")):
        clip = read_expressions(path)
        if clip is None:
            continue
        clear = clear_labels(clip.weights)
        clear[np.abs(clip.turns).max(axis=1) > MAX_TURN] = -1
        for emotion in range(len(EMOTIONS)):
            frames = np.flatnonzero(clear == emotion)
            for frame in frames[:: max(len(frames) // MAX_FRAMES, 1)]:
                deviations += clip.deviations[frame], mirrored_deviation(clip.deviations[frame])
                labels += [emotion] * 2
                people += [person_of(path.stem)] * 2
    return np.stack(deviations), np.array(labels), np.array(people)


def held_out(
    data: Frames, folds: Collection[Collection[str]], more: Frames | None = None
) -> tuple[list[int], list[int]]:
    """Return true and predicted labels by cross-validation over the folds.

    The frames of `more` are only trained on.
    """
    deviations, labels, people = data
    true: list[int] = []
    predicted: list[int] = []
    for fold in folds:
        out = np.isin(people, list(fold))
        known = deviations[~out], labels[~out]
        if more is not None:
            known = np.concatenate([known[0], more[0]]), np.concatenate([known[1], more[1]])
        recogniser = fit_recogniser(*known)
        true += labels[out].tolist()
        predicted += recogniser.probabilities(deviations[out]).argmax(axis=1).tolist()
    return true, predicted


def write(data: Frames, folds: Sequence[Collection[str]]) -> None:
    """Write the classifier trained on everybody, and those trained without each fold."""
    deviations, labels, people = data
    kept = [~np.isin(people, list(fold)) for fold in folds]
    np.savez_compressed(
        ASSETS / ASSET,
        weights=fit_recogniser(deviations, labels).weights,
        without_fold=[fit_recogniser(deviations[one], labels[one]).weights for one in kept],
        people=[person for fold in folds for person in fold],
        fold=[number for number, fold in enumerate(folds) for _ in fold],
    )


def main() -> None:
    """Measure on folds, then fit everybody and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips")
    parser.add_argument("--folds", type=Path, required=True, help="JSON file of people's folds")
    parser.add_argument(
        "--more", type=Path, help="clips to train on in addition; only measures, writes nothing"
    )
    arguments = parser.parse_args()
    data = read(arguments.data)
    folds = json.loads(arguments.folds.read_text(encoding="utf-8"))["folds"]
    report(*held_out(data, folds))
    if arguments.more is None:
        write(data, folds)
    else:
        print(f"With {arguments.more}:")
        report(*held_out(data, folds, read(arguments.more)))


def report(true: list[int], predicted: list[int]) -> None:
    """Print the confusion table and the accuracy."""
    print(confusion_table(true, predicted))
    labels = np.array(true)
    correct = labels == np.array(predicted)
    recalls = [correct[labels == label].mean() for label in sorted(set(true))]
    print(f"mean recall of the emotions {np.mean(recalls):.3f}, accuracy {correct.mean():.3f}")


if __name__ == "__main__":
    main()
