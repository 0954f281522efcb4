"""Video files and streams, read by PyAV."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from pydantic import Field

from reenact.config import Section
from reenact.errors import SourceError
from reenact.imaging import letterbox
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.sound import FileVoice, Sound, is_jump
from reenact.sources.decoded import progressive, to_rgb, upright
from reenact.sources.image_file import check_file
from reenact.sources.reconnecting import ReadGuard, ReconnectingSource
from reenact.storage import expanded
from reenact.types import Frame, Image, Source

_LIVE_SCHEMES: Final = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp"})
_URL_TIMEOUTS_S: Final = (10.0, 5.0)  # for opening, and for each read
_DEFAULT_FPS: Final = 30.0
_MAX_FPS: Final = 240.0
"""A file without a rate, such as a browser's recording, counts as one with 1000 frames a second."""

_MIN_STEP_S: Final = 0.001
_CUT_TOLERANCE_S: Final = 0.5

_log = logging.getLogger(__name__)

_SoundT = TypeVar("_SoundT", Sound, FileVoice)


class VideoSource(ClosesOnExit):
    """A video file or stream read by PyAV.

    Frames are upright (the display matrix is applied), progressive, with square pixels, and in the
    size of the first one. HDR (PQ or HLG) is mapped to sRGB. Transparent parts are white, but for
    VP8 and VP9, of which FFmpeg's own decoders give the colours alone. Their `time_s` is the
    presentation time since the first frame, or for a live stream the monotonic time of decoding.
    One thread calls `read`; any thread may call `close`.

    Attributes:
        live: True for a network stream without an end.
        name: the file's name, or the URL without user, password and query.
        frames_total: the container's estimate of the number of frames; None in a loop or if
            unknown.
        duration_s: the container's duration of one pass; None if unknown.
    """

    def __init__(self, location: str | Path, loop: bool = False) -> None:
        """Open a path or URL (http, https, rtsp, ...) and decode the first frame.

        With `loop` a file starts over at its end, while the times go on. Raises SourceError if it
        cannot be opened, is not a video, or no frame can be decoded.
        """
        text = str(location)
        self._is_url = "://" in text
        # FFmpeg takes the part of a relative path before a colon for a protocol.
        self._location = text if self._is_url else str(expanded(text).absolute())
        self.name = _without_password(text) if self._is_url else Path(text).name
        self.size = (0, 0)
        self._loop = loop
        self._reformatter = VideoReformatter()
        self._index = 0
        self._last_s = 0.0  # time of the last frame handed out
        self._pass_start_s = 0.0  # offset of the times in the current pass of a loop
        self._first_pts_s: float | None = None
        self._frames_this_pass = 0
        self._damaged = 0
        self._warned = self._jumped = False
        self._container, self._stream = self._open()
        self._guard = ReadGuard(self._close_container)
        try:
            self._describe()
            self._frames = progressive(self._decoded(), self._stream)
            self._held = self._next_frame()
            if self._held is None:
                todo = "download it and name the file" if self._is_url else "use another file"
                if self.name.lower().endswith(".webp"):  # FFmpeg reads only the others
                    todo = "save an animated WebP as MP4 or GIF"
                raise SourceError(
                    f"{self.name} has no picture that can be decoded: it is damaged, cut off, or "
                    f"not a video; {todo}."
                )
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """Return the next frame; None at the end of a file and once closed.

        A damaged or truncated file gives what can be decoded and ends with a logged warning. Raises
        SourceError if the connection or the disk failed, or a live stream broke off.
        """
        with self._guard as is_open:
            if not is_open:
                return None
            frame, self._held = self._held, None
            if frame is None:
                frame = self._next_frame()
            if frame is None and self._loop and not self.live:
                self._rewind()
                frame = self._next_frame()
            return frame

    def close(self) -> None:
        """Close the file or connection; may be called twice and from any thread."""
        self._guard.close()

    def open_sound(self) -> Sound | None:
        """Open the file's sound for copying; None if there is none to copy."""
        return self._sound(Sound)

    def open_voice(self) -> FileVoice | None:
        """Open the file's sound to listen to it; None if there is none."""
        return self._sound(FileVoice)

    def _sound(self, kind: type[_SoundT]) -> _SoundT | None:
        if self.live or not self._container.streams.audio:
            return None
        if self._loop:
            _log.warning("The sound of %s is left out because it is played in a loop.", self.name)
            return None
        try:  # opened a second time, because pictures and sound are read at different times
            return kind(self._open()[0], self.name, self._first_pts_s or 0.0)
        except SourceError as error:
            _log.warning("The sound of %s is left out: %s", self.name, error)
            return None

    def _close_container(self) -> None:
        self._container.close()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        if not self._is_url:
            check_file(Path(self._location), "video")
        options = {}
        if urlsplit(self._location).scheme.lower() in _LIVE_SCHEMES:
            options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
        try:
            container = av.open(
                self._location,
                mode="r",
                options=options,
                timeout=_URL_TIMEOUTS_S if self._is_url else None,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(self._why_not_opened(error)) from error
        streams = [  # without the cover pictures of sound files, and drawings such as SVG
            stream
            for stream in container.streams.video
            if stream.codec_context and Disposition.attached_pic not in stream.disposition
        ]
        if not streams:
            container.close()
            raise SourceError(f"{self.name} has no video track, only sound or data.")
        best = container.streams.best("video")  # a small preview may come before the video
        return container, best if best in streams else streams[0]

    def _why_not_opened(self, error: Exception) -> str:
        if isinstance(error, av.InvalidDataError):
            return f"{self.name} is not a video, or is damaged; check that a player opens it."
        if isinstance(error, av.ProtocolNotFoundError):
            return f"{self.name} has an unknown kind of address; use a file, http, https or rtsp."
        # The exception's own text contains the address with its password.
        cause = getattr(error, "strerror", None) or type(error).__name__
        return f"{self.name} cannot be opened: {cause}."

    def _describe(self) -> None:
        stream, container = self._stream, self._container
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and rate <= _MAX_FPS else _DEFAULT_FPS
        self.duration_s = _duration_s(stream)
        # The length of a file may be that of its sound.
        self._knows_its_end = self.duration_s is not None or len(container.streams) == 1
        if self.duration_s is None and container.duration and container.duration > 0:
            self.duration_s = container.duration / 1e6
        self._pass_frames = stream.frames or round((self.duration_s or 0.0) * self.fps)
        self.frames_total = None if self._loop else self._pass_frames or None
        scheme = urlsplit(self._location).scheme.lower() if self._is_url else ""
        self.live = scheme in _LIVE_SCHEMES or (self._is_url and self.duration_s is None)
        # The container takes precedence over the codec, as in FFmpeg's own players.
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        self._pixel_aspect = float(aspect) if aspect and 0.1 < aspect < 10 else 1.0

    def _decoded(self) -> Iterator[VideoFrame]:
        """Decode to the end, stepping over damaged packets."""
        # Decoding frames in parallel would delay a live stream by one frame per thread.
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        packets = self._container.demux(self._stream)
        # AVI stores no times; what FFmpeg makes up for B-frames is in the order of decoding.
        has_no_pts = self._container.format.name == "avi"
        try:
            for packet in packets:
                try:
                    for frame in packet.decode():
                        if has_no_pts:
                            frame.pts = frame.dts
                        yield frame
                except av.InvalidDataError:
                    self._damaged += 1
        except av.InvalidDataError:  # from the demuxer, which finds nothing more
            self._damaged += 1
        except (av.EOFError, IndexError):  # PyAV's, at the end of a file in which tracks appeared
            return
        except (av.FFmpegError, OSError) as error:
            cause = getattr(error, "strerror", None) or type(error).__name__
            # An MP4 with its index at the end needs a server that sends any part on request.
            todo = "" if self.live or self._index else " Download it and name the file."
            raise SourceError(f"{self.name} broke off: {cause}.{todo}") from error

    def _next_frame(self) -> Frame | None:
        found = self._next_picture()
        if found is None:
            if self.live:
                raise SourceError(f"{self.name} broke off: the sender has ended the stream.")
            self._warn_if_cut()
            return None
        decoded, image = found
        height, width = image.shape[:2]
        if self._index == 0:
            self.size = (width, height)
        image = letterbox(image, self.size)  # some streams change their size
        frame = Frame(image=image, time_s=self._time_of(decoded), index=self._index)
        self._last_s = frame.time_s
        self._index += 1
        self._frames_this_pass += 1
        return frame

    def _next_picture(self) -> tuple[VideoFrame, Image] | None:
        """Return the next frame that can be converted; None at the end."""
        while True:
            try:
                decoded = next(self._frames, None)
                if decoded is None:
                    return None
                width_px = max(1, round(decoded.width * self._pixel_aspect))
                return decoded, upright(to_rgb(decoded, width_px, self._reformatter), decoded)
            except av.FFmpegError as error:
                if self.live:
                    raise SourceError(f"{self.name} broke off: {error.strerror}.") from error
                self._damaged += 1

    def _time_of(self, decoded: VideoFrame) -> float:
        if self.live:
            return time.monotonic()
        if decoded.pts is None or decoded.time_base is None:
            step_s = 1 / self.fps if self._index else 0.0
            return self._last_s + step_s
        pts_s = float(decoded.pts * decoded.time_base)
        if self._first_pts_s is None:
            self._first_pts_s = pts_s
        time_s = self._pass_start_s + pts_s - self._first_pts_s
        if not self._frames_this_pass:
            return time_s
        if is_jump(time_s - self._last_s):  # of joined files and recordings of a broadcast
            if not self._jumped:
                _log.warning("The clock of %s jumps; its pictures go on at once.", self.name)
            self._jumped = True
            self._pass_start_s += self._last_s + 1 / self.fps - time_s
            return self._last_s + 1 / self.fps
        # Broken files repeat a time or step back, but a sink needs increasing times.
        return max(time_s, self._last_s + _MIN_STEP_S)

    def _rewind(self) -> None:
        """Begin the next pass by opening the file again, since not every format can seek."""
        self._container.close()
        self._container, self._stream = self._open()
        self._frames = progressive(self._decoded(), self._stream)
        self._pass_start_s = self._last_s + 1 / self.fps
        self._first_pts_s = None
        self._frames_this_pass = 0

    def _warn_if_cut(self) -> None:
        if self._frames_this_pass == 0 or self._warned:
            return
        length_s = self._last_s - self._pass_start_s + 1 / self.fps
        missing_s = (self.duration_s or 0.0) - length_s
        is_cut = self._knows_its_end and missing_s > max(_CUT_TOLERANCE_S, 2 / self.fps)
        if self._damaged or is_cut:
            self._warned = True
            _log.warning(
                "%s is damaged or cut off: %d of about %s frames could be read.",
                self.name,
                self._frames_this_pass,
                self._pass_frames or "an unknown number of",
            )


def _duration_s(stream: VideoStream) -> float | None:
    """Return the length of the pictures; None if the file does not say it."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    try:  # Matroska has it as text, such as 00:01:02.500000000
        hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
    except (KeyError, ValueError):
        return None
    # FFmpeg writes the time at which the pictures end.
    length_s = 3600 * hours + 60 * minutes + seconds
    if stream.start_time and stream.time_base:
        length_s -= float(stream.start_time * stream.time_base)
    return length_s if length_s > 0 else None


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:  # the exception's own text may contain the password
        raise SourceError("The address of the video is not valid; check its brackets.") from error
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


class VideoSettings(Section):
    """Playback of a video."""

    loop: bool = Field(False, description="start a video file again at its end")


def _build_video(argument: str, settings: VideoSettings) -> Source:
    if not argument:
        raise SourceError("Name the video: video:PATH or video:URL.")
    source = VideoSource(argument, settings.loop)
    if not source.live:
        return source
    # A network camera is reopened like a webcam; what was opened above is its first opening.
    opened = [source]
    return ReconnectingSource(lambda: opened.pop() if opened else VideoSource(argument))


VIDEO: Final = SourceSpec(
    name="video",
    summary="a video file or a stream by http or rtsp; of a file every frame is rendered",
    build=_build_video,
    settings=VideoSettings,
    argument="PATH|URL",
)
