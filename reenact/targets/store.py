"""The user's stored targets: one folder each, or one file to hand on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from reenact.errors import TargetError
from reenact.storage import atomic_write, data_folder
from reenact.targets import serialization as target_files
from reenact.targets.clip_files import clips_in
from reenact.targets.serialization import DamagedError
from reenact.types import Target

BUILT_IN: Final = ("astronaut",)
"""Names of the targets that need no making."""

FOOTAGE: Final = "footage"
"""The folder, inside a target's own, of the clips that it can be trained with. It stays on this
machine: an exported target does not hold it."""

SUFFIX: Final = ".reenact-target"
"""How the name of an exported target ends."""

_NAME: Final = re.compile(r"[^\W_](?:[\w \-]{0,46}[\w\-])?")
_WINDOWS_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))]
)
_COPY_BYTES: Final = 1 << 20


def checked_name(name: str) -> str:
    """Return the name in one Unicode form.

    Raises:
        TargetError: it could not be a folder's name on every system.
    """
    name = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(name) or name.lower() in _WINDOWS_DEVICES:
        raise TargetError(
            f"{name!r} cannot be a target's name; use up to 48 letters, digits, spaces, - and _, "
            "with a letter or digit first."
        )
    return name


class TargetStore:
    """The stored targets, one folder each.

    A target appears under its name only once it is complete. May be called from any thread;
    two programs may use one folder.

    Args:
        folder: holds the targets; None: `targets` in `data_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = data_folder() / "targets" if folder is None else folder

    def create(
        self, target: Target, weights: Path | None = None, footage: Path | None = None
    ) -> None:
        """Store a new target.

        Args:
            target: stored under its name.
            weights: a safetensors file of its own, copied.
            footage: a folder of clips to train it with, copied; see `footage`.

        Raises:
            TargetError: the name is not allowed or taken, or the folder cannot be written.
        """
        self.check_free(target.name)
        name = checked_name(target.name)
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
            try:
                _write(fresh, replace(target, name=name), weights)
                if footage is not None and footage.is_dir():
                    shutil.copytree(footage, fresh / FOOTAGE)
                fresh.rename(self.folder / name)
            except DamagedError as error:
                raise TargetError(f"The target {name} cannot be stored: {error}") from error
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    def check_free(self, name: str) -> None:
        """Raise TargetError where a name is not allowed, taken, or built in."""
        if name in BUILT_IN:
            raise TargetError(f"{name} is built in; choose another name.")
        if os.path.lexists(self._place(name)):
            raise TargetError(
                f"There is already a target {name}; choose another name, or remove it first with "
                f"`reenact target remove {_quoted(name)}`."
            )

    def load(self, name: str) -> Target:
        """Return a stored target; its weights, where it has any, as the path of their file.

        Raises:
            TargetError: there is none of that name (the message lists the others), or its
                files are damaged.
        """
        with self._reading(name) as read:
            target = target_files.unpack(read)
        weights = self.weights_path(name) if target.weights else None
        if target.weights and weights is None:
            raise _damaged(name, DamagedError(f"{target.weights} is missing."))
        return replace(
            target, name=checked_name(name), weights=None if weights is None else str(weights)
        )

    def folder_of(self, name: str) -> Path:
        """Return the folder of a stored target.

        Raises:
            TargetError: there is none of that name.
        """
        return self._existing(name)

    def list(self) -> tuple[str, ...]:
        """Return the sorted names of the stored targets."""
        try:
            entries = sorted(entry.name for entry in self.folder.iterdir())
        except OSError:
            return ()
        described = [n for n in entries if (self.folder / n / target_files.DESCRIPTION).is_file()]
        return tuple(name for name in described if not name.startswith("."))

    def show(self, name: str) -> str:
        """Return what is known of a target, one `field: value` a line."""
        target = self.load(name)
        height, width = target.plate.shape[:2]
        lines = {
            "name": target.name,
            "references": f"{len(target.references)} of {target.crop_size} px",
            "plate": f"{width} x {height} px",
            "renderer": target.renderer,
            "weights": "its own" if target.weights else "the shipped ones",
            "footage": self._footage_of(name),
            **target.metadata,
            "folder": str(self._place(name)),
        }
        return "\n".join(f"{field}: {value}" for field, value in lines.items())

    def rename(self, name: str, new: str) -> None:
        """Give a target another name; all that it holds stays.

        Raises:
            TargetError: there is none of that name, or the new one is not allowed or taken.
        """
        place = self._existing(name)
        self.check_free(new)
        with self._writing():
            place.rename(self._place(new))

    def remove(self, name: str) -> None:
        """Delete a target, a damaged one too.

        Raises:
            TargetError: there is none of that name, or it cannot be deleted.
        """
        place = self._existing(name)
        with self._writing():
            # Out of sight at once: half a target is never listed.
            doomed = Path(tempfile.mkdtemp(prefix=".old-", dir=self.folder))
            place.rename(doomed / "target")
            shutil.rmtree(doomed)

    def irreplaceable_parts(self, name: str) -> tuple[str, ...]:
        """Return which of "trained weights" and "footage" a target holds.

        Raises:
            TargetError: there is none of that name.
        """
        held = {
            "trained weights": self.weights_path(name) is not None,
            "footage": bool(clips_in(self._place(name) / FOOTAGE)),
        }
        return tuple(what for what, there in held.items() if there)

    def weights_path(self, name: str) -> Path | None:
        """Return the file of a target's own weights, None where it uses the shipped ones."""
        place = self._existing(name) / target_files.WEIGHTS
        return place if place.is_file() else None

    def attach_weights(self, name: str, weights: Path, renderer: str) -> None:
        """Give a stored target weights of its own, trained for a renderer.

        Raises:
            TargetError: there is no such target, or its folder cannot be written.
        """
        place = self._existing(name)
        with self._reading(name) as read:
            description = target_files.read_description(read)
        changed = description.model_copy(
            update={"renderer": renderer, "weights": target_files.WEIGHTS}
        )
        with atomic_write(place / target_files.WEIGHTS, error=TargetError) as partial:
            shutil.copyfile(weights, partial)
        with atomic_write(place / target_files.DESCRIPTION, error=TargetError) as partial:
            partial.write_text(changed.model_dump_json(indent=1), "utf-8")

    def export_file(self, name: str, path: Path) -> Path:
        """Write a target to one file.

        Args:
            name: of a stored target.
            path: of the file, or a folder that it is put into; `.reenact-target` is appended
                where the name lacks it. A file of that name is replaced.

        Returns:
            The file's path.

        Raises:
            TargetError: there is no such target, it is damaged, or the file cannot be written.
        """
        target = self.load(name)
        weights = self.weights_path(name)
        path = Path(path).expanduser()
        if path.is_dir():
            path = path / name
        if path.suffix != SUFFIX:
            path = path.with_name(path.name + SUFFIX)

        with (
            atomic_write(path, error=TargetError) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
        ):
            for piece, data in target_files.pack(target).items():
                archive.writestr(piece, data)
            if weights is not None:
                archive.write(weights, target_files.WEIGHTS)
        return path

    def import_file(self, path: Path, name: str | None = None) -> str:
        """Store a target from such a file.

        Everything is checked before it is stored; pictures and landmarks are written anew.

        Args:
            path: of the file.
            name: stored under this one; None: the name it was exported with.

        Returns:
            The name it is stored under.

        Raises:
            TargetError: the file is missing or damaged, or the name is not allowed or taken.
        """
        path = Path(path).expanduser()
        try:
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
                pieces = _Pieces(archive)
                target = target_files.unpack(pieces.read)
                weights = Path(scratch) / target_files.WEIGHTS if target.weights else None
                if weights is not None:
                    pieces.extract(target_files.WEIGHTS, weights)
                    target_files.check_weights(weights)
                notes = {**target.metadata, "imported from": path.name}
                target = replace(target, name=name or target.name, metadata=notes)
                self.create(target, weights)
        except FileNotFoundError as error:
            raise TargetError(f"There is no file {path}; check the path.") from error
        except (DamagedError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            # RuntimeError: an encrypted piece, or one in a compression that is not known.
            raise TargetError(
                f"{path} is not a target file, or is damaged; export it again. ({error})"
            ) from error
        except OSError as error:
            raise TargetError(f"{path} cannot be read: {error.strerror}.") from error
        return target.name

    def _footage_of(self, name: str) -> str:
        clips = clips_in(self._place(name) / FOOTAGE)
        return ", ".join(clip.stem for clip in clips) or "none"

    def _place(self, name: str) -> Path:
        return self.folder / checked_name(name)

    def _existing(self, name: str) -> Path:
        place = self._place(name)
        if name in BUILT_IN:
            raise TargetError(f"{name} is built in; it is not among the stored targets.")
        if not place.is_dir():
            known = ", ".join((*self.list(), *BUILT_IN))
            raise TargetError(f"There is no target {name!r}. Those that exist: {known}.")
        return place

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[target_files.Read]:
        place = self._existing(name)

        def read(piece: str, most: int) -> bytes:
            try:
                with (place / piece).open("rb") as file:
                    return _bounded(file.read(most + 1), piece, most)
            except FileNotFoundError as error:
                raise DamagedError(f"{piece} is missing.") from error

        try:
            yield read
        except DamagedError as error:
            raise _damaged(name, error) from error
        except OSError as error:
            raise TargetError(f"The target {name} cannot be read: {error.strerror}.") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetError(
                f"Targets cannot be stored in {self.folder}: {error.strerror}; free it, or name "
                "another folder in the environment variable REENACT_DATA."
            ) from error


class _Pieces:
    """The pieces in an exchange file; nothing else may be in it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._entries: dict[str, zipfile.ZipInfo] = {}
        limits = target_files.max_bytes()
        for entry in archive.infolist():
            if entry.filename not in limits or entry.filename in self._entries:
                raise DamagedError(f"{entry.filename!r} does not belong into it.")
            if entry.file_size > limits[entry.filename]:
                raise DamagedError(f"{entry.filename} is too long.")
            self._entries[entry.filename] = entry

    def read(self, piece: str, most: int) -> bytes:
        with self._archive.open(self._entry(piece)) as file:
            return _bounded(file.read(most + 1), piece, most)

    def extract(self, piece: str, path: Path) -> None:
        # zipfile itself reads no further than the size that the entry declares.
        with self._archive.open(self._entry(piece)) as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, _COPY_BYTES)

    def _entry(self, piece: str) -> zipfile.ZipInfo:
        if piece not in self._entries:
            raise DamagedError(f"{piece} is missing.")
        return self._entries[piece]


def _damaged(name: str, error: DamagedError) -> TargetError:
    return TargetError(
        f"The stored target {name} is damaged: {error} Remove it with "
        f"`reenact target remove {_quoted(name)}` and make it anew."
    )


def _bounded(data: bytes, piece: str, most: int) -> bytes:
    if len(data) > most:
        raise DamagedError(f"{piece} is too long.")
    return data


def _write(folder: Path, target: Target, weights: Path | None) -> None:
    """Write all pieces of a target into an empty folder."""
    target = replace(target, weights=target_files.WEIGHTS if weights else None)
    for piece, data in target_files.pack(target).items():
        (folder / piece).write_bytes(data)
    if weights is not None:
        shutil.copyfile(weights, folder / target_files.WEIGHTS)


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
