"""Stores single pictures of a session."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reenact.errors import SinkError
from reenact.imaging import encoded, with_alpha
from reenact.sinks.recordings import new_paths
from reenact.sinks.video_file import tags_of
from reenact.storage import atomic_write, refusal
from reenact.types import Frame

_HEADER_BYTES: Final = 8 + 25
"""A PNG's signature and its chunk IHDR."""


def store_picture(frame: Frame) -> Path:
    """Store a picture as a PNG in the user's video folder; return its path.

    It has the frame's size and, where that has one, its alpha channel. Its texts Title, Comment and
    Synthetic tell that it is synthetic, as those of videos do. No file is replaced. At 1280x720 the
    call takes some 50 ms, and as long as the disk needs. Any thread may call.

    Raises:
        SinkError: it cannot be written. Nothing is left then.
    """
    picture = frame.image if frame.alpha is None else with_alpha(frame)
    content = _with_texts(encoded(picture, ".png"), tags_of("picture"))
    path = next(path for path in new_paths(".png") if _reserved(path))
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return path


def _reserved(path: Path) -> bool:
    """Make an empty file; return False if the name is taken, as by a picture of the same second."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    except OSError as error:
        raise SinkError(refusal(path, error)) from error
    return True


def _with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a PNG with texts, in chunks tEXt; their keywords begin with a capital."""
    chunks = b"".join(
        _chunk(b"tEXt", f"{name.capitalize()}\0{text}".encode("latin-1"))
        for name, text in texts.items()
    )
    return png[:_HEADER_BYTES] + chunks + png[_HEADER_BYTES:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
