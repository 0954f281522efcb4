"""Pairs of pictures in the common frame: a person's neutral face, and the same with an expression.

A clip's frames are labelled by its `emotions` (stored beside the landmarks, as `reenact train
prepare` does for RaFD and CK+), or else by their action units (`emotion_weights`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SourceError
from reenact.evaluation.clips import find_clips
from reenact.evaluation.recognition import read_expressions
from reenact.expression.emotions import EMOTIONS, acted_deviations, acted_units
from reenact.face.geometry import canonical_face, mirrored_deviation
from reenact.face.regions import apply_contact, mouth_gap
from reenact.face.topology import ACTION_UNITS, MOUTH_CORNERS
from reenact.targets.clip_files import clip_landmarks, decode_clip, person_of
from reenact.types import Array, Image
from reenact_pixel_regression.alignment import to_frame
from reenact_pixel_regression.knots import EXPRESSIONS

MAX_ANGLE: Final = 20.0
"""Maximum rotation of the head in a frame, degrees."""

MAX_TURN: Final = 12.0
"""Maximum difference of the head poses of a pair, degrees."""

FRAMES: Final = 2
"""Maximum number of neutral frames of a clip, and of frames of each expression."""

_BLINKS: Final = [ACTION_UNITS.index(name) for name in ("blink_left", "blink_right")]
_MAX_BLINK: Final = 0.6
_APART: Final = 5
"""Minimum distance of two frames chosen from one clip, frames."""

_MAX_GAP: Final = 0.07
"""Maximum difference of the lip gap from that of the motion, iod."""

_MIN_PAIRS: Final = 12

ONE_SIDED: Final = ("contemptuous",)
"""Expressions of one side of the face; all pairs are mirrored to the person's left."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face of a clip.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        points: (478, 3) px.
        deviation: (478, 3) iod, minus the person's neutral.
    """

    picture: Image
    points: Array
    deviation: Array


@dataclass(frozen=True, slots=True)
class FacePair:
    """A neutral face and an expression of the same person in the same clip."""

    person: str
    neutral: Face
    acting: Face
    labelled: bool


@dataclass(frozen=True, slots=True)
class AlignedPairs:
    """The pairs of one expression in the common frame.

    Attributes:
        inputs: float32 (N, S, S, 3) in 0..1, neutral.
        targets: float32 (N, S, S, 3) in 0..1, with the expression.
        people: (N,) whom each shows.
    """

    inputs: Array
    targets: Array
    people: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Frames of a clip that make a pair.

    Attributes:
        video: the clip.
        person: whom it shows.
        frames: the neutral frame and that of the expression.
        deviations: (478, 3) iod of both, minus the person's neutral.
        score: how well the expression is acted; labelled ones are at least 1.
    """

    video: Path
    person: str
    frames: tuple[int, int]
    deviations: tuple[Array, Array]
    score: float


def read_pairs(
    folder: Path,
    evidence: float,
    min_people: int,
    mean_motion: Collection[str],
    people: Collection[str] | None = None,
) -> dict[str, list[FacePair]]:
    """Find the pairs of each expression in a folder of clips.

    Args:
        folder: of clips `NAME.mp4` with `NAME.npz`; the part before `__` names the person.
        evidence: least score of an expression without a label: its weight by `emotion_weights`,
            minus the mean difference of its action units from those of the acted expression.
        min_people: where fewer people score so much, the best ones of the rest are taken, too.
        mean_motion: expressions whose motion is the mean of the pairs. Of the others, only frames
            whose lips are as far apart as those of the acted expression are taken.
        people: only these; None: everybody.

    Raises:
        SourceError: the folder or a clip in it cannot be used.
    """
    choices: dict[str, list[_Choice]] = {name: [] for name in EXPRESSIONS}
    for video in find_clips(folder):
        person = person_of(video.stem)
        if people is None or person in people:
            for name, choice in _choices(video, person, mean_motion):
                choices[name].append(choice)
    kept = {name: _best(found, evidence, min_people) for name, found in choices.items()}
    faces = _faces([one for found in kept.values() for one in found])
    return {
        name: [
            FacePair(
                one.person,
                faces[one.video, one.frames[0]],
                faces[one.video, one.frames[1]],
                labelled=one.score >= 1,
            )
            for one in found
        ]
        for name, found in kept.items()
    }


def motion_of(pairs: Sequence[FacePair], expression: str, mean: bool) -> Array:
    """Return the motion that all targets of an expression are given, (478, 3) iod.

    Args:
        pairs: of the expression.
        expression: its name.
        mean: the mean of the pairs' people, as it always is of labelled pairs; False: that of
            the acted expression, because what action units choose is mixed with speech.
    """
    if mean or all(pair.labelled for pair in pairs):
        people = {pair.person for pair in pairs}
        means = [
            np.mean([_motion(pair, expression) for pair in pairs if pair.person == one], axis=0)
            for one in sorted(people)
        ]
        motion = np.asarray(np.mean(means, axis=0), np.float32)
    else:
        motion = acted_deviations()[EMOTIONS.index(expression)]
    if expression not in ONE_SIDED:
        motion = (motion + mirrored_deviation(motion)) / 2
    face = canonical_face()
    return apply_contact(face + motion, face, None) - face


def align(pairs: Sequence[FacePair], expression: str, motion: Array) -> AlignedPairs:
    """Bring the pairs of one expression into the common frame.

    Each is there twice, the second time mirrored. A one-sided expression is there once, on the
    person's left. Lips that are farther apart than in the motion cannot be closed by bending the
    picture, nor opened: such pairs are left out, but for the nearest `_MIN_PAIRS`.

    Args:
        pairs: at least one.
        expression: its name.
        motion: (478, 3) iod, see `motion_of`.
    """
    gaps = np.array([abs(mouth_gap(pair.acting.deviation) - mouth_gap(motion)) for pair in pairs])
    allowed = max(_MAX_GAP, float(np.sort(gaps)[:_MIN_PAIRS][-1]))
    kept = [pair for pair, gap in zip(pairs, gaps, strict=True) if gap <= allowed]
    inputs, targets = [], []
    for pair in kept:
        flips = _flips(pair, expression)
        own = mirrored_deviation(motion) if flips else motion
        neutral = to_frame(pair.neutral.picture, pair.neutral.points)
        acting = to_frame(pair.acting.picture, pair.acting.points, own)
        inputs.append(neutral[:, ::-1] if flips else neutral)
        targets.append(acting[:, ::-1] if flips else acting)
    people = np.array([pair.person for pair in kept])
    if expression not in ONE_SIDED:
        inputs += [one[:, ::-1] for one in inputs]
        targets += [one[:, ::-1] for one in targets]
        people = np.concatenate([people, people])
    return AlignedPairs(_unit(inputs), _unit(targets), people)


def _motion(pair: FacePair, expression: str) -> Array:
    """Return a pair's motion; that of a one-sided expression on the person's left."""
    acted = pair.acting.deviation
    return mirrored_deviation(acted) if _flips(pair, expression) else acted


def _unit(pictures: Sequence[Image]) -> Array:
    return np.stack(pictures).astype(np.float32) / np.float32(255)


def _flips(pair: FacePair, expression: str) -> bool:
    """Return True if a one-sided expression lifts the person's right corner of the mouth."""
    right, left = pair.acting.deviation[list(MOUTH_CORNERS), 1]
    return expression in ONE_SIDED and bool(right < left)


def _choices(video: Path, person: str, mean_motion: Collection[str]) -> list[tuple[str, _Choice]]:
    """Return the pairs of each expression in a clip, best first."""
    clip = read_expressions(video.with_suffix(".npz"))
    if clip is None:
        return []
    blinking = clip.units[:, _BLINKS].max(axis=1) >= _MAX_BLINK
    seen = (np.abs(clip.turns).max(axis=1) < MAX_ANGLE) & ~blinking
    unrest = np.linalg.norm(clip.deviations, axis=2).mean(axis=1)
    neutrals = _spread(np.where(seen & (clip.weights[:, 0] > 0.5), -unrest, -np.inf), FRAMES)
    seen[neutrals] = False
    lips = np.array([mouth_gap(one) for one in clip.deviations])
    found = []
    for row, name in enumerate(EXPRESSIONS, start=1):
        scores, fits = clip.weights[:, row], seen
        if clip.labelled:
            fits = seen & (scores == 1)
        else:
            scores = scores - np.abs(clip.units - acted_units()[row]).mean(axis=1)
            if name not in mean_motion:
                fits = seen & (np.abs(lips - mouth_gap(acted_deviations()[row])) < _MAX_GAP)
        for acting in _spread(np.where(fits, scores, -np.inf), FRAMES):
            for rest in neutrals:
                if float(np.linalg.norm(clip.turns[acting] - clip.turns[rest])) < MAX_TURN:
                    frames = int(clip.frames[rest]), int(clip.frames[acting])
                    both = clip.deviations[rest], clip.deviations[acting]
                    found.append((name, _Choice(video, person, frames, both, scores[acting])))
    return found


def _best(found: Sequence[_Choice], evidence: float, min_people: int) -> list[_Choice]:
    """Keep the choices with enough evidence, and the best of the other people where few have."""
    best: dict[str, float] = {}
    for one in found:
        best[one.person] = max(one.score, best.get(one.person, -np.inf))
    ranked = sorted(best, key=lambda person: -best[person])
    few = set(ranked[:min_people])
    return [
        one
        for one in found
        if one.score >= evidence or (one.person in few and one.score == best[one.person])
    ]


def _faces(choices: Sequence[_Choice]) -> dict[tuple[Path, int], Face]:
    """Read the frames of all choices; each clip is decoded once."""
    faces = {}
    for video in sorted({one.video for one in choices}):
        images, landmarks = decode_clip(video), clip_landmarks(video)
        if len(images) != len(landmarks):
            raise SourceError(
                f"{video.name} has {len(images)} frames, and landmarks for {len(landmarks)}."
            )
        for one in choices:
            if one.video == video:
                for frame, deviation in zip(one.frames, one.deviations, strict=True):
                    points = np.ascontiguousarray(landmarks[frame], np.float32)
                    faces[video, frame] = Face(images[frame].copy(), points, deviation)
    return faces


def _spread(scores: NDArray[np.floating[Any]], count: int) -> list[int]:
    """Return the frames of the highest finite scores that are `_APART` from each other."""
    taken: list[int] = []
    for index in np.argsort(-scores):
        if len(taken) == count or not np.isfinite(scores[index]):
            break
        if all(abs(index - other) >= _APART for other in taken):
            taken.append(int(index))
    return taken
