"""Compares generated motions with those of held-out people by geodesic distances.

Three other sources are compared too: the mean motion of the class, a random walk with the steps of
real motions, and real motions of other people, which show how far apart people are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from reenact.errors import ReenactError
from reenact.expression.emotions import EMOTIONS, emotion_weights
from reenact.face.action_units import action_units
from reenact.face.geometry import canonical_face
from reenact_motion.segments import FPS, Segment, deviations_of
from reenact_motion.srvf import Curve, curve_of, distance, karcher_mean, srvf

DRAWS: Final = 20
"""Number of motions generated for each class."""

Draw = Callable[[int, int, np.random.Generator], Curve]
"""`draw(emotion, count, rng)` returns (count, T - 1, M) points of the sphere."""


class Figures:
    """Measures sources of motions.

    Args:
        learned: motions of the training people.
        held_out: motions of other people. Classes that they lack are not measured.

    Raises:
        ReenactError: the held-out people show no motion of any class.
    """

    def __init__(self, learned: Sequence[Segment], held_out: Sequence[Segment]) -> None:
        self._learned = by_class(learned)
        self._held_out = {k: v for k, v in by_class(held_out).items() if k in self._learned}
        if not self._held_out:
            raise ReenactError(
                "No clip of the held-out people shows a motion from neutral to an emotion."
            )
        means = {emotion: karcher_mean(points) for emotion, points in self._learned.items()}
        steps = np.concatenate([np.diff(segment.curve, axis=0) for segment in learned])
        spread = steps.std(axis=0)

        def walk(emotion: int, count: int, rng: np.random.Generator) -> Curve:
            way = rng.standard_normal((count, len(learned[0].curve) - 1, len(spread))) * spread
            start = np.zeros((count, 1, len(spread)))
            return srvf(np.concatenate([start, np.cumsum(way, axis=1)], axis=1))[0]

        def people(emotion: int, count: int, rng: np.random.Generator) -> Curve:
            points = self._learned[emotion]
            return np.asarray(points[rng.permutation(len(points))[:count]])

        self._floor = {
            **self._measure("mean_", lambda emotion, count, rng: means[emotion][None]),
            **self._measure("walk_", walk),
            **self._measure("people_", people),
        }

    def of(self, draw: Draw) -> dict[str, float]:
        """Return the figures of a source and of those it is compared with, rad.

        - distance: mean, between a held-out motion and those generated for its class.
        - nearest: from a held-out motion to the nearest of `DRAWS` (coverage).
        - realism: from a generated motion to the nearest held-out one of its class.
        - variety: mean, between two generated motions of a class.
        - energy: 2 distance - variety - the variety of held-out motions, the energy distance of the
          two distributions (Székely 2013); it is 0 for equal distributions.
        - recognised: share of the generated motions whose end is recognised as their emotion.
        - score: minus the energy; higher is better.
        """
        own = self._measure("", draw)
        return {**own, **self._floor, "score": -own["energy"]}

    def _measure(self, prefix: str, draw: Draw) -> dict[str, float]:
        rows = []
        for emotion, real in self._held_out.items():
            drawn = draw(emotion, DRAWS, np.random.default_rng(emotion))
            gaps = distance(real[:, None], drawn[None])
            variety = distance(drawn[:, None], drawn[None]).mean()
            rows.append(
                {
                    "distance": gaps.mean(),
                    "nearest": gaps.min(axis=1).mean(),
                    "realism": gaps.min(axis=0).mean(),
                    "variety": variety,
                    "energy": 2 * gaps.mean()
                    - variety
                    - distance(real[:, None], real[None]).mean(),
                    "recognised": np.mean([_recognised(one, emotion) for one in drawn]),
                }
            )
        return {f"{prefix}{key}": float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _recognised(point: Curve, emotion: int) -> bool:
    face = canonical_face()
    end = deviations_of(curve_of(point), emotion, FPS)[-1]
    return int(emotion_weights(action_units(face + end, face)).argmax()) == emotion


def by_class(segments: Sequence[Segment]) -> dict[int, Curve]:
    """Return the points of the sphere of each class present, (N, T - 1, M)."""
    return {
        emotion: srvf(np.stack(curves))[0]
        for emotion in range(1, len(EMOTIONS))
        if (curves := [segment.curve for segment in segments if segment.emotion == emotion])
    }
