"""The exchange file of a target: a ZIP archive of its pieces, checked before anything is used.

It does not contain the target's footage.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from reenact.errors import TargetError
from reenact.storage import atomic_write, file_name
from reenact.targets import serialization
from reenact.targets.serialization import DamagedError, bounded
from reenact.types import Target

SUFFIX: Final = ".reenact-target"
"""Ending of the name of an exported target."""

_COPY_BYTES: Final = 1 << 20
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Exchanged(NamedTuple):
    """What an exchange file holds.

    Attributes:
        target: the target.
        weights: a copy of its own weights, if it has any.
        settings: a copy of its own settings, a TOML file that is not checked, if it has any.
    """

    target: Target
    weights: Path | None
    settings: Path | None


def write_exchange_file(
    path: Path, target: Target, weights: Path | None, settings: Path | None = None
) -> None:
    """Write a target, with its own weights and settings if any, to one file.

    Raises TargetError.
    """
    with (
        atomic_write(path, error=TargetError) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for piece, data in serialization.pack(target).items():
            archive.writestr(piece, data)
        if weights is not None:
            archive.write(weights, serialization.WEIGHTS)
        if settings is not None:
            archive.write(settings, serialization.SETTINGS)


@contextmanager
def open_exchange_file(path: Path) -> Iterator[Exchanged]:
    """Read and check an exchange file.

    The copies are deleted afterwards. Raises TargetError if the file is missing or damaged, or
    holds something that does not belong there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch) / serialization.WEIGHTS
        settings = Path(scratch) / serialization.SETTINGS
        try:
            with zipfile.ZipFile(path) as archive:
                pieces = _Pieces(archive)
                target = serialization.unpack(pieces.read)
                if has_settings := serialization.SETTINGS in pieces:
                    pieces.extract(serialization.SETTINGS, settings)
                if target.weights:
                    pieces.extract(serialization.WEIGHTS, weights)
                    serialization.check_weights(weights)
        except FileNotFoundError as error:
            raise TargetError(f"There is no file {path}; check the path.") from error
        except OSError as error:
            raise TargetError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (
            DamagedError,
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            RuntimeError,  # a piece is encrypted
            ValueError,
        ) as error:
            raise TargetError(
                f"{path} is not a target file, or is damaged; export it again. ({error})"
            ) from error
        notes = {**target.metadata, "imported from": file_name(path)}
        target = replace(target, metadata=notes)
        yield Exchanged(
            target, weights if target.weights else None, settings if has_settings else None
        )


class _Pieces:
    """The pieces in the archive. Raises DamagedError if anything else is in it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._entries: dict[str, zipfile.ZipInfo] = {}
        limits = serialization.max_bytes()
        for entry in archive.infolist():
            if entry.filename not in limits or entry.filename in self._entries:
                raise DamagedError(f"{entry.filename!r} does not belong there.")
            if entry.file_size > limits[entry.filename]:
                raise DamagedError(f"{entry.filename} is too long.")
            if entry.compress_type not in _COMPRESSIONS:
                raise DamagedError(f"{entry.filename} has an unknown compression.")
            self._entries[entry.filename] = entry

    def read(self, piece: str, max_bytes: int) -> bytes:
        with self._archive.open(self._entry(piece)) as file:
            return bounded(file.read(max_bytes + 1), piece, max_bytes)

    def __contains__(self, piece: str) -> bool:
        return piece in self._entries

    def extract(self, piece: str, path: Path) -> None:
        # zipfile itself reads no further than the size that the entry declares.
        with self._archive.open(self._entry(piece)) as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, _COPY_BYTES)

    def _entry(self, piece: str) -> zipfile.ZipInfo:
        if piece not in self._entries:
            raise DamagedError(f"{piece} is missing.")
        return self._entries[piece]
