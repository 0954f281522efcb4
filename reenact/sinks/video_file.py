"""Writes frames with their own times into a video file.

While it is being written, the file is called `NAME.partial.EXT`. It is renamed when it is finished,
so a file with the final name is always complete. The partial file of a killed program can be played
up to its last seconds: MP4 and MOV are written in fragments and converted to an ordinary, seekable
file at the end; Matroska and WebM have such a structure anyway.
"""

from __future__ import annotations

import contextlib
import logging
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

log = logging.getLogger(__name__)


def tags_of(kind: str) -> dict[str, str]:
    """Return the metadata that tell that a "video" or "picture" is synthetic."""
    return {
        "title": f"Synthetic {kind}",
        "comment": f"Synthetic {kind} made with reenact: the face is moved by another person.",
        "synthetic": "true",
    }


TAGS: Final[Mapping[str, str]] = tags_of("video")
"""Metadata of every file; Matroska and WebM store the names in capitals."""

_MIN_KEPT_S: Final = 60.0
"""When the disk is full, a recording longer than this is kept under its partial name."""


def is_partial(path: Path) -> bool:
    """Return True if the name is that of a file being written or left by a killed program."""
    return re.search(r"\.partial(-\d+)?$", path.stem) is not None


class FileSink(ClosesOnExit):
    """A video file: H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm.

    If the first frame has an alpha channel, a .webm or .mov gets one as well: VP9 with alpha, or
    ProRes 4444, both with straight alpha. That is fixed from then on: later frames without alpha
    are opaque in such a file, and those with alpha keep their background in any other, which
    `problem` and one message in the log say.

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

    Attributes:
        problem: why the last frame was written with its background; "" if it should have it.
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
        self.problem = ""
        # If the path is a link, the file that it points to is replaced.
        self.path = Path(os.path.realpath(expanded(path)))
        self._replaces = self.path.exists()
        self._crf = crf
        self._tags = tags
        self._lock = threading.RLock()
        self._encoder: VideoEncoder | None = None
        self._size, self._fps = (0, 0), 0.0
        self._partial: Path | None = None
        self._sound: SoundTrack | None = None
        self._told = False
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
        """Start the file. Raises SinkError if it cannot be written or its size is not supported.

        The size of a .webm or .mov is known to be supported once the first frame is written,
        because that decides whether the file has an alpha channel.
        """
        with self._lock:
            self._size, self._fps = size, fps
            self._partial = reserve_partial(self.path)
            if self._format.alpha is None:
                try:
                    self._encoder = self._new_encoder(self._partial, alpha=False)
                except (av.FFmpegError, OSError, ValueError) as error:
                    raise self._failed(error) from error

    def _new_encoder(self, partial: Path, *, alpha: bool) -> VideoEncoder:
        return VideoEncoder(
            partial,
            self._format,
            self._crf,
            self._size,
            self._fps,
            alpha=alpha,
            tags=self._tags,
            sound=self._sound,
        )

    def write(self, frame: Frame) -> None:
        """Add a frame.

        Raises SinkError if the disk is full or has failed, or the file is not open. A recording of
        up to a minute is then removed; a longer one stays under the partial name, which the message
        gives.
        """
        with self._lock:
            if self._partial is None:
                raise SinkError(f"{self.path} is closed; nothing more can be written to it.")
            alpha = frame.alpha is not None
            try:
                if self._encoder is None:
                    self._encoder = self._new_encoder(self._partial, alpha=alpha)
                self._encoder.add(frame)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._failed(error) from error
            self._note(keeps_background=alpha and not self._encoder.keeps_alpha)

    def _note(self, *, keeps_background: bool) -> None:
        """Set `problem`; log it the first time."""
        self.problem = ""
        if keeps_background:
            self.problem = (
                f"{self.path.name} keeps the background: only a .webm or .mov that is transparent "
                "from its first picture on has an alpha channel."
            )
            if not self._told:
                log.warning("%s", self.problem)
            self._told = True

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

    crf: int = Field(
        18, ge=0, le=51, description="quality of the file on H.264's scale; lower is better"
    )


FILE: Final = SinkSpec(
    "file",
    "a video file: .mp4, .mov, .mkv or .webm; .mov and .webm can be transparent",
    lambda argument, settings: FileSink(argument, settings.crf),
    settings=FileSettings,
    argument="PATH",
    alpha=True,
)
