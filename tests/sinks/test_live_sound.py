"""A clap, seen and heard: sound and picture agree in the file, whatever the clocks do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from reenact.sinks.live_sound import LiveSound, Piece, SoundCard
from reenact.sinks.video_file import FileSink
from reenact.types import SOUND_HZ, Frame
from support.clap_room import seen_and_heard
from support.fakes import until

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
            rate_hz = SOUND_HZ * (1 + self._ppm / 1e6)
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
    """Write pictures that are late, now more, now less, and white if captured at a clap."""
    with FileSink(path) as sink:
        sink.take_sound(LiveSound(room))
        sink.open((64, 48), fps)
        for number in range(round(seconds * fps)):
            captured_s = START_S + number / fps
            room.now_s = captured_s + delay_s * (1 + number % 3)
            level = 255 if number % round(2 * fps) == 0 else 0
            image = np.full((48, 64, 3), level, np.uint8)
            sink.write(Frame(image, room.now_s, number, captured_s=captured_s))
    assert room.closed


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("delay_s", [0.05, 0.3])
def test_a_clap_is_heard_when_it_is_seen(tmp_path: Path, ending: str, delay_s: float) -> None:
    path = tmp_path / f"clap{ending}"
    record(path, Room(), 7.0, delay_s)
    seen, heard = seen_and_heard(path)
    assert len(seen) == 4
    assert heard[-3:] == pytest.approx(seen[-3:], abs=0.02)
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        assert (track.layout.name, track.rate) == ("mono", SOUND_HZ)
        assert track.codec_context.name == ("opus" if ending == ".webm" else "aac")


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


def test_sound_that_begins_a_little_after_the_picture_is_in_place_at_once(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    record(path, Room(lost=(-0.075,)), 5.0, 0.08)
    seen, heard = seen_and_heard(path)
    assert heard == pytest.approx(seen[1:], abs=0.01)


def test_sound_from_before_the_picture_is_cut_off_within_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "begun.mkv"
    record(path, Room(piece_s=0.3), 3.0, 0.08)
    seen, heard = seen_and_heard(path)
    assert heard == pytest.approx(seen, abs=0.02)


def test_the_pitch_of_a_sound_whose_times_tremble_does_not(tmp_path: Path) -> None:
    class Tone(Room):
        """A tone of 1 kHz; the times of its pieces are 20 ms off, late and early in turn."""

        def take(self) -> list[Piece]:
            pieces = super().take()
            first = self._samples - sum(len(piece.samples) for piece in pieces)
            for number, piece in enumerate(pieces):
                times = np.arange(first, first + len(piece.samples)) / SOUND_HZ
                first += len(piece.samples)
                tone = (9000 * np.sin(2 * np.pi * 1000 * times)).astype(np.int16)
                late_s = 0.02 * (-1) ** int(times[0])
                pieces[number] = Piece(tone, piece.captured_s + late_s)
            return pieces

    path = tmp_path / "tone.mkv"
    record(path, Tone(), 5.0, 0.08)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    sound = np.concatenate(decoded)[SOUND_HZ // 2 : 4 * SOUND_HZ]
    rising = np.flatnonzero((sound[:-1] < 0) & (sound[1:] >= 0))
    per_second = SOUND_HZ * 50 / (rising[50:] - rising[:-50])
    assert np.abs(per_second - 1000).max() < 12


def test_a_microphone_is_released_by_a_recording_that_got_no_picture(tmp_path: Path) -> None:
    room, sink = Room(), FileSink(tmp_path / "none.mkv")
    sink.take_sound(LiveSound(room))
    sink.close()
    assert room.closed
    assert not list(tmp_path.iterdir())


def test_a_microphone_that_falls_silent_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, now_s = Room(), [0.0]
    monkeypatch.setattr("reenact.sinks.live_sound.time.monotonic", lambda: now_s[0])
    with FileSink(tmp_path / "out.mkv") as sink:
        sink.take_sound(LiveSound(room))
        sink.open((64, 48), FPS)
        for number in range(400):
            now_s[0] = number / FPS
            if number < 100:  # then it is unplugged
                room.now_s = START_S + number / FPS
            image = np.zeros((48, 64, 3), np.uint8)
            time_s = START_S + number / FPS
            sink.write(Frame(image, time_s, number, captured_s=time_s))
    assert caplog.text.count("The microphone sends nothing any more") == 1


def test_sound_of_a_card_that_knows_no_times_is_dated_by_its_length() -> None:
    card = SoundCard.__new__(SoundCard)
    card._pieces, card._stream = deque(), SimpleNamespace(latency=0.1)
    buffer = np.zeros((480, 1), np.int16)
    for told in (
        SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0),
        SimpleNamespace(currentTime=9e4, inputBufferAdcTime=0.0),
    ):
        before_s = time.monotonic()
        buffer[:] = 7
        card._heard(buffer, 480, told, None)
        buffer[:] = 0  # the card uses it again
        (piece,) = card.take()
        assert (piece.samples == 7).all()
        assert piece.captured_s == pytest.approx(before_s - 0.11, abs=0.01)


def test_a_card_is_heard_in_whole_or_not_at_all() -> None:
    card = SoundCard.__new__(SoundCard)
    card._pieces, card._stream = deque(), SimpleNamespace(latency=0.1)
    told = SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0)
    spoken = np.arange(1000, dtype=np.int16)[:, None]
    for part in (spoken[:480], spoken[480:]):
        card._heard(part, len(part), told, None)
    np.testing.assert_array_equal(card.hear(0.0), spoken[:, 0])
    nothing = card.hear(1.0)
    assert len(nothing) == 0
    assert nothing.dtype.name == "int16"


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_machine_that_sleeps_leaves_no_gap_and_no_shift(tmp_path: Path, ending: str) -> None:
    path, room, slept_s = tmp_path / f"slept{ending}", Room(), 8 * 3600.0
    with FileSink(path) as sink:
        sink.take_sound(LiveSound(room))
        sink.open((64, 48), FPS)
        for number in range(190):
            captured_s = START_S + number / FPS + (slept_s if number >= 90 else 0.0)
            if number == 90:
                room.take()  # a sleeping card hears nothing
                room._heard_s = captured_s - 0.5
                room._samples = round((room._heard_s - START_S + 0.5) * SOUND_HZ)
            room.now_s = captured_s + 0.08
            level = 255 if number % 50 == 0 else 0
            image = np.full((48, 64, 3), level, np.uint8)
            sink.write(Frame(image, room.now_s, number, captured_s=captured_s))
    seen, heard = seen_and_heard(path)
    assert seen == pytest.approx([0, 2, 4, 6], abs=0.03)
    assert heard[-1] == pytest.approx(seen[-1], abs=0.03)


CLAPS = """
import sys, time
import numpy as np, sounddevice
from pathlib import Path
from reenact.sinks.live_sound import LiveSound, SoundCard
from reenact.sinks.video_file import FileSink
from reenact.types import SOUND_HZ, Frame

DELAY_S, LAST = 0.06, 5
played, done = [], 0

def clap(out, count, times, status):
    global done
    out[:] = 0
    start_s = times.outputBufferDacTime - times.currentTime + time.monotonic()
    for at in range(done, done + count):
        if at % SOUND_HZ == SOUND_HZ // 2:
            out[at - done : at - done + 96] = 20_000
            played.append(start_s + (at - done) / SOUND_HZ)
    done += count

def show(captured_s, level):
    image = np.full((48, 64, 3), level, np.uint8)
    sink.write(Frame(image, captured_s + DELAY_S, 0, captured_s=captured_s))

with FileSink(Path(sys.argv[1])) as sink:
    sink.take_sound(LiveSound(SoundCard()))
    sink.open((64, 48), 25.0)
    with sounddevice.OutputStream(SOUND_HZ, channels=1, dtype="int16", callback=clap):
        while len(played) < 2:  # the first one comes while the devices still settle
            time.sleep(0.01)
        show(time.monotonic(), 0)
        for number in range(2, LAST):
            while len(played) <= number or time.monotonic() < played[number] + 0.3:
                time.sleep(0.01)
            show(played[number], 255)
            show(played[number] + 0.04, 0)
    show(time.monotonic(), 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pulseaudio") is None, reason="PulseAudio is missing")
def test_a_clap_from_a_real_sound_server_is_heard_when_it_is_seen(tmp_path: Path) -> None:
    """The microphone is the monitor of a null sink, by way of PortAudio and ALSA."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("sounddevice or PortAudio is missing: .[microphone]")
    path, log = tmp_path / "room.mkv", tmp_path / "log"
    (tmp_path / ".asoundrc").write_text("pcm.!default pulse\nctl.!default pulse\n", "utf-8")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment.pop("PULSE_SERVER", None)
    words = ["-n", "--daemonize=no", "--exit-idle-time=-1", f"--log-target=file:{log}"]
    words += ["--load=module-native-protocol-unix", "--load=module-null-sink"]
    with subprocess.Popen(["pulseaudio", *words], env=environment) as server:
        try:
            until((tmp_path / "pulse" / "native").exists)
            command = [sys.executable, "-c", CLAPS, str(path)]
            subprocess.run(command, env=environment, check=True, timeout=120)
        finally:
            server.terminate()
    seen, heard = seen_and_heard(path)
    assert len(seen) == 3
    assert heard[-3:] == pytest.approx(seen, abs=0.02)
