"""A camera that sees claps and a microphone that hears them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import av
import numpy as np

from reenact.config import Section
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.sinks.live_sound import Piece
from reenact.types import SOUND_HZ, Frame, Source

FPS: Final = 25.0
_FADE: Final = 16
_HEARD_LATE_S: Final = 0.3
_claps: Final[list[float]] = []


class ClapCamera(ClosesOnExit):
    """Black pictures that turn white every two seconds, when somebody claps, and then fade.

    The level tells the time since the clap, so that its picture may be dropped. Like a camera's,
    pictures that nobody took in time are gone.
    """

    name = "clap"
    live = True
    size = (160, 120)
    fps = FPS

    def __init__(self) -> None:
        _claps.clear()
        self._start_s, self._index = time.monotonic(), 0

    def read(self) -> Frame | None:
        now = int((time.monotonic() - self._start_s) * FPS)
        first, self._index = self._index, max(self._index, now)
        _claps.extend(self._start_s + i / FPS for i in range(first, self._index + 1) if i % 50 == 0)
        captured_s, since = self._start_s + self._index / FPS, self._index % 50
        time.sleep(max(captured_s - time.monotonic(), 0.0))
        level = 255 - _FADE * since if since < 8 else 0
        self._index += 1
        return Frame(np.full((120, 160, 3), level, np.uint8), captured_s, self._index - 1)

    def close(self) -> None:
        pass


class ClapMicrophone(ClosesOnExit):
    """Hears the claps; delivers what it heard a little later."""

    def __init__(self, name: str = "") -> None:
        self._done_s = time.monotonic()

    def take(self) -> list[Piece]:
        count = max(int((time.monotonic() - _HEARD_LATE_S - self._done_s) * SOUND_HZ), 0)
        samples = np.zeros(count, np.int16)
        for clap_s in _claps:
            at = round((clap_s - self._done_s) * SOUND_HZ)
            if 0 <= at < count:
                samples[at : at + 96] = 20_000
        piece = Piece(samples, self._done_s)
        self._done_s += count / SOUND_HZ
        return [piece] if count else []

    def close(self) -> None:
        pass


def _build(argument: str, settings: Section) -> Source:
    return ClapCamera()


CAMERA: Final = SourceSpec("clap", "a camera that sees somebody clap", _build)


def seen_and_heard(path: Path) -> tuple[list[float], list[float]]:
    """Return when the clap was of each picture that is bright at the left edge, and claps, s."""
    with av.open(str(path)) as file:
        pictures = [(p.time or 0.0, p.to_ndarray(format="gray")) for p in file.decode(video=0)]
    levels = [
        (at_s, float(np.median(picture[len(picture) // 2, :8]))) for at_s, picture in pictures
    ]
    seen = [at_s - round((255 - level) / _FADE) / FPS for at_s, level in levels if level > 128]
    heard: list[float] = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).reshape(-1) > 0.2)
            for place in loud:
                at_s = (frame.time or 0.0) + place / frame.sample_rate
                if not heard or at_s - heard[-1] > 0.5:
                    heard.append(at_s)
    return seen, heard
