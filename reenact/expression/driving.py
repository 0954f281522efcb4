"""What is added to the actor's expression, and how it is held.

It is an emotion from a key, from a file, or as a motion, and the action units set by hand.

An emotion is a set of action units (`emotions.acted_units`) and the sum of their typical landmark
deviations, so that renderers driven by emotions, by action units and by landmarks show the same. It
fades in over the actor's expression within `EASE_S`, from whatever is shown at that moment, and
fades out likewise. `drive.mix` says how much of the actor's expression it replaces.

The units set by hand (`drive.units`) come on top of all that and replace nothing. They follow the
hand at once, but no faster than from 0 to 1 within `HAND_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from reenact.config import DriveSettings
from reenact.expression.emotions import EMOTIONS, acted_deviations, acted_units, emotion_weights
from reenact.expression.tracks import Track
from reenact.face.action_units import typical_deviation
from reenact.face.regions import REGIONS, region_weights
from reenact.face.topology import ACTION_UNITS, N_LANDMARKS
from reenact.imaging import smoothstep
from reenact.types import Array, Expression, MotionSource

EASE_S: Final = 0.4
"""Duration of the fade from what is shown to another emotion, or back to the actor."""

HAND_S: Final = 0.2
"""Minimum time in which a unit set by hand goes from 0 to 1. Only its speed is limited: a knob that
is turned slowly is followed without delay, and a jump of the value is no jump of the face."""

_PUT_OUT: Final = {"mouth_open": 0.45, "jaw_drop": 0.5, "pucker": 0.1}
"""Action units of a mouth that puts out its tongue."""

MOTION_FPS: Final = 25.0
HOLD_S: Final = 0.6
"""How long a motion that is played once is held at its peak."""

MAX_INTENSITY: Final = 2.0
"""Maximum strength of the whole expression; 1: as acted."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added to the actor's expression in one frame.

    Attributes:
        levels: (8,) strength of each of `EMOTIONS`, 0 to 1.
        units: (17,) action units, 0 to 1.
        deviation: (478, 3) face frame, iod, before the intensity is applied.
        replaced: share of the actor's expression that is removed, 0 to 1.
        intensity: strength of the whole expression, 0 to 2.
        tongue: how far the tongue is put out, 0 to 1. The units open the mouth for it.
    """

    levels: Array
    units: Array
    deviation: Array
    replaced: float = 0.0
    intensity: float = 1.0
    tongue: float = 0.0

    @property
    def idle(self) -> bool:
        """True if nothing is added."""
        return not (self.replaced or self.levels.any() or self.deviation.any())

    @property
    def strength(self) -> np.float32:
        """That of the strongest emotion or action unit, 0 to 1."""
        return np.float32(max(self.levels.max(), self.units.max()))

    def kept(self) -> Array:
        """Return (478, 1): how much of the actor's deviation is kept, 0 to 1; at the eyes 1."""
        return kept_points(self.replaced)

    def mixed_units(self, units: Array) -> Array:
        """Return the (17,) units that result from the actor's units and this addition."""
        return np.clip(kept_units(self.replaced) * units + self.units, 0, 1).astype(np.float32)

    def emotion(self, units: Array) -> Array:
        """Return the (8,) emotion weights that result from the actor's units and this addition."""
        if self.idle:
            return emotion_weights(units)
        named = self.levels.any()
        weights = emotion_weights(units if named else self.mixed_units(units))
        if named:
            own = self.units - self.levels @ acted_units()
            weights = (1 - self.replaced) * weights + self.levels + emotion_weights(own)
        weights[0] = 0
        weights /= max(float(weights.sum()), 1.0)
        weights[0] = 1 - weights.sum()
        return np.asarray(weights, np.float32)

    def with_units(self, units: Array, tongue: float = 0.0) -> Addition:
        """Return this addition with more action units, (17,) 0 to 1, and with a tongue put out.

        No unit exceeds 1. The mouth is open once half of the tongue is out.
        """
        if tongue > 0:
            opens = np.array([_PUT_OUT.get(name, 0.0) for name in ACTION_UNITS], np.float32)
            units = np.maximum(units, np.float32(min(2 * tongue, 1.0)) * opens)
        more = np.minimum(units, 1 - self.units)
        if not (more.any() or tongue):
            return self
        deviation = self.deviation + typical_deviation(more)
        return replace(self, units=self.units + more, deviation=deviation, tongue=tongue)


_IS_EYES: Final = np.array(["blink" in name or "eye" in name for name in ACTION_UNITS])


def kept_points(replaced: float) -> Array:
    """Return (478, 1): what a share of 0 to 1 that is replaced leaves of a deviation; at eyes 1."""
    eyes = region_weights()[REGIONS.index("eyes")]
    return np.asarray(1 - replaced * (1 - eyes), np.float32)[:, None]


def kept_units(replaced: float) -> Array:
    """Return (17,): what a share of 0 to 1 that is replaced leaves of action units; at eyes 1."""
    return np.asarray(np.where(_IS_EYES, 1.0, 1.0 - replaced), np.float32)


class Hold:
    """Keeps the actor's expression but for the eyes; the head goes on moving, too.

    The first expression after `on` is set is kept. When `on` is cleared, the face goes over to the
    actor's within `EASE_S`. One thread calls `step`.

    Attributes:
        on: True to keep it; any thread may set it.
    """

    def __init__(self) -> None:
        self.on = False
        self._kept: Expression | None = None
        self._share = 0.0

    def step(self, acted: Expression, dt_s: float) -> Expression:
        """Return what is shown of an expression that comes `dt_s` seconds after the last one."""
        if not self.on:
            self._share = max(self._share - dt_s / EASE_S, 0.0)
        elif self._share < 1:
            self._kept, self._share = self._mixed(acted), 1.0
        return self._mixed(acted)

    def _mixed(self, acted: Expression) -> Expression:
        kept = self._kept
        if kept is None or not self._share:
            return acted
        replaced = float(smoothstep(self._share))
        points, units = kept_points(replaced), kept_units(replaced)
        return Expression(
            points * acted.deviation + (1 - points) * kept.deviation,
            acted.pose,
            units * acted.action_units + (1 - units) * kept.action_units,
            acted.tongue + replaced * (kept.tongue - acted.tongue),
        )


def nothing(intensity: float = 1.0) -> Addition:
    """Return the addition that adds and removes nothing."""
    return Addition(
        np.zeros(len(EMOTIONS), np.float32),
        np.zeros(len(ACTION_UNITS), np.float32),
        np.zeros((N_LANDMARKS, 3), np.float32),
        intensity=intensity,
    )


class _UnitsByHand:
    """The action units and the tongue set by hand, as they are shown. One thread calls it."""

    def __init__(self, settings: DriveSettings) -> None:
        self._settings = settings
        self._shown: Array | None = None

    def step(self, dt_s: float, applied: bool) -> tuple[Array, float]:
        """Return the (17,) units and the tongue `dt_s` seconds after the last ones, 0 to 1.

        The first ones are shown at once. While they are not applied, they are 0.
        """
        given = self._settings.units
        units = np.array([getattr(given, name) for name in (*ACTION_UNITS, "tongue")], np.float32)
        if not applied:
            units[:] = 0
        elif self._shown is not None:
            way = np.float32(dt_s / HAND_S)
            units = np.clip(units, self._shown - way, self._shown + way)
        self._shown = units
        return units[:-1], float(units[-1])


class Driver:
    """Decides frame by frame what is added to the actor's expression.

    One thread calls it. The settings are read at each step.

    Args:
        settings: emotion, intensity, mix and the units set by hand.
        track: emotions and action units over time from a file; used while the emotion is "actor".
        motions: generates the course of an emotion; None: it fades in.
    """

    def __init__(
        self,
        settings: DriveSettings,
        track: Track | None = None,
        motions: MotionSource | None = None,
    ) -> None:
        self._settings, self._track, self._motions = settings, track, motions
        self._by_hand = _UnitsByHand(settings)
        self._shown, self._from = nothing(), nothing()
        self._cause = "actor"
        self._since_s = EASE_S
        self._start_s: float | None = None
        self._track_s = 0.0
        self._motion: Array | None = None
        self._seed = 0
        self._playing = ""

    def play(self) -> None:
        """Play the emotion's motion once (without one, a smile), then go on as before."""
        emotion = self._settings.emotion
        self._playing = "happy" if emotion in ("actor", "neutral") else emotion
        self._begin("motion", self._playing)

    def step(self, dt_s: float, time_s: float, *, by_hand: bool = True) -> Addition:
        """Advance fades and motions by `dt_s` seconds; return what is added at `time_s`.

        The track starts at the first step. After a gap between frames it goes on in time. Without
        `by_hand`, the units set by hand are left out at once; later they come back from 0.
        """
        settings = self._settings
        if self._start_s is None:
            self._start_s = time_s
        self._track_s = max(time_s - self._start_s, 0.0)
        self._since_s += dt_s
        if self._playing and self._since_s > self._length_s() + HOLD_S:
            self._playing = ""
        if not self._playing and self._cause != settings.emotion:
            self._begin(settings.emotion, settings.emotion)
        goal = self._goal(self._playing or settings.emotion)
        share = np.float32(smoothstep(min(self._since_s / EASE_S, 1.0)))
        if share < 1:
            before = self._from
            goal = Addition(
                before.levels + share * (goal.levels - before.levels),
                before.units + share * (goal.units - before.units),
                before.deviation + share * (goal.deviation - before.deviation),
                float(before.replaced + share * (goal.replaced - before.replaced)),
                goal.intensity,
            )
        self._shown = goal
        return goal.with_units(*self._by_hand.step(dt_s, by_hand))

    def _begin(self, cause: str, emotion: str) -> None:
        self._cause, self._from, self._since_s = cause, self._shown, 0.0
        self._motion = None
        if self._motions is not None and emotion not in ("actor", "neutral"):
            self._motion = self._motions.motion(emotion, self._seed)
            self._seed += 1

    def _length_s(self) -> float:
        return EASE_S if self._motion is None else (len(self._motion) - 1) / MOTION_FPS

    def _goal(self, emotion: str) -> Addition:
        settings = self._settings
        if emotion == "actor":
            return self._tracked()
        number = EMOTIONS.index(emotion)
        levels = np.eye(len(EMOTIONS), dtype=np.float32)[number]
        units, deviation = acted_units()[number], acted_deviations()[number]
        if self._motion is not None:
            place = min(self._since_s * MOTION_FPS, len(self._motion) - 1.0)
            before = int(place)
            after = min(before + 1, len(self._motion) - 1)
            part = np.float32(place - before)
            deviation = self._motion[before] + part * (self._motion[after] - self._motion[before])
            done = np.float32(min(self._since_s / self._length_s(), 1.0))
            levels, units = done * levels, done * units
        return Addition(levels, units, deviation, settings.mix, settings.intensity)

    def _tracked(self) -> Addition:
        settings = self._settings
        found = None if self._track is None else self._track.at(self._track_s)
        if found is None:
            return nothing(settings.intensity)
        levels, own, intensity = found
        units = levels @ acted_units() + own
        return Addition(
            levels,
            np.clip(units, 0, 1),
            np.tensordot(levels, acted_deviations(), 1) + typical_deviation(own),
            settings.mix * float(min(max(levels.sum(), units.max()), 1)),
            min(settings.intensity * intensity, MAX_INTENSITY),
        )
