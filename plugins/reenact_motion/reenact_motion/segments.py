"""Motions cut from clips: from a neutral face to the peak of an emotion.

The paper trains MotionGAN on data sets of acted emotions. Clips of people who speak contain few
motions, all mixed with speech. So landmarks are represented by the action units that they show (15
coordinates instead of 136; blinks are left out), units that move in speech have less weight, and
each curve is smoothed along its length. Labels come from landmarks
(`reenact.expression.emotions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.expression.emotions import CONTEMPT, EMOTIONS, emotion_intensity, emotion_weights
from reenact.face.action_units import action_units, mirrored_units, typical_deviation
from reenact.face.topology import ACTION_UNITS
from reenact.training.deformation_transfer import Motion
from reenact.types import Array
from reenact_motion.srvf import Curve

SAMPLES: Final = 33
"""Number of points of a curve, T."""

FPS: Final = 25

PEAK: Final = 0.35
"""Minimum weight of an emotion at its peak."""

CALM: Final = 0.9
"""Minimum weight of neutral at the start of a motion."""

MIN_FRAMES, MAX_FRAMES = 6, 50
"""Duration from neutral to the peak."""

_SPEECH: Final = (
    "mouth_open", "jaw_drop", "pucker", "lower_lip_depress", "mouth_left", "mouth_right",
)  # fmt: skip

UNITS: Final = [index for index, name in enumerate(ACTION_UNITS) if "blink" not in name]
"""The action units that are the coordinates of a curve, M."""

_SCALE: Final = np.array([0.4 if ACTION_UNITS[unit] in _SPEECH else 1.0 for unit in UNITS])

_SMOOTH: Final = 6.0
"""Standard deviation of the smoothing along a curve, samples."""

_MAX_GAIN: Final = 4.0

_SMILES: Final = [ACTION_UNITS.index(name) for name in ("smile_left", "smile_right")]


@dataclass(frozen=True, slots=True)
class Segment:
    """One motion.

    Attributes:
        identity: the person's name.
        emotion: index into `EMOTIONS`, from 1.
        curve: (SAMPLES, M) from the origin.
        duration_s: of the motion.
    """

    identity: str
    emotion: int
    curve: Curve
    duration_s: float


def find_segments(motions: Sequence[Motion]) -> list[Segment]:
    """Return the motions in clips, each with its mirror image.

    Contempt is one-sided, and a mean of both sides would be a smile. Its motions are mirrored to
    the left, and `MotionGAN` mirrors every second one back.
    """
    found = []
    for motion in motions:
        units = np.stack([action_units(shape, motion.rest) for shape in motion.shapes])
        weights = emotion_weights(units)
        for emotion in range(1, len(EMOTIONS)):
            for start, peak in rises(weights[:, 0], weights[:, emotion]):
                rise = units[start : peak + 1]
                found += [
                    Segment(motion.identity, emotion, _sampled(one), (peak - start) / FPS)
                    for one in (rise, mirrored_units(rise))
                    if emotion != CONTEMPT or one[-1, _SMILES[0]] > one[-1, _SMILES[1]]
                ]
    return found


def deviations_of(curve: Curve, emotion: int, frames: int) -> Array:
    """Return the deviation of a curve, float32 (frames, 478, 3), iod, at intensity 1.

    A curve on the sphere has no magnitude, so the emotion is fully acted at its end.
    """
    units = np.zeros((SAMPLES, len(ACTION_UNITS)))
    units[:, UNITS] = curve / _SCALE
    peak = np.clip(units[-1], 0, None).astype(np.float32)
    strength = float(emotion_intensity(peak)) if emotion_weights(peak)[emotion] > 0 else 0.0
    gain = min(1 / strength, _MAX_GAIN) if strength else 1 / max(float(peak.max()), 0.25)
    acted = np.clip(gain * _resampled(units, frames), -0.3, 1.2).astype(np.float32)
    return typical_deviation(acted)


def rises(calm: NDArray[np.float32], weight: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return (start, peak) frames of each rise of an emotion's weight from a calm face."""
    rises = []
    start, frame = -1, 0
    while frame < len(weight):
        if calm[frame] >= CALM:
            start = frame
        elif start >= 0 and weight[frame] >= PEAK:
            end = min(start + MAX_FRAMES, len(weight) - 1)
            calm_again = np.flatnonzero(calm[frame : end + 1] >= CALM)
            end = frame + int(calm_again[0]) if len(calm_again) else end
            peak = frame + int(weight[frame : end + 1].argmax())
            if peak - start >= MIN_FRAMES:
                rises.append((start, peak))
            start, frame = -1, end
        frame += 1
    return rises


def _sampled(rise: Array) -> Curve:
    """Return a curve (T, M) of evenly spaced samples from the origin, smooth between its ends.

    `rise` is (F, 17) action units.
    """
    moved = (rise - rise[0]).astype(np.float64)[:, UNITS] * _SCALE
    curve = _resampled(moved, SAMPLES)
    way = np.linspace(0, 1, SAMPLES)[:, None]
    order = np.arange(SAMPLES)
    kernel = np.exp(-0.5 * ((order[:, None] - order) / _SMOOTH) ** 2)
    bent = kernel @ (curve - way * curve[-1]) / kernel.sum(axis=1, keepdims=True)
    return np.asarray(way * curve[-1] + bent - (1 - way) * bent[0] - way * bent[-1])


def _resampled(values: Curve, count: int) -> Curve:
    """Return `count` rows, evenly spaced from the first to the last, between those of (N, M)."""
    places = np.linspace(0, len(values) - 1, count)
    columns = [np.interp(places, np.arange(len(values)), column) for column in values.T]
    return np.stack(columns, axis=1)
