"""Estimates from the sound of a voice how far its speaker's mouth is open.

This follows a level and reads no lips: it knows when and how loudly somebody speaks, not what.
The opening of a mouth follows the envelope of its speech (Chandrasekaran et al. 2009, "The natural
statistics of audiovisual speech").

The level is that of 300 to 3000 Hz: most of a nasal, for which lips or tongue shut the mouth, is
lower, and hissing is higher. Only periodic sound opens the mouth, so a fan, keys or a rustling
sleeve do not. The opening lies between the noise and the speaker's usual loudness. Both are learned
while running, so the gain of the microphone does not matter.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.imaging import ramp
from reenact.types import SOUND_HZ, Array

_DECIMATED: Final = 3
_STEP: Final = SOUND_HZ // _DECIMATED // 50
_WINDOW: Final = 2 * _STEP
"""Samples of 20 ms between two estimates, and of the window of each."""

_STEP_S: Final = _STEP * _DECIMATED / SOUND_HZ
_MAX_STEPS: Final = 25
"""Sound that has piled up is cut to so many steps."""

_BIN_HZ: Final = SOUND_HZ / _DECIMATED / _WINDOW
_SPEECH: Final = slice(round(300 / _BIN_HZ), round(3000 / _BIN_HZ))
_HARMONICS: Final = slice(round(120 / _BIN_HZ), round(2000 / _BIN_HZ))

_LAGS: Final = 256
"""Length of an autocorrelation, which is thus sampled at 6.4 kHz."""

_PITCH: Final = slice(round(_LAGS * _BIN_HZ / 400), round(_LAGS * _BIN_HZ / 70))
"""Lags of a voice's pitch, 70 to 400 Hz."""

_VOICED: Final = (0.55, 0.8)
"""Periodicity from which on sound opens the mouth at all, and as far as its level says."""

_SILENCE_DB: Final = -80.0
"""Lowest level, relative to full scale."""

_ABOVE_NOISE_DB: Final = 8.0
"""How far above the noise the mouth begins to open."""

_USUAL_DB, _MIN_USUAL_DB = 30.0, 14.0
"""How far above the noise it is fully open before anybody has spoken, and at least."""

_RANGE_DB: Final = 24.0
"""From a shut to a fully open mouth."""

_NOISE_RISE_DB: Final = 6.0
"""How fast the estimate of the noise may rise, per second."""

_LOUDER_S, _QUIETER_S = 0.15, 10.0
"""Time constants of the usual loudness, in voiced sound."""

_OPEN_S, _CLOSE_S = 0.04, 0.08
"""Time constants of the mouth. With them it moves about as fast as talking mouths."""


class Envelope:
    """Follows one voice. One thread at a time.

    Args:
        opening: at the beginning.

    Attributes:
        opening: the last estimate, 0 to 1.
    """

    def __init__(self, opening: float = 0.0) -> None:
        self.opening = opening
        self._raw = np.zeros(0, np.int16)
        self._samples = np.zeros(0, np.float32)
        self._noise_db: float | None = None
        self._usual_db: float | None = None

    def hear(self, samples: NDArray[np.int16]) -> float:
        """Return the opening at the end of further mono samples at `SOUND_HZ`."""
        raw = np.concatenate([self._raw, samples])
        whole = len(raw) - len(raw) % _DECIMATED
        self._raw = raw[whole:]
        scaled = raw[:whole].astype(np.float32) * np.float32(1 / 32768 / _DECIMATED)
        fewer = sum(scaled[part::_DECIMATED] for part in range(_DECIMATED))
        heard = np.concatenate([self._samples, fewer])[-_MAX_STEPS * _STEP - _WINDOW :]
        while len(heard) >= _WINDOW:
            self._follow(*level_and_periodicity(heard[:_WINDOW]))
            heard = heard[_STEP:]
        self._samples = heard
        return self.opening

    def _follow(self, level_db: float, periodicity: float) -> None:
        noise_db = level_db
        if self._noise_db is not None:
            noise_db = min(level_db, self._noise_db + _NOISE_RISE_DB * _STEP_S)
        self._noise_db = noise_db
        usual_db = noise_db + _USUAL_DB if self._usual_db is None else self._usual_db
        voiced = ramp(periodicity, *_VOICED)
        if voiced and level_db > noise_db + _ABOVE_NOISE_DB:
            share = _eased(_LOUDER_S if level_db > usual_db else _QUIETER_S)
            usual_db = self._usual_db = usual_db + share * (level_db - usual_db)
        open_db = max(usual_db, noise_db + _MIN_USUAL_DB)
        shut_db = max(open_db - _RANGE_DB, noise_db + _ABOVE_NOISE_DB)
        way = voiced * ramp(level_db, shut_db, open_db) - self.opening
        self.opening += _eased(_OPEN_S if way > 0 else _CLOSE_S) * way


def level_and_periodicity(window: Array) -> tuple[float, float]:
    """Return the level in the band of speech, dB, and how periodic the sound is, 0 to 1.

    Periodicity is the largest autocorrelation at a lag that a voice's pitch may have, divided by
    that of the window function (Boersma 1993).

    Args:
        window: samples of 40 ms at a third of `SOUND_HZ`, -1 to 1.
    """
    taper, tapers_own = _taper()
    power = _power(window * taper)
    level = max(float(2 * power[_SPEECH].sum()) / _WINDOW, 10 ** (_SILENCE_DB / 10))
    alike = np.fft.irfft(power[: _HARMONICS.stop] * _emphasis(), _LAGS)
    periodicity = (alike[_PITCH] / tapers_own[_PITCH]).max() / max(alike[0], 1e-12)
    return 10 * math.log10(level), float(periodicity)


@lru_cache(maxsize=1)
def _emphasis() -> Array:
    """Return the weights of the harmonics' powers: rising, because rumbling falls with frequency.

    Otherwise the few lowest frequencies of a rumble would look like a voice.
    """
    weights = np.arange(_HARMONICS.stop, dtype=np.float32)
    weights[: _HARMONICS.start] = 0
    return weights


def _power(window: Array) -> Array:
    spectrum = np.fft.rfft(window)
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


@lru_cache(maxsize=1)
def _taper() -> tuple[Array, Array]:
    """Return the window function, of energy 1, and its autocorrelation, 1 at lag 0."""
    taper = np.hanning(_WINDOW)
    taper /= np.linalg.norm(taper)
    own = np.fft.irfft(_power(taper)[: _LAGS // 2 + 1], _LAGS)
    return taper.astype(np.float32), np.asarray(own / own[0])


def _eased(time_s: float) -> float:
    """Return the share of the way that a value with this time constant goes in a step."""
    return 1 - math.exp(-_STEP_S / time_s)
