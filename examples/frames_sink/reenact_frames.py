"""A sink for reenact: every frame becomes a picture in a folder, transparent where it is so."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import Field

from reenact.config import Section
from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SinkSpec
from reenact.storage import expanded
from reenact.types import Frame


class FramesSettings(Section):
    """The section `[sink.frames]`."""

    every: int = Field(1, ge=1, le=1000, description="write only each n-th frame")


class FramesSink(ClosesOnExit):
    """Writes 000000.png, 000001.png, ...; satisfies `reenact.types.Sink`."""

    live = False

    def __init__(self, argument: str, settings: FramesSettings) -> None:
        if not argument:
            raise SinkError("Say which folder: frames:FOLDER.")
        self.name = f"frames:{argument}"
        self._folder = expanded(argument)
        self._every = settings.every
        self._frames = 0

    def open(self, size: tuple[int, int], fps: float) -> None:
        """Make the folder."""
        if any(self._folder.glob("*.png")):
            raise SinkError(f"{self._folder} already holds pictures; name another folder.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self._folder} cannot be made: {error.strerror}.") from error

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        from PIL import Image

        if self._frames % self._every == 0:
            pixels = frame.image if frame.alpha is None else np.dstack([frame.image, frame.alpha])
            path = self._folder / f"{self._frames:06}.png"
            try:
                Image.fromarray(pixels).save(path)
            except OSError as error:
                raise SinkError(f"{path} cannot be written: {error.strerror}.") from error
        self._frames += 1

    def close(self) -> None:
        """Do nothing: every picture is complete."""


FRAMES: Final = SinkSpec(
    name="frames",
    summary="a folder of pictures, one a frame",
    build=FramesSink,
    settings=FramesSettings,
    argument="FOLDER",
    alpha=True,
)
