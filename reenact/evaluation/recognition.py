"""Recognises the emotion that a face shows, by a classifier trained on other people's landmarks.

It is a multinomial logistic regression on the landmarks' deviations from the person's resting face.
No labelled set is free to redistribute, so it was trained on frames whose action units label them
clearly (`emotion_weights`). At best it agrees with that table on people it has not seen.
`python -m tools.expression_recogniser` makes it and prints how often it does. For people of the
training clips there is one without each fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.evaluation.metrics import markdown_table
from reenact.expression.emotions import EMOTIONS, emotion_weights
from reenact.expression.measures import resting_shape
from reenact.face.action_units import action_units
from reenact.face.geometry import mirrored_deviation, to_face_frames
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    CHIN,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    MOUTH_CORNERS,
)
from reenact.storage import ASSETS
from reenact.targets.clip_files import clip_landmarks, frames_with_face, load_labels
from reenact.types import Array

ASSET: Final = "expression_recogniser.npz"

_POINTS: Final = [
    *BROW_RIGHT[:5], *BROW_LEFT[:5], *EYE_RIGHT[::2], *EYE_LEFT[::2], *LIPS_OUTER[::2],
    *LIPS_INNER[::2], *MOUTH_CORNERS, CHIN, 205, 425,
]  # fmt: skip

CLEAR: Final = 0.5
"""Minimum weight by which an emotion labels a frame without a label; neutral needs `CALM`."""

CALM: Final = 0.95


@dataclass(frozen=True, slots=True)
class ClipExpressions:
    """The expressions in a clip's frames with a face.

    Attributes:
        frames: (N,) indices of these frames.
        points: float32 (N, 478, 3) px.
        rest: float32 (478, 3) resting shape of the person, face frame, iod.
        deviations: float32 (N, 478, 3) iod, relative to `rest`.
        units: float32 (N, 17) action units.
        turns: (N, 3) rotation vectors of the head, degrees.
        weights: float32 (N, 8) by `EMOTIONS`; one-hot if the clip has labels.
        labelled: True if the clip has labels.
    """

    frames: NDArray[np.intp]
    points: Array
    rest: Array
    deviations: Array
    units: Array
    turns: Array
    weights: Array
    labelled: bool


def read_expressions(path: Path) -> ClipExpressions | None:
    """Read the landmarks of a clip, `NAME.npz`; None if fewer than two frames have a face.

    The rest is the median of the frames labelled neutral, or else `resting_shape`. Labels are the
    `emotions` that `reenact train prepare` stores.

    Raises:
        SourceError: the file is missing or damaged.
    """
    landmarks = clip_landmarks(path)
    frames = frames_with_face(landmarks)
    if len(frames) < 2:
        return None
    points = np.ascontiguousarray(landmarks[frames], np.float32)
    labels = _labels(path, len(landmarks), frames)
    shapes, turns = to_face_frames(points)
    if labels is not None and (labels == 0).any():
        rest = np.asarray(np.median(shapes[labels == 0], axis=0), np.float32)
    else:
        rest = resting_shape(shapes, np.linalg.norm(turns, axis=1))
    shapes, turns = to_face_frames(points, rest)
    units = np.stack([action_units(one, rest) for one in shapes])
    weights = emotion_weights(units)
    if labels is not None:
        weights = np.where(labels[:, None] == np.arange(len(EMOTIONS)), np.float32(1), 0)
    known = labels is not None
    deviations, degrees = shapes - rest, np.degrees(turns)
    return ClipExpressions(frames, points, rest, deviations, units, degrees, weights, known)


def _labels(path: Path, count: int, frames: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Return the labels of some of `count` frames, indices into EMOTIONS, -1 if unknown.

    None: there are no labels.
    """
    found = load_labels(path, count)
    return None if found is None or (found < 1).all() else found[frames]


def clear_labels(weights: Array) -> NDArray[np.intp]:
    """Return a label for each frame's (N, 8) weights; -1 where it is not clear."""
    labels = weights.argmax(axis=1)
    strongest = weights.max(axis=1)
    return np.where(strongest >= np.where(labels == 0, CALM, CLEAR), labels, -1)


class ExpressionRecogniser:
    """Multinomial logistic regression on landmarks.

    Args:
        weights: float32 (F + 1, 8); the last row is the bias.
    """

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def probabilities(self, deviations: Array) -> Array:
        """Return the (N, 8) probabilities of `EMOTIONS` for (N, 478, 3) deviations, iod."""
        scores = _features(deviations) @ self.weights
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)

    def emotion(self, deviation: Array) -> str:
        """Return the most likely emotion for a (478, 3) deviation, iod."""
        return EMOTIONS[int(self.probabilities(deviation[None]).argmax())]


def fit_recogniser(
    deviations: Array, labels: NDArray[np.intp], penalty: float = 0.02
) -> ExpressionRecogniser:
    """Fit the classifier; all emotions have the same total weight.

    Args:
        deviations: (N, 478, 3) iod.
        labels: (N,) indices into `EMOTIONS`.
        penalty: L2 penalty on the weights.
    """
    from scipy.optimize import minimize

    features = _features(deviations).astype(np.float64)
    wanted = np.eye(len(EMOTIONS))[labels]
    share = (wanted / np.maximum(wanted.sum(axis=0), 1)).sum(axis=1, keepdims=True)
    share /= share.sum()
    free = np.ones((features.shape[1], 1))
    free[-1] = 0  # the bias is not penalised

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(features.shape[1], -1)
        scores = features @ weights
        scores -= scores.max(axis=1, keepdims=True)
        log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        gradient = features.T @ (share * (np.exp(log) - wanted)) + penalty * free * weights
        cost = -(share * wanted * log).sum() + 0.5 * penalty * (free * weights**2).sum()
        return float(cost), gradient.ravel()

    start = np.zeros(features.shape[1] * len(EMOTIONS))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return ExpressionRecogniser(found.x.reshape(features.shape[1], -1).astype(np.float32))


def shipped_recogniser(person: str = "") -> ExpressionRecogniser:
    """Return the classifier trained on the training clips.

    Args:
        person: identity of whose face is read. One of the training clips gets the classifier that
            was trained without that person's fold.
    """
    everybody, without = _shipped()
    return without.get(person, everybody)


@lru_cache(maxsize=1)
def _shipped() -> tuple[ExpressionRecogniser, dict[str, ExpressionRecogniser]]:
    """Return the classifier trained on everybody, and for each person that without the fold."""
    with np.load(ASSETS / ASSET) as archive:
        without = [ExpressionRecogniser(weights) for weights in archive["without_fold"]]
        folds = zip(archive["people"].tolist(), archive["fold"].tolist(), strict=True)
        return ExpressionRecogniser(archive["weights"]), {one: without[fold] for one, fold in folds}


def confusion_table(true: Sequence[int], told: Sequence[int]) -> str:
    """Return the confusion matrix as a Markdown table of shares, a row for each true emotion."""
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (np.asarray(true, int), np.asarray(told, int)), 1)
    lines = []
    for name, row in zip(EMOTIONS, counts, strict=True):
        total = row.sum()
        lines.append([name, *(f"{one / max(total, 1):.2f}" for one in row), f"{total:.0f}"])
    return markdown_table(["true", *EMOTIONS, "faces"], lines)


def _features(deviations: Array) -> Array:
    """Return (N, F + 1) features: positions of `_POINTS`, lip asymmetry (in .1 iod), and a 1.

    Contempt raises one corner of the mouth or the other, which a linear model of positions misses.
    """
    count = len(deviations)
    places = deviations[:, _POINTS, :2].reshape(count, -1)
    lips = (deviations - mirrored_deviation(deviations))[:, LIPS_OUTER[::2], :2]
    crooked = np.abs(lips).reshape(count, -1)
    return np.concatenate([10 * places, 10 * crooked, np.ones((count, 1), np.float32)], axis=1)
