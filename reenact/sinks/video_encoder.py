"""Encodes frames with their own times into a video file and copies sound into it.

`sinks.video_file` handles names, partial files and messages to users.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from reenact.imaging import even, letterbox, with_alpha
from reenact.sound import SoundTrack
from reenact.types import Frame

_KEYFRAME_S: Final = 2.0
"""Time between keyframes, which is the most that is lost if the program is killed."""

_RESTART_S: Final = 1.0
"""A time that goes back by more than this means that the source has started over."""

_MAX_GAP_S: Final = 3600.0
"""A longer gap is left out: the machine slept, and MP4 cannot store frames of several hours."""

_BT709: Final = 1
_LIMITED_RANGE: Final = 1


def _h264(crf: int) -> dict[str, str]:
    # Without B-frames the pictures are written in order, so that all times and durations are
    # exact. The short look-ahead bounds what a kill can lose.
    return {"crf": str(crf), "preset": "veryfast", "bf": "0", "rc-lookahead": "10"}


def _vp9(crf: int) -> dict[str, str]:
    # VP9's scale goes from 0 to 63, and its 31 looks like 18 in H.264.
    quality = round(crf * 63 / 51 + 9)
    return {
        "crf": str(min(63, quality)),
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "8",
        "row-mt": "1",
        "lag-in-frames": "0",
    }


_QP_TO_LAMBDA: Final = 118
"""FFmpeg's unit of `global_quality` (FF_QP2LAMBDA)."""


def _prores(crf: int) -> dict[str, str]:
    # A fixed quantiser takes a sixth of the time of a fixed bit rate, and its 4 is right for
    # editing (51 dB). The step doubles with every 6 of H.264's scale, as it does there.
    quantiser = min(max(round(4 * 2 ** ((crf - 18) / 6)), 1), 32)
    return {
        "profile": "4444",
        "flags": "+qscale",
        "global_quality": str(_QP_TO_LAMBDA * quantiser),
        "vendor": "apl0",  # as Apple's own encoder, because some editors read no other
    }


@dataclass(frozen=True, slots=True)
class Codec:
    """How pictures are encoded.

    Attributes:
        name: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the pixel format.
        options: returns the encoder's options for an H.264 quality (CRF).
        tags: metadata of the track.
    """

    name: str
    pixels: str
    options: Callable[[int], dict[str, str]]
    tags: Mapping[str, str] = field(default_factory=dict)


_H264: Final = Codec("libx264", "yuv420p", _h264)
_VP9: Final = Codec("libvpx-vp9", "yuv420p", _vp9)

_VP9_WITH_ALPHA: Final = Codec("libvpx-vp9", "yuva420p", _vp9, {"alpha_mode": "1"})
"""The alpha channel is a second picture beside each one (BlockAdditional), and the tag says so."""

_PRORES_4444: Final = Codec("prores_ks", "yuva444p10le", _prores)

_SOUND_OF_MOV: Final = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "pcm_s16le", "pcm_s24le"})
_SOUND_OF_MP4: Final = _SOUND_OF_MOV | {"flac", "opus"}
_SOUND_OF_WEBM: Final = frozenset({"opus", "vorbis"})


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """The parameters of one kind of video file.

    Attributes:
        format: FFmpeg's name of the container.
        ticks_per_s: resolution of its timestamps.
        codec: encodes pictures without an alpha channel.
        alpha: encodes pictures with one; None: it can hold none.
        container: the container's options.
        sound: the sound codecs that it supports.
    """

    format: str
    ticks_per_s: int
    codec: Codec = _H264
    alpha: Codec | None = None
    container: Mapping[str, str] = field(default_factory=dict)
    sound: frozenset[str] = _SOUND_OF_MOV


_LATE_SOUND: Final = "+delay_moov"
"""Has the header wait for the first sound, so that it can give the time at which it begins."""

_FRAGMENTED: Final = {"movflags": "use_metadata_tags+hybrid_fragmented+frag_keyframe"}

FORMATS: Final = {
    ".mp4": VideoFormat("mp4", 90_000, container=_FRAGMENTED, sound=_SOUND_OF_MP4),
    ".m4v": VideoFormat("mp4", 90_000, container=_FRAGMENTED, sound=_SOUND_OF_MP4),
    ".mov": VideoFormat("mov", 90_000, alpha=_PRORES_4444, container=_FRAGMENTED),
    ".mkv": VideoFormat("matroska", 1000, sound=_SOUND_OF_MP4 | _SOUND_OF_WEBM),
    ".webm": VideoFormat("webm", 1000, _VP9, _VP9_WITH_ALPHA, sound=_SOUND_OF_WEBM),
}


class _UnbufferedFile(io.FileIO):
    """A file whose writes are complete; PyAV does not notice a partial write.

    PyAV could open the path itself, but would keep a file open that could not be finished, and
    Windows cannot remove open files.
    """

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):
            written += super().write(view[written:]) or 0
        return written


def _container_options(file_format: VideoFormat, sound: SoundTrack | None) -> dict[str, str]:
    """Return FFmpeg's options for a file with this sound."""
    options = dict(file_format.container)
    if "movflags" in options and sound is not None and sound.begins_late:
        options["movflags"] += _LATE_SOUND
    # Without these the last seconds would be buffered, also while waiting for sound that ended
    # before the pictures, and would be lost if the program is killed.
    return {**options, "flush_packets": "1", "max_interleave_delta": "1000000"}


class VideoEncoder:
    """Writes one file and counts its frames. Use from one thread.

    Every method raises av.FFmpegError, OSError or ValueError.

    Attributes:
        frames: the number of frames added.
        keeps_alpha: True if the file has an alpha channel.
    """

    def __init__(
        self,
        path: Path,
        file_format: VideoFormat,
        crf: int,
        size: tuple[int, int],
        fps: float,
        *,
        alpha: bool,
        tags: Mapping[str, str],
        sound: SoundTrack | None,
    ) -> None:
        """Open the encoder on an empty file.

        Args:
            path: an empty file.
            file_format: one of `FORMATS`.
            crf: H.264 quality, 0 to 51.
            size: (width, height) px; frames of another size are letterboxed.
            fps: approximate frame rate.
            alpha: store the alpha channel of the frames, if the format can hold one.
            tags: metadata of the file.
            sound: copied into the file and closed with it.
        """
        codec = (file_format.alpha if alpha else None) or file_format.codec
        self.frames = 0
        self.keeps_alpha = codec is file_format.alpha
        self._pixels = codec.pixels
        self._sound = sound
        self._size = even(size)
        self._ticks_per_s = file_format.ticks_per_s
        self._max_last_ticks = max(1, round(file_format.ticks_per_s / fps))
        self._origin_s = 0.0
        self._pending: VideoFrame | None = None
        self._ticks = 0
        self._interval_ticks = self._max_last_ticks
        self._durations: dict[int, int] = {}
        # Shared by all frames: a frame's own `reformat` sets up the conversion every time.
        self._to_yuv = VideoReformatter()
        self._file = _UnbufferedFile(path, "r+b")
        self._container: OutputContainer = av.open(
            self._file,
            "w",
            format=file_format.format,
            options=_container_options(file_format, sound),
        )
        self._container.metadata.update(tags)
        rate = Fraction(fps).limit_denominator(1001)
        options = {**codec.options(crf), "g": str(max(1, round(_KEYFRAME_S * fps)))}
        stream = self._container.add_stream(codec.name, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = codec.pixels
        stream.metadata.update(codec.tags)
        context = stream.codec_context
        context.time_base = Fraction(1, self._ticks_per_s)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._stream = stream
        try:
            # Parameters that the encoder rejects are known before the first frame. The container is
            # started with the first packet: FFmpeg crashes on closing an MP4 without any frame.
            context.open()
            if sound is not None:
                sound.join(self._container, file_format.sound)
        except BaseException:
            self.abandon()
            raise

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return (self._ticks + self._interval_ticks) / self._ticks_per_s if self.frames else 0.0

    def add(self, frame: Frame) -> None:
        """Add a frame; it is encoded once the next one determines its duration."""
        # Sound is stored at the time of its capture, so pictures beside it are as well.
        captured_s = None if self._sound is None else frame.captured_s
        ticks = self._next_ticks(frame.time_s if captured_s is None else captured_s)
        if self._pending is not None:
            self._interval_ticks = ticks - self._ticks
            self._encode(self._pending, self._interval_ticks)
        self._pending = self._convert(frame, ticks)
        self._ticks = ticks
        self.frames += 1

    def finish(self) -> None:
        """Write the rest and close the file."""
        if self._pending is not None:
            self._encode(self._pending, min(self._interval_ticks, self._max_last_ticks))
            self._pending = None
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.copy(self.duration_s)
                self._sound.finish()
        self._container.close()
        self._file.close()
        self._close_sound()

    def abandon(self) -> None:
        """Close the file as it is; raises nothing."""
        # Closing writes the end of the file, which may fail for the same reason as before.
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._close_sound()

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._sound.close()

    def _next_ticks(self, time_s: float) -> int:
        if not self.frames:
            self._origin_s = time_s
            if self._sound is not None:
                self._sound.begin(time_s)
            return 0
        ticks = round((time_s - self._origin_s) * self._ticks_per_s)
        gap_s = (ticks - self._ticks) / self._ticks_per_s
        if not -_RESTART_S <= gap_s <= _MAX_GAP_S:
            ticks = self._ticks + min(self._interval_ticks, self._max_last_ticks)
            self._origin_s = time_s - ticks / self._ticks_per_s
            if self._sound is not None:
                self._sound.begin(self._origin_s)
        return max(ticks, self._ticks + 1)

    def _convert(self, frame: Frame, ticks: int) -> VideoFrame:
        image, channels = (
            (with_alpha(frame), "rgba") if self.keeps_alpha else (frame.image, "rgb24")
        )
        converted = self._to_yuv.reformat(
            VideoFrame.from_numpy_buffer(letterbox(image, self._size), format=channels),
            format=self._pixels,
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED_RANGE,
            # With alpha, several threads overwrite some of each other's first pixels.
            threads=1,
        )
        converted.pts = ticks
        converted.time_base = Fraction(1, self._ticks_per_s)
        return converted

    def _encode(self, frame: VideoFrame, duration: int) -> None:
        assert frame.pts is not None
        self._durations[frame.pts] = duration
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, self._interval_ticks)
                if self._sound is not None:
                    self._sound.copy(packet.pts / self._ticks_per_s)
            self._container.mux(packet)
