"""Emotions from action units, and the action units and landmarks of an emotion.

The table is that of LGP-GAN (Xia 2021, Table I: happy 6+12, sad 1+4+15, surprised 1+2+5+26,
disgusted 9+15+16, angry 4+5+7+23, fearful 1+2+4+5+7+20+26) in the units that landmarks show
(`topology.ACTION_UNITS`). Landmarks do not show AU6, AU7, AU9 and AU23: AU6 accompanies AU12, and
AU10 is used in place of AU9, which lifts the upper lip as well. AU1 and AU2 are one unit. Contempt
is not in the table; it is the one-sided AU12 of FACS (R12A+R14A). All functions are pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, get_args

import numpy as np

from reenact.config import Emotion
from reenact.face.action_units import typical_deviation
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array

EMOTIONS: Final[tuple[str, ...]] = get_args(Emotion)[1:]
"""The names of RaFD in the order of CK+'s numbers, and of `Drive.emotion`: neutral, angry,
contemptuous, disgusted, fearful, happy, sad, surprised."""

CONTEMPT: Final = EMOTIONS.index("contemptuous")
"""The emotion that lifts one corner of the mouth."""

EVIDENCE_FROM, EVIDENCE_FULL = 0.20, 0.60
"""The evidence at which an emotion's weight starts to rise from 0, and at which it reaches 1."""

LEVELS: Final = {"neutral": 0.0, "subtle": 1 / 3, "moderate": 2 / 3, "intense": 1.0}
"""The intensity at which each level of Wang 2025 begins."""

# Features of each emotion: positive weights, of sum 1, are evidence for it, negative ones against
# it. A feature is an action unit; "smile", "raise" and "crooked" combine the two sides.
_EVIDENCE: Final[dict[str, dict[str, float]]] = {
    "angry": {"brow_lower": 0.8, "eye_wide": 0.2, "raise": -0.6, "smile": -0.6},
    "contemptuous": {"crooked": 1.0, "smile": -0.5, "jaw_drop": -0.5},
    "disgusted": {"upper_lip_raise": 0.6, "frown": 0.2, "lower_lip_depress": 0.2, "smile": -0.6},
    "fearful": {"stretch": 0.5, "raise": 0.2, "brow_lower": 0.1, "eye_wide": 0.2, "smile": -0.4},
    "happy": {"smile": 1.0, "frown": -0.5},
    "sad": {"frown": 0.7, "brow_lower": 0.15, "raise": 0.15, "eye_wide": -0.5, "smile": -0.5},
    "surprised": {"raise": 0.4, "eye_wide": 0.35, "jaw_drop": 0.25, "stretch": -0.5, "smile": -0.4},
}

# Action units of an acted emotion at intensity 1. Those that are not in the table stand for the
# visible effects of AU6, AU7, AU9 and AU23: narrower lids, lowered brows, a narrower mouth. More
# than 1 is an expression beyond what counts as a whole unit: lowered brows of 1 are hardly seen.
_ACTED: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "angry": {
        "brow_lower": 3.0, "eye_wide": 0.2, "frown": 0.4, "pucker": 0.3, "lower_lip_depress": 0.2,
    },
    "contemptuous": {"smile_left": 1.0, "mouth_left": 0.2},
    "disgusted": {
        "upper_lip_raise": 1.4, "frown": 0.4, "lower_lip_depress": 0.3, "brow_lower": 0.4,
        "blink_left": 0.2, "blink_right": 0.2,
    },
    "fearful": {
        "brow_raise_left": 0.5, "brow_raise_right": 0.5, "brow_lower": 0.3, "eye_wide": 0.8,
        "stretch": 1.0, "jaw_drop": 0.2, "mouth_open": 0.2,
    },
    "happy": {"smile_left": 1.0, "smile_right": 1.0, "mouth_open": 0.3, "upper_lip_raise": 0.3},
    "sad": {
        "frown": 1.2, "brow_lower": 0.3, "brow_raise_left": 0.4, "brow_raise_right": 0.4,
        "blink_left": 0.15, "blink_right": 0.15,
    },
    "surprised": {
        "brow_raise_left": 0.9, "brow_raise_right": 0.9, "eye_wide": 0.8, "jaw_drop": 0.6,
        "mouth_open": 0.4,
    },
}  # fmt: skip


def emotion_weights(units: Array) -> Array:
    """Return the weight of each of `EMOTIONS`, float32 (..., 8), 0 to 1, of sum 1.

    The evidence for an emotion is a weighted sum of its units (`_EVIDENCE`). Its weight rises from
    0 at `EVIDENCE_FROM` to 1 at `EVIDENCE_FULL`. Neutral gets 1 minus the strongest weight, and the
    emotions share that weight in proportion to the squares of theirs.

    Args:
        units: (..., 17) activations, 0 to 1, in the order of `topology.ACTION_UNITS`.
    """
    found = np.clip((_evidence(units) - EVIDENCE_FROM) / (EVIDENCE_FULL - EVIDENCE_FROM), 0, 1)
    strongest = found.max(axis=-1, keepdims=True)
    squares = found**2
    shares = strongest * squares / np.maximum(squares.sum(axis=-1, keepdims=True), 1e-6)
    return np.asarray(np.concatenate([1 - strongest, shares], axis=-1), np.float32)


def emotion_intensity(units: Array) -> Array:
    """Return the strength of the strongest emotion, float32 (...): 0 none, 1 as acted, up to 1.67.

    It is the evidence as a share of `EVIDENCE_FULL`. `LEVELS` divides it into those of Wang 2025.
    """
    strongest = np.maximum(_evidence(units).max(axis=-1), 0)
    return np.asarray(strongest / EVIDENCE_FULL, np.float32)


def _evidence(units: Array) -> Array:
    """Return the evidence for each emotion but neutral, (..., 7)."""
    column = {name: units[..., index] for index, name in enumerate(ACTION_UNITS)}
    column["smile"] = np.minimum(column["smile_left"], column["smile_right"])
    column["crooked"] = np.abs(column["smile_left"] - column["smile_right"])
    column["raise"] = np.minimum(column["brow_raise_left"], column["brow_raise_right"])
    rows = [
        sum((weight * column[name] for name, weight in terms.items()), np.zeros(()))
        for terms in (_EVIDENCE[emotion] for emotion in EMOTIONS[1:])
    ]
    return np.stack(rows, axis=-1)


@lru_cache(maxsize=1)
def acted_units() -> Array:
    """Return the units of each emotion at intensity 1, float32 (8, 17), 0 to 1; read-only."""
    units = np.minimum(_acted_amounts(), 1)
    units.setflags(write=False)
    return units


@lru_cache(maxsize=1)
def acted_deviations() -> Array:
    """Return the landmark deviation of each emotion at intensity 1, float32 (8, 478, 3), iod.

    It is the sum of the typical deviations of its action units, which may count more than once;
    read-only.
    """
    deviations = typical_deviation(_acted_amounts())
    deviations.setflags(write=False)
    return deviations


def _acted_amounts() -> Array:
    """Return the values of `_ACTED` as float32 (8, 17)."""
    rows = [[_ACTED[emotion].get(unit, 0.0) for unit in ACTION_UNITS] for emotion in EMOTIONS]
    return np.array(rows, np.float32)
