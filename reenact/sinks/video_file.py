"""Writes frames into a video file with their own times.

While it is written the file has the name `NAME.partial.EXT` beside its final place and gets its
own name when it is finished, so nothing half-written ever has the final name. A partial file
that a killed program leaves plays up to its last seconds: MP4 and MOV are written in fragments
and turned into an ordinary, seekable file at the end; Matroska and WebM are built that way.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from pydantic import Field

from reenact.config import Section
from reenact.errors import SinkError
from reenact.imaging import even, letterbox
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sound import Sound
from reenact.types import Frame, Image, Sink

TAGS: Final[Mapping[str, str]] = {
    "title": "Synthetic video",
    "comment": "Synthetic video made with reenact: the face is moved by another person.",
    "synthetic": "true",
}
"""Written into every file; Matroska and WebM give the names in capitals."""

_KEYFRAME_S: Final = 2.0
"""Seconds from one independent picture to the next: what a killed program loses at most."""

_RESTART_S: Final = 1.0
"""A time that goes back by more than this means that the source has started again."""

_WORTH_KEEPING_S: Final = 60.0
"""So much of a recording is kept under its partial name when the disk is full."""

_BT709: Final = 1
_LIMITED_RANGE: Final = 1


def _h264(crf: int) -> dict[str, str]:
    # Without B-frames every picture is written in its own order, so that times and durations
    # are exact from the first to the last; the short look-ahead bounds what a kill can lose.
    return {"crf": str(crf), "preset": "veryfast", "bf": "0", "rc-lookahead": "10"}


def _vp9(crf: int) -> dict[str, str]:
    # VP9 counts its quality from 0 to 63; 31 looks like 18 of H.264.
    quality = round(crf * 63 / 51 + 9)
    return {
        "crf": str(min(63, quality)),
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "8",
        "row-mt": "1",
        "lag-in-frames": "0",
    }


_SOUND_OF_MOV: Final = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "pcm_s16le", "pcm_s24le"})
_SOUND_OF_MP4: Final = _SOUND_OF_MOV | {"flac", "opus"}
_SOUND_OF_WEBM: Final = frozenset({"opus", "vorbis"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of file: ticks are the units of its clock in a second, sound the codecs it holds."""

    format: str
    ticks_per_s: int
    codec: str = "libx264"
    options: Callable[[int], dict[str, str]] = _h264
    container: Mapping[str, str] = field(default_factory=dict)
    sound: frozenset[str] = _SOUND_OF_MOV


_FRAGMENTED: Final = {"movflags": "use_metadata_tags+hybrid_fragmented+frag_keyframe"}

_KINDS: Final = {
    ".mp4": _Kind("mp4", 90_000, container=_FRAGMENTED, sound=_SOUND_OF_MP4),
    ".m4v": _Kind("mp4", 90_000, container=_FRAGMENTED, sound=_SOUND_OF_MP4),
    ".mov": _Kind("mov", 90_000, container=_FRAGMENTED),
    # Matroska counts milliseconds.
    ".mkv": _Kind("matroska", 1000, sound=_SOUND_OF_MP4 | _SOUND_OF_WEBM),
    ".webm": _Kind("webm", 1000, codec="libvpx-vp9", options=_vp9, sound=_SOUND_OF_WEBM),
}


def is_partial(path: Path) -> bool:
    """Whether a file's name is that of one being written, or left by a killed program."""
    return re.search(r"\.partial(-\d+)?$", path.stem) is not None


class FileSink(ClosesOnExit):
    """A video file: H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm.

    Every frame is kept with its own time, counted from the first one: to 1/90000 s in MP4 and
    MOV, to 1 ms in Matroska and WebM; the last frame lasts as long as the one before, but no
    longer than 1/fps. Times always rise: a frame that is not later than the one before it comes
    one tick after it, and after a jump back of more than a second (a looped source) the clock goes
    on. Colours are BT.709, limited range, and tagged so. A side of odd length gets its last row
    or column twice. An older file of the same name is replaced when the new one is finished.
    Sound that it was given is copied, not encoded anew, as far as there are pictures.

    `open`, `write` and `close` may be called by different threads, one after the other or not.
    Leaving its context by an exception calls `abandon` instead of `close`.

    Attributes:
        name: `file:` and the path as it was given.
        path: where the finished file is.
        live: False: every frame counts.
    """

    live = False

    def __init__(self, path: str | Path, crf: int = 18, tags: Mapping[str, str] = TAGS) -> None:
        """Check that the file can be written; nothing is left behind yet.

        Args:
            path: the file; its ending says the kind.
            crf: H.264 quality from 0 (as good as the picture) to 51.
            tags: what the file says of itself.

        Raises:
            SinkError: no name, an unknown ending, a folder of that name, no such folder, or no
                right to write there.
        """
        if not str(path):
            raise SinkError("Say which file to write, as in --sink file:out.mp4.")
        self.name = f"file:{path}"
        # A link stays a link: what it points to is replaced.
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        self._crf = crf
        self._tags = tags
        self._lock = threading.RLock()
        self._movie: _Movie | None = None
        self._partial: Path | None = None
        self._open_sound: Callable[[], Sound | None] = lambda: None
        if self.path.is_dir():
            raise SinkError(f"{path} is a folder; give the name of a file to write.")
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise SinkError(
                f"{path} has no ending of a video that can be written; use one of "
                f"{', '.join(_KINDS)}."
            )
        self._kind = kind
        self._reserve().unlink()

    def take_sound(self, open_sound: Callable[[], Sound | None]) -> None:
        """Copy this sound beside the pictures; called before `open`."""
        self._open_sound = open_sound

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Begin the file.

        Args:
            size: (width, height) px; later frames of another size are fitted in.
            fps: about how many frames come in a second.

        Raises:
            SinkError: the file cannot be written, or the encoder refuses the size.
        """
        with self._lock:
            self._partial = self._reserve()
            try:
                self._movie = _Movie(
                    self._partial,
                    self._kind,
                    self._crf,
                    size,
                    fps,
                    tags=self._tags,
                    sound=self._open_sound(),
                )
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error

    def write(self, frame: Frame) -> None:
        """Add a frame.

        Raises:
            SinkError: the disk is full or has failed, or the file is not open. What was written
                is removed; more than a minute of it stays under the partial name, which the
                message gives.
        """
        with self._lock:
            if self._movie is None:
                raise SinkError(f"{self.path} is closed; nothing more can be written to it.")
            try:
                self._movie.add(frame)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """Finish the file and give it its name; without any frame, leave nothing.

        Raises:
            SinkError: the end could not be written, as on a full disk; or it is whole but could
                not be given its name, and the message gives the one it has.
        """
        with self._lock:
            movie, partial = self._movie, self._partial
            if movie is None or partial is None:
                return
            try:
                movie.finish()
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error
            self._movie = self._partial = None
            if not movie.frames:
                partial.unlink()
                return
            try:
                partial.replace(self.path)
            except OSError as error:  # Windows: another program has the older file open
                raise SinkError(f"{self._refusal(error)} All of it is in {partial}.") from error

    def abandon(self) -> None:
        """Leave nothing of what was written; an older file of that name stays."""
        with self._lock:
            movie, partial = self._movie, self._partial
            self._movie = self._partial = None
            if movie is not None:
                movie.abandon()
            if partial is not None:
                with contextlib.suppress(OSError):
                    partial.unlink()

    def _reserve(self) -> Path:
        """Make an empty file of a partial name that nobody has."""
        for number in range(1, 100):
            mark = "partial" if number == 1 else f"partial-{number}"
            partial = self.path.with_name(f"{self.path.stem}.{mark}{self.path.suffix}")
            try:
                os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                continue
            except OSError as error:
                raise SinkError(self._refusal(error)) from error
            return partial
        raise SinkError(f"{self.path.parent} is full of partial files; remove them first.")

    def _failed(self, error: Exception) -> SinkError:
        """Give up the file: close it, remove or keep what there is, and say why."""
        movie, partial = self._movie, self._partial
        if movie is None or movie.duration_s < _WORTH_KEEPING_S:
            self.abandon()
            return SinkError(self._refusal(error))
        self._movie = self._partial = None
        movie.abandon()
        kept = f"The first {movie.duration_s / 60:.0f} min are in {partial}."
        return SinkError(f"{self._refusal(error)} {kept}")

    def _refusal(self, error: Exception) -> str:
        folder = self.path.parent
        if not folder.is_dir():
            return f"{self.path} cannot be written: there is no folder {folder}."
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT):
            return f"{self.path} cannot be written: the disk is full; free some space there."
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{self.path} cannot be written: you may not write to {folder}; choose another."
        reason = getattr(error, "strerror", None) or str(error)
        return f"{self.path} cannot be written: {reason}."


class _WholeWrites(io.FileIO):
    """A file without a buffer of its own; PyAV overlooks that a write took only a part.

    With a path instead, PyAV keeps a file open that could not be finished, and Windows does not
    remove an open file.
    """

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):
            written += super().write(view[written:]) or 0
        return written


class _Movie:
    """The encoder and the container; knows nothing of names and messages."""

    def __init__(
        self,
        path: Path,
        kind: _Kind,
        crf: int,
        size: tuple[int, int],
        fps: float,
        *,
        tags: Mapping[str, str],
        sound: Sound | None,
    ) -> None:
        self.frames = 0
        self._sound = sound
        self._size = even(size)
        self._ticks_per_s = kind.ticks_per_s
        self._longest_last = max(1, round(kind.ticks_per_s / fps))
        self._origin_s = 0.0
        self._pending: VideoFrame | None = None
        self._ticks = 0
        self._interval = self._longest_last
        self._durations: dict[int, int] = {}
        # One for all frames: a frame's own `reformat` sets the conversion up anew each time.
        self._to_yuv = VideoReformatter()
        self._file = _WholeWrites(path, "r+b")
        self._container: OutputContainer = av.open(
            self._file,
            "w",
            format=kind.format,
            # Without these the last seconds would wait in memory, where a kill loses them: for the
            # disk, and for sound that has ended before the pictures.
            options={**kind.container, "flush_packets": "1", "max_interleave_delta": "1000000"},
        )
        self._container.metadata.update(tags)
        rate = Fraction(fps).limit_denominator(1001)
        options = {**kind.options(crf), "g": str(max(1, round(_KEYFRAME_S * fps)))}
        stream = self._container.add_stream(kind.codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, self._ticks_per_s)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._stream = stream
        try:
            # What the encoder refuses is known before the first frame. The container starts with
            # the first packet: FFmpeg crashes at the end of an MP4 that has a head and no frame.
            context.open()
            if sound is not None:
                sound.join(self._container, kind.sound)
        except BaseException:
            self.abandon()
            raise

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return (self._ticks + self._interval) / self._ticks_per_s if self.frames else 0.0

    def add(self, frame: Frame) -> None:
        # A frame is encoded when the next one has told how long it lasts.
        ticks = self._next_ticks(frame.time_s)
        if self._pending is not None:
            self._interval = ticks - self._ticks
            self._encode(self._pending, self._interval)
        self._pending = self._convert(frame.image, ticks)
        self._ticks = ticks
        self.frames += 1

    def finish(self) -> None:
        if self._pending is not None:
            self._encode(self._pending, min(self._interval, self._longest_last))
            self._pending = None
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.copy(self.duration_s)
        self._container.close()
        self._file.close()
        self._close_sound()

    def abandon(self) -> None:
        # Closing writes the end of the file, which fails again for the same reason as before.
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
            return 0
        ticks = round((time_s - self._origin_s) * self._ticks_per_s)
        if ticks < self._ticks - _RESTART_S * self._ticks_per_s:
            ticks = self._ticks + min(self._interval, self._longest_last)
            self._origin_s = time_s - ticks / self._ticks_per_s
        return max(ticks, self._ticks + 1)

    def _convert(self, image: Image, ticks: int) -> VideoFrame:
        rgb = VideoFrame.from_ndarray(letterbox(image, self._size), format="rgb24")
        frame = self._to_yuv.reformat(
            rgb, format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
        )
        frame.pts = ticks
        frame.time_base = Fraction(1, self._ticks_per_s)
        return frame

    def _encode(self, frame: VideoFrame, duration: int) -> None:
        assert frame.pts is not None
        self._durations[frame.pts] = duration
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, self._interval)
                if self._sound is not None:
                    self._sound.copy(packet.pts / self._ticks_per_s)
            self._container.mux(packet)


class FileSettings(Section):
    """How a video file is compressed."""

    crf: int = Field(18, ge=0, le=51, description="H.264 quality of a file; lower is better")


def _file(argument: str, settings: FileSettings) -> Sink:
    return FileSink(argument, settings.crf)


FILE: Final = SinkSpec(
    "file",
    "a video file: .mp4, .mov, .mkv or .webm",
    _file,
    settings=FileSettings,
    argument="PATH",
)
