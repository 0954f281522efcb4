"""The user's stored targets, one folder each."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from reenact.errors import NameTakenError, TargetError, quoted
from reenact.storage import (
    atomic_write,
    checked_name,
    data_folder,
    exclusive_lock,
    expanded,
    refusal,
)
from reenact.targets import serialization
from reenact.targets.clip_files import clips_in
from reenact.targets.exchange_file import SUFFIX, open_exchange_file, write_exchange_file
from reenact.targets.manual_landmarks import Points, check_inside, fit_landmarks
from reenact.targets.serialization import DamagedError, bounded
from reenact.types import Image, Target

BUILT_IN: Final = ("astronaut", "robin")
"""Targets that come with the program."""

FOOTAGE: Final = "footage"
"""Subfolder of a target with the clips that it can be trained on. It is never exported."""

_LOCK: Final = "training.lock"

_LEFT_S: Final = 86400.0
"""A temporary folder that has not changed for this long was left by a killed program."""


class TargetStore:
    """The stored targets, one folder each, in `folder` (None: `targets` in `data_folder()`).

    A target appears under its name only once it is complete. Any thread may call, and several
    processes may share a folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = data_folder() / "targets" if folder is None else folder

    def create(
        self,
        target: Target,
        weights: Path | None = None,
        footage: Path | None = None,
        settings: str = "",
    ) -> None:
        """Store a new target under its name, with copies of its own weights and of its footage.

        `settings` are its own, as TOML. Raises TargetError if the name is not allowed or taken, or
        the folder cannot be written.
        """
        self.check_free(target.name)
        name = checked_name(target.name)
        with self.writing():
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
            try:
                _write(fresh, replace(target, name=name), weights)
                if settings:
                    (fresh / serialization.SETTINGS).write_text(settings, "utf-8")
                if footage is not None and footage.is_dir():
                    shutil.copytree(footage, fresh / FOOTAGE)
                self.adopt(fresh, name)
            except DamagedError as error:
                raise TargetError(f"The target {name} cannot be stored: {error}") from error
            finally:
                shutil.rmtree(fresh, ignore_errors=True)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Return a context with a temporary folder, in which a new target's footage may be made.

        What killed programs left is removed. Entering raises TargetError if the folder of the
        targets cannot be written.
        """
        self.remove_left()
        with self.writing():
            made = tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder)
        with made as folder:
            yield Path(folder)

    def remove_left(self) -> None:
        """Remove the temporary folders that killed programs left more than a day ago."""
        for left in (*self.folder.glob(".new-*"), *self.folder.glob(".old-*")):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    shutil.rmtree(left)

    def check_free(self, name: str) -> None:
        """Raise TargetError unless a target of this name can be stored."""
        if name in BUILT_IN:
            raise NameTakenError(f"{name} is built in; choose another name.")
        if os.path.lexists(self._place(name)):
            raise _taken(name)
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder)).rmdir()

    def adopt(self, folder: Path, name: str) -> None:
        """Move a folder on the same disk that holds a whole target to its place.

        Raises TargetError if the name is not allowed or taken, or the folder cannot be moved.
        """
        with self.writing():
            try:
                folder.rename(self.folder / checked_name(name))
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise _taken(name) from error
                raise

    def load(self, name: str) -> Target:
        """Return a stored target; `weights` is the path of its own weights, if it has any.

        Raises TargetError if there is no such target, or its files are damaged.
        """
        with self._reading(name) as read:
            target = serialization.unpack(read)
        weights = self.weights_path(name) if target.weights else None
        if target.weights and weights is None:
            raise _damaged(name, DamagedError(f"{target.weights} is missing."))
        return replace(
            target, name=checked_name(name), weights=None if weights is None else str(weights)
        )

    def picture(self, name: str) -> Image:
        """Return a target's first reference, uint8 (S, S, 3) RGB.

        Raises TargetError if there is no such target, or the picture is damaged.
        """
        with self._reading(name) as read:
            return serialization.read_picture(read)

    def list(self) -> tuple[str, ...]:
        """Return the sorted names of the stored targets.

        A folder whose name no target may have, such as a file manager's copy, is left out.
        """
        try:
            entries = [entry.name for entry in self.folder.iterdir()]
        except OSError:
            return ()
        names = {checked_name(entry) for entry in entries if _is_allowed(entry)}
        return tuple(sorted(name for name in names if name in self))

    def __contains__(self, name: str) -> bool:
        """Return True if a target of this name is stored."""
        if name in BUILT_IN or not _is_allowed(name):
            return False
        return os.path.isfile(self._place(name) / serialization.DESCRIPTION)

    def show(self, name: str) -> str:
        """Describe a target, one `field: value` a line; no note takes the place of a field."""
        target = self.load(name)
        height, width = target.plate.shape[:2]
        own = {
            "name": target.name,
            "references": f"{len(target.references)} of {target.crop_size} px",
            "plate": f"{width} x {height} px",
            "renderer": target.renderer,
            "weights": "its own" if target.weights else "the shipped ones",
            "footage": ", ".join(clip.stem for clip in self._clips(name)) or "none",
            "folder": str(self._place(name)),
        }
        lines = {**own, **target.metadata, **own}
        return "\n".join(_printable(f"{field}: {value}") for field, value in lines.items())

    def rename(self, name: str, new: str) -> None:
        """Rename a target with everything that it holds.

        Raises TargetError if there is no such target, it is being trained, or the new name is not
        allowed or taken.
        """
        place = self.folder_of(name)
        if new == name:
            raise TargetError(f"{name} has this name already; give another.")
        # A disk that ignores case takes "anna" and "Anna" for one folder.
        if not _are_same(place, self._place(new)):
            self.check_free(new)
        self.check_idle(name)
        self.adopt(place, new)

    def remove(self, name: str) -> None:
        """Delete a target, even a damaged one.

        Raises TargetError if there is no such target, it is being trained, or that is not possible.
        """
        place = self.folder_of(name)
        self.check_idle(name)
        with self.writing():
            # Renamed first, so that a partly deleted target is never listed.
            doomed = Path(tempfile.mkdtemp(prefix=".old-", dir=self.folder))
            place.rename(doomed / "target")
            shutil.rmtree(doomed)

    def training(self, name: str) -> AbstractContextManager[None]:
        """Return a context in which nobody else trains, renames or removes a target.

        Entering raises TargetError if it is being trained, by this process or another, or its
        folder cannot be written.
        """
        busy = f"{name} is being trained; wait until that has ended, or stop it."
        return exclusive_lock(self.folder_of(name) / _LOCK, busy, error=TargetError)

    def check_idle(self, name: str) -> None:
        """Raise TargetError if there is no such target, or it is being trained."""
        # A full disk has no room for a new lock, and removing a target frees it.
        if (self.folder_of(name) / _LOCK).exists():
            with self.training(name):
                pass

    def irreplaceable_parts(self, name: str) -> tuple[str, ...]:
        """Return which of "trained weights" and "footage" would be lost with a target.

        Raises SourceError if the footage cannot be read.
        """
        held = {
            "trained weights": self.weights_path(name) is not None,
            "footage": bool(self._clips(name)),
        }
        return tuple(what for what, there in held.items() if there)

    def has_one_picture(self, name: str) -> bool:
        """Return True for a target of one picture, in which `place_points` can place points."""
        self.folder_of(name)
        with contextlib.suppress(TargetError), self._reading(name) as read:
            return serialization.read_description(read).references == 1
        return False  # it is damaged

    def weights_path(self, name: str) -> Path | None:
        """Return the file of a target's own weights; None if it uses the shipped ones."""
        place = self.folder_of(name) / serialization.WEIGHTS
        return place if place.is_file() else None

    def attach_weights(self, name: str, weights: Path, renderer: str) -> None:
        """Store a copy of these weights as the target's own, and make this renderer draw it."""
        place = self.folder_of(name)
        with self._reading(name) as read:
            description = serialization.read_description(read)
        changed = description.model_copy(
            update={"renderer": renderer, "weights": serialization.WEIGHTS}
        )
        with atomic_write(place / serialization.WEIGHTS, error=TargetError) as partial:
            shutil.copyfile(weights, partial)
        with atomic_write(place / serialization.DESCRIPTION, error=TargetError) as partial:
            partial.write_text(changed.model_dump_json(indent=1), "utf-8")

    def add_references(self, name: str, target: Target) -> None:
        """Store a target whose first references are those that are stored under this name.

        If the program is killed meanwhile, it has those alone. Raises TargetError if there is no
        such target, or the others cannot be stored.
        """
        place = self.folder_of(name)
        with self._reading(name) as read:
            known = serialization.read_description(read).references
        try:
            pieces = serialization.pack(target)
        except DamagedError as error:
            raise TargetError(f"The pictures cannot be stored: {error}") from error
        added = map(serialization.reference_name, range(known, len(target.references)))
        # In this order, each piece is there before one that counts on it is read.
        for piece in (*added, serialization.LANDMARKS, serialization.DESCRIPTION):
            with atomic_write(place / piece, error=TargetError) as partial:
                partial.write_bytes(pieces[piece])

    def load_single(self, name: str) -> Target:
        """Return a target of one picture. Raises TargetError if it has several; see `load`."""
        target = self.load(name)
        if len(target.references) > 1:
            raise TargetError(
                f"{name} has {len(target.references)} pictures; points can be placed in a target "
                "of one picture."
            )
        return target

    def place_points(self, name: str, points: Points) -> None:
        """Correct the face of a target's only picture by some of its points, px of the reference.

        See `fit_landmarks`. The face then counts as resting. Raises TargetError if there is no such
        target, it has several pictures, it is being trained, or the points do not form a face or
        lie outside the reference.
        """
        target = self.load_single(name)
        self.check_idle(name)
        landmarks = fit_landmarks(points, target.landmarks[0])
        check_inside(points, target.crop_size, name)
        corrected = replace(
            target,
            landmarks=landmarks[None],
            neutral=landmarks,
            metadata={**target.metadata, "expressions": "relative"},
        )
        try:
            pieces = serialization.pack_face(corrected)
        except DamagedError as error:
            raise TargetError(f"The points cannot be stored: {error}") from error
        for piece, data in pieces.items():
            with atomic_write(self.folder_of(name) / piece, error=TargetError) as partial:
                partial.write_bytes(data)

    def export_file(self, name: str, path: Path) -> Path:
        """Write a target to a file, or to a file named after it in a folder; return its path.

        `.reenact-target` is appended if it is missing. A file of that name is replaced. Raises
        TargetError if there is no such target, it is damaged, or the file cannot be written.
        """
        target = self.load(name)
        weights, own = self.weights_path(name), self.folder_of(name) / serialization.SETTINGS
        path = self.export_path(name, path)
        write_exchange_file(path, target, weights, own if own.is_file() else None)
        return path

    def export_path(self, name: str, path: Path) -> Path:
        """Return the path of the file that `export_file` writes."""
        path = expanded(path)
        if path.is_dir():
            path = path / name
        return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)

    def import_file(
        self,
        path: Path,
        name: str | None = None,
        allowed: Callable[[Path], str] = lambda settings: "",
    ) -> str:
        """Store a target from an exported file, under its own name or another; return that name.

        Everything is checked before it is stored; pictures and landmarks are re-encoded. `allowed`
        takes the file of the target's own settings, and returns those to store, as TOML. Raises
        TargetError if the file is missing or damaged, or the name is not allowed or taken.
        """
        with open_exchange_file(expanded(path)) as (target, weights, settings):
            named = replace(target, name=name or target.name)
            self.create(named, weights, settings=allowed(settings) if settings else "")
            return named.name

    def _clips(self, name: str) -> Sequence[Path]:
        return clips_in(self._place(name) / FOOTAGE)

    def _place(self, name: str) -> Path:
        name = checked_name(name)
        place = self.folder / name
        # A folder that was copied from a Mac may have its name in Unicode form NFD.
        copied = self.folder / unicodedata.normalize("NFD", name)
        return copied if os.path.lexists(copied) and not os.path.lexists(place) else place

    def folder_of(self, name: str) -> Path:
        """Return the folder of a stored target. Raises TargetError if there is no such target."""
        place = self._place(name)
        if name in BUILT_IN:
            raise TargetError(
                f"{name} is built in: it can be shown, but not changed, trained or exported. Make "
                "one of your own with `reenact target create NAME --from PHOTO`."
            )
        if not place.is_dir():
            known = ", ".join((*self.list(), *BUILT_IN))
            raise TargetError(f"There is no target {name!r}; there is {known}.")
        return place

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[serialization.Read]:
        place = self.folder_of(name)

        def read(piece: str, max_bytes: int) -> bytes:
            try:
                with (place / piece).open("rb") as file:
                    return bounded(file.read(max_bytes + 1), piece, max_bytes)
            except FileNotFoundError as error:
                raise DamagedError(f"{piece} is missing.") from error

        try:
            yield read
        except DamagedError as error:
            raise _damaged(name, error) from error
        except OSError as error:
            raise TargetError(
                f"The target {name} cannot be read: {error.strerror or error}."
            ) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Return a context that raises TargetError for an OSError of the block."""
        try:
            yield
        except OSError as error:
            raise TargetError(
                f"{refusal(self.folder, error)} To keep targets elsewhere, set the environment "
                "variable REENACT_DATA."
            ) from error


def _taken(name: str) -> NameTakenError:
    return NameTakenError(
        f"There is already a target {name}; choose another name, or rename it with "
        f"`reenact target rename {quoted(name)} NEW`."
    )


def _damaged(name: str, error: DamagedError) -> TargetError:
    return TargetError(
        f"The stored target {name} is damaged: {error} Remove it with "
        f"`reenact target remove {quoted(name)}` and create it again."
    )


def _write(folder: Path, target: Target, weights: Path | None) -> None:
    """Write all pieces of a target into an empty folder."""
    target = replace(target, weights=serialization.WEIGHTS if weights else None)
    for piece, data in serialization.pack(target).items():
        (folder / piece).write_bytes(data)
    if weights is not None:
        shutil.copyfile(weights, folder / serialization.WEIGHTS)


def _printable(text: str) -> str:
    """Return a text without signs that would control a terminal or begin another line."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _are_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _is_allowed(name: str) -> bool:
    try:
        checked_name(name)
    except TargetError:
        return False
    return True
