"""A source for reenact: the pictures of a folder, in the order of their names."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from reenact.config import FrameRate, Section
from reenact.errors import SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.registry import SourceSpec
from reenact.storage import expanded
from reenact.types import Frame

_ENDINGS: Final = {".png", ".jpg", ".jpeg", ".webp"}


class FolderSettings(Section):
    """The section `[source.folder]`."""

    fps: FrameRate = Field(25.0, description="rate of the pictures")


class FolderSource(ClosesOnExit):
    """Reads one picture a frame; satisfies `reenact.types.Source`."""

    live = False

    def __init__(self, argument: str, settings: FolderSettings) -> None:
        from reenact.sources.image_file import read_image

        self._read_image = read_image
        folder = expanded(argument)
        if not argument or not folder.is_dir():
            raise SourceError(f"Say which folder: folder:FOLDER; there is no folder {argument!r}.")
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        if not self._paths:
            raise SourceError(f"{folder} holds no pictures ({', '.join(sorted(_ENDINGS))}).")
        height, width = read_image(self._paths[0]).shape[:2]
        self.name = folder.name
        self.size = (width, height)
        self.fps = settings.fps
        self.frames_total = len(self._paths)
        self._index = 0

    def read(self) -> Frame | None:
        """Return the next picture; None after the last one and once closed."""
        if self._index >= len(self._paths):
            return None
        path = self._paths[self._index]
        image = self._read_image(path)
        if (image.shape[1], image.shape[0]) != self.size:
            raise SourceError(f"{path} has another size than the first picture.")
        frame = Frame(image, time_s=self._index / self.fps, index=self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """End the source."""
        self._index = len(self._paths)


FOLDER: Final = SourceSpec(
    name="folder",
    summary="the pictures of a folder, each a frame",
    build=FolderSource,
    settings=FolderSettings,
    argument="FOLDER",
)
