"""Sounds of a speaker and of a room, and what listens to them."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Final, TypeVar

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from reenact import registry
from reenact.config import TrackingSettings
from reenact.lifecycle import ClosesOnExit
from reenact.sources.video_file import VideoSource
from reenact.types import SOUND_HZ, Array, Image

Samples = NDArray[np.int16]
T = TypeVar("T", av.VideoFrame, av.AudioFrame)

COVERED_FROM: Final = 15
"""Number of the frame from which on `write_covered` hides the mouth."""

_BLOCK: Final = 1024


def speech(time_s: float, level_db: float = -25.0, pitch_hz: float = 120.0) -> Array:
    """Return four syllables a second of a vowel, each open for its first two thirds, -1 to 1.

    The vowel has the harmonics of a voice, whose pitch falls a little, at the formants of an "a".
    """
    time = np.arange(round(time_s * SOUND_HZ)) / SOUND_HZ
    phase = 2 * np.pi * pitch_hz * (time - 0.01 * time**2)
    formants = [(700, 90.0), (1200, 110.0), (2600, 160.0)]
    sound = np.zeros_like(time)
    for number in range(1, round(3500 / pitch_hz)):
        hz = number * pitch_hz
        strength = sum(1 / (1 + ((hz - place) / width) ** 2) for place, width in formants)
        sound += (strength + 0.03) * np.sin(number * phase)
    syllable = np.clip(np.sin(2 * np.pi * 4 * time) + 0.5, 0, None) ** 0.5
    sound *= syllable * 10 ** (level_db / 20) / np.sqrt(np.mean((sound * syllable) ** 2))
    return np.asarray(sound, np.float32)


def noise(time_s: float, level_db: float = -50.0, seed: int = 0) -> Array:
    """Return white noise."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 10 ** (level_db / 20), round(time_s * SOUND_HZ)).astype(np.float32)


def as_samples(sound: Array) -> Samples:
    return np.asarray(np.clip(sound, -1, 1) * 32767, np.int16)


class FakeMicrophone(ClosesOnExit):
    """Hears a sound as time goes on; delivers nothing more at its end, as if unplugged.

    Args:
        sound: -1 to 1, from the time of the first frame.
    """

    def __init__(self, sound: Array) -> None:
        self.closed = 0
        self._samples = as_samples(sound)
        self._done = 0

    def hear(self, until_s: float) -> Samples:
        done, self._done = self._done, max(round(until_s * SOUND_HZ), self._done)
        return self._samples[done : self._done]

    def close(self) -> None:
        self.closed += 1


def write_covered(path: Path, actor: Path, frames: int, sound: Array) -> Path:
    """Encode a video's beginning, 25 frames a second, with this sound and a card over the mouth."""
    tracker = registry.load("trackers", "mediapipe").make(TrackingSettings())
    with (
        contextlib.closing(tracker),
        VideoSource(actor) as source,
        av.open(str(path), "w") as file,
    ):
        pictures = file.add_stream("libx264", rate=25)
        heard = file.add_stream("aac", rate=SOUND_HZ)
        assert isinstance(pictures, VideoStream)
        assert isinstance(heard, AudioStream)
        pictures.width, pictures.height = source.size
        heard.layout = "mono"
        for number in range(frames):
            frame = source.read()
            assert frame is not None
            face = tracker.track(frame)
            assert face is not None
            image = frame.image.copy()
            if number >= COVERED_FROM:
                _lay_card_on(image, face.points)
            file.mux(
                pictures.encode(_timed(av.VideoFrame.from_ndarray(image, "rgb24"), number, 25))
            )
        samples = as_samples(sound)[None]
        for start in range(0, samples.shape[1], _BLOCK):
            piece = av.AudioFrame.from_ndarray(samples[:, start : start + _BLOCK], "s16", "mono")
            piece.sample_rate = SOUND_HZ
            file.mux(heard.encode(_timed(piece, start, SOUND_HZ)))
        file.mux(pictures.encode())
        file.mux(heard.encode())
    return path


def _timed(frame: T, pts: int, rate: int) -> T:
    frame.pts, frame.time_base = pts, Fraction(1, rate)
    return frame


def _lay_card_on(image: Image, face: Array) -> None:
    iod = float(np.linalg.norm(face[468, :2] - face[473, :2]))
    x, y = face[[13, 14, 61, 291], :2].mean(axis=0)
    low, high = (
        (round(y - 0.45 * iod), round(x - 0.7 * iod)),
        (round(y + 0.5 * iod), round(x + 0.7 * iod)),
    )
    image[low[0] : high[0], low[1] : high[1]] = (225, 222, 215)
