"""Looks for the watermark in a file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

from reenact.errors import NotAPictureError
from reenact.sinks.watermark import CERTAIN, watermark_score
from reenact.sources.image_file import read_image
from reenact.sources.video_file import VideoSource
from reenact.types import Image

_PICTURES: Final = 100
"""Pictures of a video that are searched together, some four seconds."""


def has_watermark(path: Path) -> bool:
    """Return whether a picture, or any few seconds of a video, has the watermark.

    Raises:
        SourceError: the file is missing, damaged, or neither a picture nor a video.
    """
    try:
        return watermark_score([read_image(path)]) >= CERTAIN
    except NotAPictureError:
        with VideoSource(path) as video:
            pictures = _pictures(video)
            return any(
                watermark_score(chain([first], islice(pictures, _PICTURES - 1))) >= CERTAIN
                for first in pictures
            )


def _pictures(video: VideoSource) -> Iterator[Image]:
    while (frame := video.read()) is not None:
        yield frame.image
