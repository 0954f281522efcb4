"""A recording of the user's own face, from which a target is made."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from reenact.config import SourceSettings
from reenact.errors import TargetError
from reenact.imaging import letterbox, rotated
from reenact.registry import load, split
from reenact.sinks.video_file import FileSink
from reenact.types import Frame, Image

MIN_TAKE_S: Final = 5.0
"""Minimum length of a recording."""

_SILENT_S: Final = 3.0
_POLL_S: Final = 0.005
_CRF: Final = 14
_FPS: Final = 30.0


def take_name() -> str:
    """Return a name for the file of a recording, by the time, so that later ones replace none."""
    return time.strftime("camera-%Y%m%d-%H%M%S.mp4")


def is_take(path: Path) -> bool:
    """Return whether a file has a name that `take_name` gives."""
    return re.fullmatch(r"camera-\d{8}-\d{6}\.mp4", path.name) is not None


def camera_frames(camera: str, settings: SourceSettings) -> Generator[Frame]:
    """Open a camera, such as `webcam:0`, and yield its frames, upright.

    Raises:
        ReenactError: it cannot be opened or breaks off, or is no camera.
    """
    kind, argument = split(camera)
    with closing(load("sources", kind).make(argument, settings)) as source:
        if not source.live:
            raise TargetError(f"{camera} is no camera; give a video to --from.")
        while (frame := source.read()) is not None:
            yield rotated(frame, settings.rotate)


def new_pictures(newest: Callable[[], Image | None]) -> Generator[Frame]:
    """Yield each new picture, with monotonic times, until none comes for three seconds.

    Args:
        newest: returns the newest picture, uint8 (H, W, 3) RGB, if there is one.
    """
    last, last_s = None, time.monotonic()
    for index in itertools.count():
        while (image := newest()) is None or image is last:
            if time.monotonic() > last_s + _SILENT_S:
                return
            time.sleep(_POLL_S)
        last, last_s = image, time.monotonic()
        yield Frame(image, last_s, index)


def record_take(
    frames: Iterable[Frame],
    path: Path,
    seconds: float,
    recorded: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Record frames as a video until it is long enough, or the frames end.

    Args:
        frames: of a camera, with rising `time_s`.
        path: the MP4 file to write.
        seconds: length of the recording.
        recorded: is called after each frame with the length so far.

    Raises:
        TargetError: the frames ended within `MIN_TAKE_S`. Nothing is left.
        SinkError: the file cannot be written.
    """
    first_s = length_s = 0.0
    size = None
    with FileSink(path, _CRF, tags={}) as sink:
        for frame in frames:
            if size is None:
                size, first_s = frame.size, frame.time_s
                sink.open(size, _FPS)
            length_s = frame.time_s - first_s
            if length_s >= seconds:
                break
            sink.write(replace(frame, image=letterbox(frame.image, size)))
            recorded(length_s)
        if size is None:
            raise TargetError("No camera sends a picture; choose one, and make the target again.")
        if length_s < MIN_TAKE_S:
            raise TargetError(
                f"The camera was recorded for {length_s:.0f} s only; a target needs at least "
                f"{MIN_TAKE_S:.0f} s."
            )
