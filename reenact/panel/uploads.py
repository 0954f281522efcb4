"""Uploaded files: limited in size, and deleted when the program ends."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Final

from reenact.errors import ReenactError, SinkError, TargetError
from reenact.lifecycle import ClosesOnExit
from reenact.storage import checked_name, exclusive_lock, refusal

MAX_BYTES: Final = {"image": 64 << 20, "video": 4 << 30, "application": 1 << 30}
"""Maximum size of a file by the first part of its media type."""

MAX_FILES: Final = 32

_SUFFIXES: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "image/heic": ".heic",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "video/x-ms-wmv": ".wmv",
    "video/mpeg": ".mpg",
    "video/mp2t": ".ts",
    "video/3gpp": ".3gp",
    "application/octet-stream": ".reenact-target",
}
"""The accepted types. A page of another site cannot send any of them without a preflight."""

_PREFIX: Final = "reenact-panel-"
_LOCK: Final = "in use"

TYPES: Final = frozenset(_SUFFIXES)


class TooLargeError(ReenactError):
    """A file is larger than its type allows."""


class Uploads(ClosesOnExit):
    """The uploaded files, each in its own folder, by unguessable identifiers.

    A file keeps its name from the user's disk, so that messages and the target's metadata can name
    it. Letters and digits of that name are kept, and the suffix follows from the type.

    Attributes:
        folder: a temporary folder, in which other files may be made as well. If the program is
            killed, the next one deletes it.
    """

    def __init__(self) -> None:
        _delete_left()
        self._own = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._use = ExitStack()
        self._use.enter_context(_used(self._own))
        self.folder = self._own / "files"
        self.folder.mkdir()
        self._paths: dict[str, Path] = {}
        self._claimed: set[str] = set()
        self._claiming = threading.Lock()

    async def take(self, media_type: str, chunks: AsyncIterator[bytes], name: str = "") -> str:
        """Store a file as it arrives; return its identifier.

        If there are `MAX_FILES`, the oldest file that no target was made of is deleted.

        Args:
            media_type: one of `TYPES`.
            chunks: its content.
            name: its name on the user's disk.

        Raises:
            TooLargeError: it is too large; nothing of it is kept.
            TargetError: targets are being made of as many files.
            SinkError: it cannot be written, for instance to a full disk; nothing of it is kept.
        """
        self._make_room()
        limit, size = MAX_BYTES[media_type.partition("/")[0]], 0
        number = secrets.token_hex(8)
        path = self.folder / number / f"{_plain(name)}{_SUFFIXES[media_type]}"
        try:
            path.parent.mkdir()
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise TooLargeError(f"The file is larger than {limit >> 20} MB.")
                    file.write(chunk)
        except BaseException as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            if isinstance(error, OSError):
                raise SinkError(refusal(path, error)) from error
            raise
        self._paths[number] = path
        return number

    def make(self, name: str, write: Callable[[Path], None]) -> str:
        """Let a function write a file of that name; return its identifier.

        Raises what the function raises, after which nothing of the file is kept, and TargetError as
        `take` does.
        """
        self._make_room()
        number = secrets.token_hex(8)
        path = self.folder / number / name
        try:
            path.parent.mkdir()
            write(path)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        self._paths[number] = path
        return number

    def _make_room(self) -> None:
        """Delete the oldest file that no target was made of, if there are `MAX_FILES`."""
        if len(self._paths) < MAX_FILES:
            return
        with self._claiming:
            unused = [number for number in tuple(self._paths) if number not in self._claimed]
            if not unused:
                raise TargetError("Wait until the targets that are being made are ready.")
            self.forget(unused[:1])

    def claim(self, numbers: Sequence[str]) -> list[Path]:
        """Return the paths of files, which stay until `forget` or `release` is called.

        Raises TargetError if an identifier is unknown, or its file is claimed already.
        """
        with self._claiming:
            free = self._paths.keys() - self._claimed
            if not numbers or not free.issuperset(numbers):
                raise TargetError("The files are missing or were already used; drop them again.")
            self._claimed |= set(numbers)
            return [self._paths[number] for number in numbers]

    def release(self, numbers: Sequence[str]) -> None:
        """Let files that were claimed be replaced by newer ones, but keep them until then."""
        self._claimed -= set(numbers)

    def forget(self, numbers: Sequence[str]) -> None:
        """Delete files."""
        for number in numbers:
            path = self._paths.pop(number, None)
            self._claimed.discard(number)
            if path is not None:
                shutil.rmtree(path.parent)

    def close(self) -> None:
        """Delete all files."""
        self._use.close()
        shutil.rmtree(self._own, ignore_errors=True)


def _used(folder: Path) -> AbstractContextManager[None]:
    """Keep other programs from deleting a folder. Entering raises SinkError if one keeps it."""
    return exclusive_lock(folder / _LOCK, f"{folder} is in use.", error=SinkError)


def _delete_left() -> None:
    """Delete the folders of programs that were killed, but none of another user."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, SinkError):
            mine = sys.platform == "win32" or left.lstat().st_uid == os.getuid()
            if mine and (left / _LOCK).is_file():
                with _used(left):
                    pass
                shutil.rmtree(left)


def _plain(name: str) -> str:
    """Return a file name without its suffix that every operating system accepts."""
    try:
        return checked_name(re.sub(r"[^\w \-]+", "-", Path(name).stem)[:48].strip(" -_"))
    except TargetError:
        return "file"
