"""Writes frames with their own times into a video file.

While it is being written, the file is called `NAME.partial.EXT`. It is renamed when it is finished,
so a file with the final name is always complete. The partial file of a killed program can be played
up to its last seconds: MP4 and MOV are written in fragments and converted to an ordinary, seekable
file at the end; Matroska and WebM have such a structure anyway.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import av
from pydantic import Field

from reenact.config import Section
from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.sinks.video_encoder import FORMATS, VideoEncoder
from reenact.sound import SoundTrack
from reenact.storage import expanded, finish_partial, refusal, reserve_partial
from reenact.types import Frame, Image

TAGS: Final[Mapping[str, str]] = {
    "title": "Synthetic video",
    "comment": "Synthetic video made with reenact: the face is moved by another person.",
    "synthetic": "true",
}
"""Metadata of every file; Matroska and WebM store the names in capitals."""

_MIN_KEPT_S: Final = 60.0
"""When the disk is full, a recording longer than this is kept under its partial name."""


def is_partial(path: Path) -> bool:
    """Return True if the name is that of a file being written or left by a killed program."""
    return re.search(r"\.partial(-\d+)?$", path.stem) is not None


class FileSink(ClosesOnExit):
    """A video file: H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm.

    Every frame keeps its own time, counted from the first one, to 1/90000 s in MP4 and MOV and to 1
    ms in Matroska and WebM. The last frame lasts as long as the one before, but no longer than
    1/fps. Times always increase: a frame that is not later than the one before comes one tick after
    it, and after a jump back of more than a second (a looped source) the clock goes on.

    Colours are BT.709, limited range, and tagged as such. A side of odd length gets its last row or
    column twice. The new file replaces an older one of the same name when it is finished; whoever
    opens a session checks that first (`fanout.check_not_replaced`). Sound is copied without
    encoding it again, for as long as there are pictures.

    Any thread may call any method. Leaving the context by an exception calls `abandon` instead of
    `close`.
    """

    live = False

    def __init__(self, path: str | Path, crf: int = 18, tags: Mapping[str, str] = TAGS) -> None:
        """Check that the file can be written, without creating it.

        Args:
            path: the file; its extension selects the format.
            crf: H.264 quality from 0 (lossless) to 51.
            tags: metadata of the file.

        Raises:
            SinkError: the path is not that of a video that can be written.
        """
        if not str(path):
            raise SinkError("Name the file to write, as in --sink file:out.mp4.")
        self.name = f"file:{path}"
        # If the path is a link, the file that it points to is replaced.
        self.path = Path(os.path.realpath(expanded(path)))
        self._replaces = self.path.exists()
        self._crf = crf
        self._tags = tags
        self._lock = threading.RLock()
        self._encoder: VideoEncoder | None = None
        self._partial: Path | None = None
        self._sound: SoundTrack | None = None
        if self.path.is_dir():
            raise SinkError(f"{path} is a folder; name a file to write.")
        file_format = FORMATS.get(self.path.suffix.lower())
        if file_format is None:
            raise SinkError(
                f"{path} does not have the extension of a video that can be written; use one of "
                f"{', '.join(FORMATS)}."
            )
        self._format = file_format
        reserve_partial(self.path).unlink()

    def take_sound(self, sound: SoundTrack) -> None:
        """Copy this sound into the file, and close it with the sink; call it before `open`."""
        self._sound = sound

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        else:
            self.abandon()

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Start the file. Raises SinkError if it cannot be written or its size is not supported."""
        with self._lock:
            self._partial = reserve_partial(self.path)
            try:
                self._encoder = VideoEncoder(
                    self._partial,
                    self._format,
                    self._crf,
                    size,
                    fps,
                    tags=self._tags,
                    sound=self._sound,
                )
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error

    def write(self, frame: Frame) -> None:
        """Add a frame.

        Raises SinkError if the disk is full or has failed, or the file is not open. A recording of
        up to a minute is then removed; a longer one stays under the partial name, which the message
        gives.
        """
        with self._lock:
            if self._encoder is None:
                raise SinkError(f"{self.path} is closed; nothing more can be written to it.")
            try:
                self._encoder.add(frame)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """Finish the file and give it its name; if there was no frame, no file is left.

        Raises SinkError if the end could not be written, as on a full disk, or if the complete file
        could not be renamed, or another program has made a file of that name since the sink was
        made; the message gives its current name.
        """
        with self._lock:
            encoder, partial = self._encoder, self._partial
            if encoder is None or partial is None:
                self.abandon()
                return
            try:
                encoder.finish()
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error
            self._encoder = self._partial = None
            if not encoder.frames:
                partial.unlink()
                return
            try:
                finish_partial(partial, self.path, self._replaces)
            except OSError as error:  # Windows: another program has the older file open
                raise SinkError(
                    f"{refusal(self.path, error)} All of it is in {partial}."
                ) from error

    def abandon(self) -> None:
        """Remove what was written; an older file of the final name is kept."""
        with self._lock:
            encoder, partial = self._encoder, self._partial
            self._encoder = self._partial = None
            if encoder is not None:
                encoder.abandon()
            if partial is not None:
                with contextlib.suppress(OSError):
                    partial.unlink()
            if self._sound is not None:
                self._sound.close()

    def _failed(self, error: Exception) -> SinkError:
        """Give up the file and return the error; see `write` for what is kept."""
        encoder, partial = self._encoder, self._partial
        if encoder is None or encoder.duration_s < _MIN_KEPT_S:
            self.abandon()
            return SinkError(refusal(self.path, error))
        self._encoder = self._partial = None
        encoder.abandon()
        kept = f"The first {encoder.duration_s / 60:.0f} min are in {partial}."
        return SinkError(f"{refusal(self.path, error)} {kept}")


def write_video(
    path: Path,
    pictures: Iterable[Image],
    fps: float,
    crf: int = 18,
    tags: Mapping[str, str] = TAGS,
) -> None:
    """Write uint8 (H, W, 3) RGB pictures as a video, atomically; see `FileSink`."""
    with FileSink(path, crf, tags) as sink:
        for index, picture in enumerate(pictures):
            if index == 0:
                sink.open((picture.shape[1], picture.shape[0]), fps)
            sink.write(Frame(picture, index / fps, index))


class FileSettings(Section):
    """Compression of the video file."""

    crf: int = Field(18, ge=0, le=51, description="H.264 quality of the file; lower is better")


FILE: Final = SinkSpec(
    "file",
    "a video file: .mp4, .mov, .mkv or .webm",
    lambda argument, settings: FileSink(argument, settings.crf),
    settings=FileSettings,
    argument="PATH",
)
