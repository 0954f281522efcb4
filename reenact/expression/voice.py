"""The actor's voice opens the mouth where the camera does not see it.

It goes the same way as a tracked expression, so gains, proportions and limits apply to it. It is
eased in as the tracker's trust in the mouth falls. A tracker may take a cover for closed lips and
trust them; so the voice opens what looked covered until the mouth is seen to open by itself. How
far it opens is estimated in `voice_envelope`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.expression.idle_life import Life
from reenact.expression.voice_envelope import Envelope
from reenact.face.action_units import typical_deviation
from reenact.face.regions import PARTS, part_weights
from reenact.face.topology import ACTION_UNITS
from reenact.imaging import smoothstep
from reenact.types import SOUND_HZ, Array, Expression, VoiceInput

log = logging.getLogger(__name__)

LOUD_VOWEL: Final = {"mouth_open": 0.6, "jaw_drop": 0.25}
"""Action units of a full opening, for which `benchmarks/voice.py` compares talking mouths."""

_MOUTH: Final = PARTS.index("mouth")
_MOUTH_UNITS: Final = slice(ACTION_UNITS.index("brow_raise_left"))

_COVERED, _SPEAKS = 0.5, 0.5
"""Trust below which a mouth counts as covered until it is seen to open, and the opening by voice
from which on somebody surely speaks."""

_SHUT: Final = 0.02
"""Opening up to which the mouth is shut, so that a target without idle motion keeps still."""

_OPEN: Final = ACTION_UNITS.index("mouth_open")
_SEEN_OPEN: Final = 0.15
"""Activation of `mouth_open` at which a trusted mouth is seen to open."""

_EASE_S: Final = 0.4
"""Duration of the transition when the setting changes, or the mouth is seen again."""

_GAP_S, _SILENT_S = 0.25, 3.0
"""A microphone that sends nothing for so long counts as silent, and is reported."""


class Voice:
    """Hears the actor and moves the mouth. Any thread may call `listen`, one calls the rest.

    Attributes:
        opening: how far the voice opens the mouth, 0 to 1.
        played: the opening of a stored performance for the next `step`; None: it has no voice.
        listens: True if the last `step` listened to somebody or played a voice.
        problem: why nothing is heard any more; "" if there is no problem.
    """

    def __init__(self) -> None:
        self.opening = 0.0
        self.played: float | None = None
        self.listens = False
        self.problem = ""
        self._lock = threading.Lock()
        self._input: VoiceInput | None = None
        self._envelope = Envelope()
        self._share = self._silent_s = 0.0
        self._covered, self._cover = False, 0.0

    def listen(self, voice: VoiceInput | None) -> None:
        """Listen to this from now on and close what was listened to; None: to nothing."""
        with self._lock:
            before, self._input = self._input, voice
            self._silent_s, self.problem = 0.0, ""
            if voice is not None:
                self._envelope = Envelope(self._envelope.opening)
        if before is not None:
            before.close()

    def step(self, dt_s: float, time_s: float) -> None:
        """Hear what was said until a frame's time, `dt_s` seconds after the last call."""
        way = dt_s / _EASE_S
        self._cover = min(max(self._cover + (way if self._covered else -way), 0.0), 1.0)
        with self._lock:
            self.listens = self._input is not None or self.played is not None
            self._share = min(max(self._share + (way if self.listens else -way), 0.0), 1.0)
            opening = self.played or 0.0
            if self._share and self.played is None:
                opening = self._envelope.hear(self._heard(dt_s, time_s))
        self.opening = opening if opening > _SHUT else 0.0

    def hush(self) -> None:
        """Keep the mouth shut until the next `step`."""
        self.opening = 0.0

    def of(self, expression: Expression, trust: Array, suspect: bool = False) -> Expression:
        """Return an expression with the spoken mouth as far as its own is not believed.

        Args:
            expression: the actor's, as tracked.
            trust: (6,) in each of `regions.PARTS`, 0 to 1.
            suspect: True if the mouth looks covered, though not surely. Closed lips that are heard
                to speak then count as covered.
        """
        if not self._share:
            return expression
        own, trusted = float(expression.action_units[_OPEN]), float(trust[_MOUTH])
        is_open = own >= _SEEN_OPEN
        if trusted < _COVERED or (suspect and not is_open and self.opening > _SPEAKS):
            self._covered = True
        elif is_open and trusted == 1:
            self._covered = False
        if trusted == 1 and not self._cover:
            return expression
        vowel, shape = _loud_vowel()
        share = np.float32(smoothstep(self._share))
        replaced = share * np.float32(1 - trusted)
        more = max(self.opening - own / vowel[_OPEN], 0.0) * smoothstep(self._cover) * trusted
        opening = replaced * np.float32(self.opening) + share * np.float32(more)
        weights = part_weights()[_MOUTH][:, None]
        deviation = (1 - replaced * weights) * expression.deviation + opening * weights * shape
        units = expression.action_units.copy()
        units[_MOUTH_UNITS] *= 1 - replaced
        units += opening * vowel
        return replace(expression, deviation=deviation, action_units=units)

    def without_actor(self, life: Life | None) -> Life | None:
        """Return the idle motion with the spoken mouth; None if nothing moves."""
        if not self.opening:
            return life
        vowel, shape = _loud_vowel()
        opening, life = np.float32(self.opening), life or Life.still()
        return replace(
            life, units=life.units + opening * vowel, deviation=life.deviation + opening * shape
        )

    def _heard(self, dt_s: float, time_s: float) -> NDArray[np.int16]:
        """Return the samples since the last frame; a microphone that stops is silent."""
        samples = np.zeros(0, np.int16) if self._input is None else self._input.hear(time_s)
        if len(samples):
            self._silent_s, self.problem = 0.0, ""
            return samples
        self._silent_s += dt_s
        if self._input is not None and self._silent_s > _SILENT_S and not self.problem:
            self.problem = "The microphone sends nothing any more."
            log.warning("%s Connect it, then switch fusion.voice off and on.", self.problem)
        return np.zeros(round(dt_s * SOUND_HZ) if self._silent_s > _GAP_S else 0, np.int16)


@lru_cache(maxsize=1)
def _loud_vowel() -> tuple[Array, Array]:
    """Return the (17,) action units of a full opening, and their (478, 3) deviation."""
    units = np.array([LOUD_VOWEL.get(name, 0.0) for name in ACTION_UNITS], np.float32)
    return units, typical_deviation(units)
