"""Learn `reenact/assets/tracker_trust.npz`: scores that detect covered mouths and eyes.

    python -m tools.tracker_trust --data ../shared/faces/train

Hands and cards are drawn over the first clip of each person (`evaluation.covered`), and the clip is
tracked. Logistic regression then separates frames with a covered part from uncovered frames of all
clips. The more a cover misleads the tracker, the more weight its frame has. Few of these people
shout, so uncovered frames are also used with stronger expressions. Cameras are slow in the dark, so
all frames are also used at half the rate. With `--folds ../shared/faces/folds.json` nothing is
stored; each fold's people are scored by weights learned from the others. With `--without 0` in
addition, the weights learned without that fold are stored.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import TrackingSettings
from reenact.evaluation.clips import CLIP_FPS, find_clips, read_clip
from reenact.evaluation.covered import COVERS, CoveredRun, track_covered
from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.measures import LID_RIGHT, MOUTH_OPEN, MOUTH_WIDTH, measure
from reenact.expression.tracker_trust import ASSET, DOUBT, Evidence
from reenact.face.geometry import estimate_pose, mirrored_deviation, to_face_frame
from reenact.registry import load
from reenact.targets.clip_files import clip_landmarks, frames_with_face, person_of
from reenact.types import Array, Pose
from tools import ASSETS

PARTS: Final = {"mouth": [MOUTH_OPEN, MOUTH_WIDTH], "eye": [LID_RIGHT]}
"""The two scores, and the measures whose error shows how far a cover misleads the tracker."""

STRENGTHS: Final = (1, 1.5)
"""Factors of the expressions in uncovered frames."""

INTERVALS: Final = (1, 2)
"""Numbers of frames from one used frame to the next: the clips' rate, and half of it."""

EVERY: Final = 3
"""One in this many frames of a clip is used, because consecutive frames are nearly equal."""

PENALTY: Final = 200.0
"""Ridge penalty of the logistic regression."""

MAX_FRAMES: Final = 200
"""Maximum number of frames of a clip."""

HARMLESS, HARM, MAX_HARM = 0.1, 0.05, 3.0
"""Weight of a covered frame with correct landmarks; error, iod, that adds 1; maximum addition."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Frames of one person for one score.

    Attributes:
        person: name of the person.
        part: key of `PARTS`.
        rows: (F, 63) from `Evidence.of`.
        weights: (F,) weights of covered frames; 0: the part is not covered.
    """

    person: str
    part: str
    rows: Array
    weights: Array


def deviations(points: Array, interval: int = 1) -> Iterator[tuple[Array, Pose]]:
    """Yield a frame's deviation from the neutral so far, (478, 3) iod, and its pose.

    Args:
        points: (F, 478, 3) px of all frames.
        interval: number of frames from one to the next that is used.
    """
    identity = ActorIdentity()
    for number in range(0, len(points), interval):
        face = points[number]
        pose = estimate_pose(face)
        neutral = identity.observe(to_face_frame(face, pose), pose, number / CLIP_FPS).shape
        pose = estimate_pose(face, neutral)
        yield to_face_frame(face, pose) - neutral, pose


def evidence(track: Sequence[tuple[Array, Pose]], mirrored: bool = False) -> Array:
    """Return the evidence of a track or of its mirror image, (F, 63)."""
    state = Evidence()
    return np.stack([state.of(mirrored_deviation(d) if mirrored else d, pose) for d, pose in track])


def samples_of(videos: Sequence[Path]) -> list[Samples]:
    """Return the uncovered frames of all clips, and covered frames of each person's first clip."""
    samples: list[Samples] = []
    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    seen: set[str] = set()
    for video in videos:
        person = person_of(video.stem)
        points = clip_landmarks(video)
        points = points[frames_with_face(points)][:MAX_FRAMES]
        samples += _uncovered(person, points)
        if person in seen:
            continue
        seen.add(person)
        clip = read_clip(video)
        for cover in COVERS:
            run = track_covered(clip, cover, tracker)
            if run is not None:
                samples += _covered(person, cover.split("_")[1], run)
    tracker.close()
    return samples


def _uncovered(person: str, points: Array) -> Iterator[Samples]:
    """Yield the frames of a clip, (F, 478, 3) px, also mirrored, stronger, and at other rates."""
    for interval in INTERVALS:
        track = list(deviations(points, interval))
        for strength, mirrored in itertools.product(STRENGTHS, (False, True)):
            stronger = [(np.float32(strength) * deviation, pose) for deviation, pose in track]
            rows = evidence(stronger, mirrored)[::EVERY]
            for part in PARTS:
                yield Samples(person, part, rows, np.zeros(len(rows), np.float32))


def _covered(person: str, part: str, run: CoveredRun) -> Iterator[Samples]:
    """Yield the covered and the uncovered frames of one run; those of a mouth also mirrored."""
    for interval in INTERVALS:
        track = list(deviations(run.covered, interval))
        truth = [deviation for deviation, _ in deviations(run.open, interval)]
        misled = measure(np.stack([one for one, _ in track]) - np.stack(truth))[:, PARTS[part]]
        harm = HARMLESS + np.minimum(np.abs(misled).sum(axis=1) / HARM, MAX_HARM)
        harm = np.asarray(harm, dtype=np.float32)
        covered, uncovered = run.share[::interval] > 0.6, run.share[::interval] == 0
        for mirrored in (False, True) if part == "mouth" else (False,):
            yield Samples(person, part, evidence(track, mirrored)[covered], harm[covered])
        rows = evidence(track)[uncovered][::EVERY]
        yield Samples(person, part, rows, np.zeros(len(rows), np.float32))


def logistic(rows: Array, weights: Array) -> Array:
    """Return weights and constant of a ridge logistic regression with equally weighted classes."""
    positive = weights > 0
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    design = np.column_stack([(rows - mean) / deviation, np.ones(len(rows))])
    weight = np.where(positive, weights / weights.sum(), 1 / (~positive).sum()) * len(rows) / 2
    ridge = np.append(np.full(rows.shape[1], PENALTY), 1e-6)
    solution = np.zeros(design.shape[1])
    for _ in range(25):
        likely = 1 / (1 + np.exp(-np.clip(design @ solution, -30, 30)))
        gradient = design.T @ (weight * (likely - positive)) + ridge * solution
        hessian = (design * (weight * likely * (1 - likely))[:, None]).T @ design + np.diag(ridge)
        solution -= np.linalg.solve(hessian, gradient)
    scaled = solution[:-1] / deviation
    return np.append(scaled, solution[-1] - scaled @ mean).astype(np.float32)


def learn(samples: Sequence[Samples]) -> dict[str, Array]:
    """Return the weights of each score."""
    return {part: logistic(*_pooled(samples, part)) for part in PARTS}


def _pooled(samples: Sequence[Samples], part: str) -> tuple[Array, Array]:
    """Return the rows and weights of all samples for a part."""
    pairs = [(sample.rows, sample.weights) for sample in samples if sample.part == part]
    rows, weights = zip(*pairs, strict=True)
    return np.concatenate(rows), np.concatenate(weights)


def judge(samples: Sequence[Samples], folds: Sequence[Sequence[str]]) -> None:
    """Print how weights learned from the other folds judge each fold's people."""
    for number, people in enumerate(folds):
        held_out = [sample for sample in samples if sample.person in people]
        weights = learn([sample for sample in samples if sample.person not in people])
        for (part, learned), (doubt, _) in zip(weights.items(), DOUBT, strict=False):
            rows, harm = _pooled(held_out, part)
            doubted = rows @ learned[:-1] + learned[-1] > doubt
            covered = harm > 0
            share = (harm * doubted).sum() / harm.sum()
            print(
                f"fold {number}, {part}: {doubted[covered].mean():.3f} of the covered frames are "
                f"doubted, {share:.3f} of their harm, {doubted[~covered].mean():.4f} of the open"
            )


def main() -> None:
    """Learn the weights, and store them or evaluate them on the folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of clips")
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET)
    parser.add_argument("--folds", type=Path, help="folds of people to evaluate, faces/folds.json")
    parser.add_argument("--without", type=int, help="store weights learned without this fold")
    arguments = parser.parse_args()
    samples = samples_of(find_clips(arguments.data))
    folds = [] if arguments.folds is None else json.loads(arguments.folds.read_text())["folds"]
    if folds and arguments.without is None:
        judge(samples, folds)
        return
    left_out = folds[arguments.without] if folds else []
    chosen = [sample for sample in samples if sample.person not in left_out]
    np.savez(arguments.out, **learn(chosen))


if __name__ == "__main__":
    main()
