"""A clap, seen and heard: sound and picture agree in the file, whatever the clocks do."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from reenact.sinks.live_sound import RATE_HZ, LiveSound, Piece
from reenact.sinks.video_file import FileSink
from reenact.types import Frame

FPS = 25.0
START_S = 5000.0


class Room:
    """A clap every two seconds, as a microphone hears it.

    Args:
        ppm: by how many millionths the card's clock is fast.
        lost: times in s at which a tenth of a second gets lost.
        piece_s: how much sound the card delivers at once.
    """

    def __init__(
        self, ppm: float = 0.0, lost: tuple[float, ...] = (), piece_s: float = 0.02
    ) -> None:
        self.closed = 0
        self.now_s = START_S
        self._heard_s = START_S - 0.5
        self._ppm = ppm
        self._lost = lost
        self._piece_s, self._samples = piece_s, 0
        self._rng = np.random.default_rng(1)

    def take(self) -> list[Piece]:
        pieces = []
        while self._heard_s + self._piece_s <= self.now_s:
            rate_hz = RATE_HZ * (1 + self._ppm / 1e6)
            elapsed_s = self._heard_s + self._piece_s - (START_S - 0.5)
            count = round(elapsed_s * rate_hz) - self._samples
            self._samples += count
            times = self._heard_s + np.arange(count) / rate_hz
            samples = np.where((times - START_S) % 2 < 0.002, 20_000, 0).astype(np.int16)
            begin_s = self._heard_s - START_S
            if not any(at <= begin_s < at + 0.1 for at in self._lost):
                told_s = self._heard_s + self._rng.normal(0, 0.002)  # such times tremble
                pieces.append(Piece(samples, told_s))
            self._heard_s += self._piece_s
        return pieces

    def close(self) -> None:
        self.closed += 1


def record(path: Path, room: Room, seconds: float, delay_s: float, fps: float = FPS) -> None:
    """Write pictures that are late, and white for those captured at a clap."""
    with FileSink(path) as sink:
        sound = LiveSound(room, lambda: delay_s)
        sink.take_sound(lambda: sound)
        sink.open((64, 48), fps)
        for number in range(round(seconds * fps)):
            captured_s = START_S + number / fps
            room.now_s = captured_s + delay_s
            level = 255 if number % round(2 * fps) == 0 else 0
            sink.write(Frame(np.full((48, 64, 3), level, np.uint8), room.now_s, number))
    assert room.closed


def seen_and_heard(path: Path) -> tuple[list[float], list[float]]:
    """Return the times of the white pictures and of the claps, s."""
    with av.open(str(path)) as file:
        pictures = file.decode(video=0)
        seen = [p.time or 0.0 for p in pictures if p.to_ndarray(format="gray").mean() > 128]
    heard: list[float] = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).reshape(-1) > 0.2)
            for place in loud:
                at_s = (frame.time or 0.0) + place / frame.sample_rate
                if not heard or at_s - heard[-1] > 0.5:
                    heard.append(at_s)
    return seen, heard


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("delay_s", [0.05, 0.3])
def test_a_clap_is_heard_when_it_is_seen(tmp_path: Path, ending: str, delay_s: float) -> None:
    path = tmp_path / f"clap{ending}"
    record(path, Room(), 7.0, delay_s)
    seen, heard = seen_and_heard(path)
    assert len(seen) == 4
    assert heard[-3:] == pytest.approx(seen[-3:], abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("ppm", "seconds"), [(100.0, 3600), (-1000.0, 60)])
def test_no_clap_drifts_where_the_cards_clock_runs_off(
    tmp_path: Path, ppm: float, seconds: int
) -> None:
    """Left alone, 100 millionths would come to 360 ms at the end of the hour."""
    path = tmp_path / "long.mkv"
    record(path, Room(ppm, piece_s=0.1), seconds, 0.08, fps=1.0)
    seen, heard = seen_and_heard(path)
    assert len(heard) == len(seen) == seconds // 2
    assert heard == pytest.approx(seen, abs=0.02)


def test_what_a_card_loses_becomes_silence(tmp_path: Path) -> None:
    path = tmp_path / "lost.mkv"
    record(path, Room(lost=(3.0, 5.0)), 9.0, 0.08)
    seen, heard = seen_and_heard(path)
    assert heard[-2:] == pytest.approx(seen[-2:], abs=0.02)
