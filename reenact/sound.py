"""The sound of a video file: copied into the file that is written, or listened to."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol, runtime_checkable

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from reenact.lifecycle import ClosesOnExit
from reenact.types import SOUND_HZ, Sink, Source

log = logging.getLogger(__name__)

_STEPS_S: Final = (-0.5, 30.0)
"""Steps of a file's clock that it may take without having been set anew, s."""


def is_jump(step_s: float) -> bool:
    """Return whether a file's clock was set anew, as where files were joined or a signal was lost.

    `step_s` is from one picture or packet to the next, s.
    """
    return not _STEPS_S[0] <= step_s <= _STEPS_S[1]


class Sound(ClosesOnExit):
    """The first sound track of a file. One thread calls.

    Sound that cannot be copied is left out with a logged warning.

    Attributes:
        begins_late: True if it begins after the first picture. False for AAC whose packets have
            their own headers, as in a transport stream: FFmpeg would not remove those any more.
    """

    def __init__(self, file: InputContainer, name: str, start_s: float) -> None:
        """Take over an open file.

        Args:
            file: a file with sound, of which nothing was read yet.
            name: what a person would call it.
            start_s: the time of the first picture on the track's own clock.
        """
        self._name = name
        self._start_s = start_s
        self._input = file
        self._track = self._input.streams.audio[0]
        self._packets = self._later_packets()
        self._held = next(self._packets, None)
        self._container: OutputContainer | None = None
        late = self._held is not None and self._held[0] > 0
        codec = self._track.codec_context  # None if FFmpeg does not know the codec
        has_headers = codec and codec.name == "aac" and codec.extradata is None
        self.begins_late = late and not has_headers

    def join(self, container: OutputContainer, codecs: Collection[str]) -> None:
        """Add the track to a file without packets, if the file can hold it."""
        known = getattr(self._track.codec_context, "codec", None)
        codec = known.canonical_name if known is not None else "of an unknown kind"
        if codec not in codecs:
            log.warning(
                "The sound of %s (%s) is left out: the written file can hold %s only.",
                self._name,
                codec,
                ", ".join(sorted(codecs)),
            )
            return
        if not self._fits(container.format.name):
            log.warning(
                "The sound of %s (%s) is left out: it does not fit the written file; write .mkv to "
                "keep it.",
                self._name,
                codec,
            )
            return
        self._copy = container.add_stream_from_template(self._track)
        self._container = container

    def begin(self, time_s: float) -> None:
        """Do nothing: the sound of a file has its own times."""

    def finish(self) -> None:
        """Do nothing: nothing is encoded."""

    def copy(self, until_s: float) -> None:
        """Copy what begins before a time, in seconds from the first picture."""
        while self._held is not None and self._container is not None:
            time_s, packet = self._held
            if time_s >= until_s:
                return
            packet.stream = self._copy
            self._container.mux(packet)
            self._held = next(self._packets, None)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._held = None
        self._input.close()

    def _fits(self, file_format: str) -> bool:
        """Copy the first packet into a file in memory: a file refuses some tracks at its end."""
        if self._held is None:
            return True
        _, held = self._held
        packet = Packet(bytes(held))
        packet.pts, packet.dts, packet.time_base = held.pts, held.dts, held.time_base
        try:
            with av.open(io.BytesIO(), "w", format=file_format) as trial:
                packet.stream = trial.add_stream_from_template(self._track)
                trial.mux(packet)
        except (av.FFmpegError, ValueError):
            return False
        return True

    def _later_packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Yield times in s and packets from the first picture on, where all times count from."""
        last = -1
        try:
            for packet in self._input.demux(self._track):
                if packet.pts is None or packet.dts is None:
                    continue
                shift = round(self._start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                if last >= 0 and is_jump(float((packet.dts - last) * packet.time_base)):
                    log.warning("The sound of %s is left out where its clock jumps.", self._name)
                    return
                if packet.dts > last and packet.pts >= 0:  # damaged files step back
                    last = packet.dts
                    yield float(packet.pts * packet.time_base), packet
        except IndexError:  # PyAV's, at the end of a file in which tracks appeared
            return
        except av.FFmpegError:
            log.warning("The sound of %s is damaged; the rest of it is left out.", self._name)


class FileVoice(ClosesOnExit):
    """The first sound track of a file, decoded along with its pictures. One thread calls.

    Args:
        file: a file with sound, of which nothing was read yet; `close` closes it.
        name: what a person would call it.
        start_s: the time of the first picture on the track's own clock.
    """

    def __init__(self, file: InputContainer, name: str, start_s: float) -> None:
        self._name = name
        self._start_s = start_s
        self._input = file
        self._pieces = self._decoded()
        self._held = np.zeros(0, np.int16)
        self._heard = 0

    def hear(self, until_s: float) -> NDArray[np.int16]:
        """Return the samples from the last call up to a time after the first picture."""
        count = max(round(until_s * SOUND_HZ) - self._heard, 0)
        while len(self._held) < count:
            piece = next(self._pieces, None)
            if piece is None:
                piece = np.zeros(count - len(self._held), np.int16)
            self._held = np.concatenate([self._held, piece])
        samples, self._held = self._held[:count], self._held[count:]
        self._heard += count
        return samples

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._input.close()

    def _decoded(self) -> Iterator[NDArray[np.int16]]:
        """Yield the samples from the first picture on, with silence before a later beginning."""
        early: int | None = None
        kind: tuple[str, str, int] | None = None
        try:
            for frame in self._input.decode(audio=0):
                if early is None:
                    early = round((self._start_s - (frame.time or 0.0)) * SOUND_HZ)
                    for start in range(early, 0, SOUND_HZ):  # by a damaged clock it may be days
                        yield np.zeros(min(-start, SOUND_HZ), np.int16)
                    early = max(early, 0)
                if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    resampler = av.AudioResampler("s16", "mono", SOUND_HZ)
                for piece in resampler.resample(frame):
                    samples = piece.to_ndarray()[0]
                    yield samples[early:]
                    early = max(early - len(samples), 0)
        except IndexError:  # PyAV's, at the end of a file in which tracks appeared
            return
        except av.FFmpegError:
            log.warning("The sound of %s is damaged; the rest of it counts as silence.", self._name)


class SoundTrack(Protocol):
    """What is stored beside pictures: the sound of a file, or of a microphone.

    Attributes:
        begins_late: True if its first packet will have a later time than the first picture.
    """

    begins_late: bool

    def join(self, container: OutputContainer, codecs: Collection[str]) -> None:
        """Add the track to a file without packets."""

    def begin(self, time_s: float) -> None:
        """Note the time of the first picture."""

    def copy(self, until_s: float) -> None:
        """Write what begins before a time, in seconds from the first picture."""

    def finish(self) -> None:
        """Write what is left."""

    def close(self) -> None:
        """Release everything; may be called twice."""


@runtime_checkable
class HasSound(Protocol):
    """A source that may have sound."""

    def open_sound(self) -> SoundTrack | None:
        """Open the sound, to be copied beside the frames; None where there is none to copy."""


@runtime_checkable
class StoresSound(Protocol):
    """A sink that stores sound."""

    def take_sound(self, sound: SoundTrack) -> None:
        """Store this sound beside the pictures, and close it at the end; called before `open`."""


def join_sound(source: Source, sinks: Sequence[Sink]) -> None:
    """Connect a file's sound to the sinks that store sound."""
    for sink in sinks:
        if isinstance(source, HasSound) and isinstance(sink, StoresSound):
            sound = source.open_sound()
            if sound is not None:
                sink.take_sound(sound)
