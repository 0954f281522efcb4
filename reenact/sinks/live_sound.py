"""A microphone's sound alongside live pictures.

The delay between capture and write of a picture varies, so both sound and picture are stored with
their time of capture. The clocks of sound cards are off by some 10 ppm, and buffers get lost. So
each piece of sound carries its time of capture, and the written sound is stretched to match.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Protocol

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.types import SOUND_HZ

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

log = logging.getLogger(__name__)

_MAX_JUMP_S: Final = 0.05
"""A larger gap between the sound and its time is closed at once, by silence or by dropping sound.

The same applies to any gap before the first sound."""

_MAX_STRETCH: Final = 0.005
"""A smaller gap is closed by stretching pieces by at most this share, which is inaudible."""

_EASE: Final = 0.2
"""Share of the gap that one piece closes, because the times of single pieces jitter."""

_MAX_QUEUED: Final = 3000

_MAX_LATENCY_S: Final = 2.0
"""A sound card that says that its sound is older does not know its time."""

_SILENT_S: Final = 3.0
"""A microphone that sends nothing for longer is reported."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound: int16 (N,) mono samples at `SOUND_HZ`, and the monotonic time of the first, s."""

    samples: NDArray[np.int16]
    captured_s: float


class Microphone(Protocol):
    """Delivers sound as it is captured."""

    def take(self) -> list[Piece]:
        """Return the sound captured since the last call, in order."""

    def close(self) -> None:
        """Release the device. May be called twice."""


class SoundCard(ClosesOnExit):
    """A microphone of this machine, by sounddevice.

    Args:
        name: its name or a part of it; "": the system's default.

    Raises:
        SinkError: sounddevice is missing, or there is no such microphone.
    """

    def __init__(self, name: str = "") -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the library PortAudio is missing
            raise SinkError(
                "A microphone needs the package sounddevice: `pip install '.[microphone]'`; "
                "on Linux also `sudo apt install libportaudio2`."
            ) from error
        self._pieces: deque[Piece] = deque(maxlen=_MAX_QUEUED)
        try:
            self._stream = sounddevice.InputStream(
                samplerate=SOUND_HZ,
                device=name or None,
                channels=1,
                dtype="int16",
                callback=self._heard,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SinkError(f"The microphone cannot be opened: {error}") from error

    def take(self) -> list[Piece]:
        """Return the sound captured since the last call, in order."""
        return [self._pieces.popleft() for _ in range(len(self._pieces))]

    def hear(self, until_s: float) -> NDArray[np.int16]:
        """Return the samples since the last call, whatever `until_s` is, because it is live."""
        return np.concatenate([np.zeros(0, np.int16), *(piece.samples for piece in self.take())])

    def close(self) -> None:
        """Release the device. May be called twice."""
        self._stream.close()

    def _heard(self, samples: NDArray[np.int16], count: int, times: Any, status: Any) -> None:
        ago_s = times.currentTime - times.inputBufferAdcTime
        if not (times.inputBufferAdcTime and 0 <= ago_s < _MAX_LATENCY_S):  # Windows' MME has none
            ago_s = count / SOUND_HZ + self._stream.latency
        self._pieces.append(Piece(samples[:, 0].copy(), time.monotonic() - ago_s))


class LiveSound(ClosesOnExit):
    """Encodes a microphone's sound into a file. Use from one thread.

    Args:
        microphone: it is closed at the end.

    Attributes:
        begins_late: False, because silence is written until the first sound.
    """

    begins_late = False

    def __init__(self, microphone: Microphone) -> None:
        self._microphone = microphone
        self._start_s: float | None = None
        self._container: OutputContainer | None = None
        self._stream: AudioStream | None = None
        self._written = 0
        self._gap = 0.0
        self._heard_s = time.monotonic()

    def join(self, container: OutputContainer, codecs: Collection[str]) -> None:
        """Add a track to a file that has no packets yet."""
        codec = "aac" if "aac" in codecs else "libopus"
        self._stream = container.add_stream(codec, rate=SOUND_HZ)  # type: ignore[assignment]
        assert self._stream is not None
        self._stream.layout = "mono"
        self._stream.codec_context.open()
        size = self._stream.codec_context.frame_size or 1024
        layout = self._stream.codec_context.layout
        format = self._stream.codec_context.format
        self._resampler = av.AudioResampler(format, layout, SOUND_HZ, frame_size=size)
        self._container = container

    def begin(self, time_s: float) -> None:
        """Set the time of capture at which the file begins; older sound is dropped."""
        self._start_s = time_s

    def copy(self, until_s: float) -> None:
        """Encode what the microphone has delivered; `until_s` is ignored, because it is live."""
        if self._start_s is None:
            return
        pieces, now_s = self._microphone.take(), time.monotonic()
        for piece in pieces:
            self._add(piece, piece.captured_s - self._start_s)
        if pieces:
            self._heard_s = now_s
        elif now_s - self._heard_s > _SILENT_S:
            self._heard_s = float("inf")  # tell it once
            log.warning(
                "The microphone sends nothing any more; the recording goes on without sound. "
                "Connect it and record again."
            )

    def finish(self) -> None:
        """Flush the encoder."""
        if self._written:
            self._mux(None)

    def close(self) -> None:
        """Release the microphone; may be called twice."""
        self._microphone.close()

    def _add(self, piece: Piece, file_s: float) -> None:
        """Encode a piece so that it begins at a time of the file, without an audible change."""
        samples = piece.samples
        wanted = round(file_s * SOUND_HZ)
        if wanted + len(samples) <= 0:
            return
        if wanted < 0:
            samples, wanted = samples[-wanted:], 0
        gap = wanted - self._written
        if not self._written or abs(gap) > _MAX_JUMP_S * SOUND_HZ:
            if gap > 0:
                samples = np.concatenate([np.zeros(gap, np.int16), samples])
            else:
                samples = samples[min(-gap, len(samples)) :]
            self._gap = 0.0
        else:
            self._gap += _EASE * (gap - self._gap)
            most = _MAX_STRETCH * len(samples)
            samples = _stretched(samples, round(float(np.clip(self._gap, -most, most))))
        if len(samples):
            self._encode(samples)

    def _encode(self, samples: NDArray[np.int16]) -> None:
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SOUND_HZ
        frame.pts, frame.time_base = self._written, Fraction(1, SOUND_HZ)
        self._written += len(samples)
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        assert self._stream is not None
        assert self._container is not None
        for whole in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(whole))
        if frame is None:
            self._container.mux(self._stream.encode(None))


def _stretched(samples: NDArray[np.int16], more: int) -> NDArray[np.int16]:
    """Return the samples, stretched by `more` samples; a negative number shortens them."""
    if not more or len(samples) + more < 2:
        return samples
    places = np.linspace(0, len(samples) - 1, len(samples) + more)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.int16)
