"""The program's own files, the user's data folder, and files written whole or not at all.

Any thread may call.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reenact.errors import ReenactError, SinkError, TargetError

if TYPE_CHECKING:  # numpy and OpenCV are loaded only where a picture is written
    from numpy.typing import NDArray

    from reenact.types import Array, Image

ASSETS: Final = Path(__file__).parent / "assets"
"""The folder of the files that come with the program."""

DEMO_ACTOR: Final = ASSETS / "demo_actor.mp4"
"""A video of an invented face that acts, made by `tools/demo_actor.py`."""


_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What systems report where a disk, such as a network share, has no file locks."""

_NAME: Final = re.compile(r"[^\W_](?:[\w \-]{0,46}[\w\-])?")
_WINDOWS_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in "123456789¹²³")]
)


def read_asset(name: str) -> dict[str, Array]:
    """Return the arrays of an .npz file in `ASSETS`, float32 and read-only."""
    import numpy as np

    with np.load(ASSETS / name) as archive:
        arrays = {key: archive[key].astype(np.float32) for key in archive}
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def data_folder() -> Path:
    """Return the folder of what the user makes: REENACT_DATA, or the system's usual place."""
    chosen = os.environ.get("REENACT_DATA")
    if chosen:
        return expanded(chosen)
    from platformdirs import user_data_path

    return user_data_path("reenact", appauthor=False)


def cache_folder() -> Path:
    """Return the folder of what can be made again: REENACT_CACHE, or the system's usual place."""
    chosen = os.environ.get("REENACT_CACHE")
    if chosen:
        return expanded(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("reenact", appauthor=False)


def expanded(path: str | Path) -> Path:
    """Return a path in which a leading ~ is the user's home folder.

    A name that only begins with ~, such as that of a backup, stays as it is.
    """
    return Path(os.path.expanduser(path))


def file_name(path: Path) -> str:
    """Return the name of a file as text; of an old archive's it may hold bytes that are none."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def checked_name(name: str, kind: str = "target") -> str:
    """Return the name of a target, or of a thing of another kind, in Unicode form NFC.

    Raises TargetError if it could not name a folder on every operating system.
    """
    name = unicodedata.normalize("NFC", name)
    if name.lower() in _WINDOWS_DEVICES:
        raise TargetError(f"{name!r} is the name of a device on Windows; choose another name.")
    # Vowels of Hindi, for example, are marks and not letters for Python.
    letters = "".join(sign for sign in name if not unicodedata.category(sign).startswith("M"))
    if len(name) > 48 or name[:1] != letters[:1] or not _NAME.fullmatch(letters):
        raise TargetError(
            f"{name!r} cannot be a {kind}'s name; use up to 48 letters, digits, spaces, - and _, "
            "with a letter or digit first."
        )
    return name


@contextmanager
def atomic_write(
    path: Path, *, error: type[ReenactError] = SinkError, parents: bool = False
) -> Iterator[Path]:
    """Write a file whole or not at all.

        with atomic_write(path) as partial:
            partial.write_bytes(content)

    The block writes to a path of the same name in a hidden folder beside the place. Once the block
    ends, the content is flushed to the disk, and the file is moved to its place in one step. If the
    block raises anything, KeyboardInterrupt included, what it wrote is removed and an older file
    stays as it was. A file that replaces an older one keeps that one's permissions; a symbolic link
    is followed.

    Args:
        path: of the file.
        error: raised in place of any OSError, those of the block included.
        parents: make missing folders first.

    Yields:
        The path to write to. Nothing is there yet; its folder is removed at the end, so files that
        belong together can be written side by side and moved by the block.

    Raises:
        ReenactError: of the class `error`. The folder is missing or refuses, the disk is full, or
            the path is something other than a file.
    """
    place = Path(os.path.realpath(path))
    try:
        if parents:
            place.parent.mkdir(parents=True, exist_ok=True)
        with _hidden_folder(path, place, error) as folder:
            partial = Path(folder) / place.name
            yield partial
            _flush(partial)
            if place.exists():
                shutil.copymode(place, partial)
            partial.replace(place)
        with suppress(OSError):  # some systems and file systems cannot flush a folder
            _flush(place.parent)
    except OSError as problem:
        raise error(refusal(path, problem)) from problem


@contextmanager
def exclusive_lock(path: Path, busy: str, *, error: type[ReenactError]) -> Iterator[None]:
    """Keep every other process, and every other such block of this one, out while the block runs.

    The system releases the lock of a process that is killed; the empty file may stay.

    Args:
        path: of the lock file, in a folder that exists.
        busy: the message if another block holds the lock.
        error: raised then, and if the file cannot be written or locked.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as problem:
        raise error(busy) from problem
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise error(refusal(path, problem)) from problem
        with suppress(OSError):
            path.unlink(missing_ok=True)  # nobody can hold it
        raise error(
            f"{path.parent} is on a disk without file locks, perhaps a network share; move it to "
            "another disk."
        ) from problem
    try:
        yield
    finally:
        lock.release()


def reserve_partial(path: Path) -> Path:
    """Create an empty file `NAME.partial.EXT` beside a file that takes long to write.

    A partial file that a killed program left stays; the name then gets a number.

    Raises:
        SinkError: the folder is missing or refuses, or the path is a device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise SinkError(f"{path} is not a regular file; choose another name.")
    for number in range(1, 100):
        mark = "partial" if number == 1 else f"partial-{number}"
        partial = path.with_name(f"{path.stem}.{mark}{path.suffix}")
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        except OSError as problem:
            raise SinkError(refusal(path, problem)) from problem
        return partial
    raise SinkError(f"{path.parent} is full of partial files; remove them first.")


def finish_partial(partial: Path, path: Path, replaces: bool) -> None:
    """Give a file that `reserve_partial` named its final name.

    Raises:
        SinkError: there is a file of that name by now although none was to be replaced.
        OSError: the file cannot be renamed.
    """
    if path.exists() and not replaces:
        raise SinkError(
            f"Another program has written {path} meanwhile. What this one wrote is in {partial}."
        )
    partial.replace(path)


def check_writable(path: Path, suffix: str = ".json") -> None:
    """Make sure that a report can be written there, before hours are spent on it.

    Raises:
        SinkError: the folder is missing or not writable, the path is a folder, or the report would
            replace a file without this suffix, such as the video that was to be measured.
    """
    if path.is_file() and path.suffix.lower() != suffix:
        raise SinkError(
            f"{path} already exists and is no {suffix} file; name another file to write."
        )
    try:
        with _hidden_folder(path, Path(os.path.realpath(path)), SinkError):
            pass
    except OSError as problem:
        raise SinkError(refusal(path, problem)) from problem


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        SinkError: it cannot be written; an older file stays as it was.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as partial:
        # A file's name may hold bytes that are not text.
        partial.write_text(f"{text}\n", encoding="utf-8", errors="replace")


def npz_bytes(**arrays: Array) -> bytes:
    """Return arrays as the content of a compressed .npz file.

    If the disk is full, numpy's own writing into a file ends with a traceback on stderr as well.
    """
    import numpy as np

    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file; nothing is unpickled.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no .npz file, or damaged.
    """
    import numpy as np

    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # a damaged file can make its readers raise anything
        raise ValueError("it is no .npz file, or damaged") from error


def write_png(path: Path, image: Image) -> None:
    """Write an RGB picture as PNG, whatever the ending of the name.

    Raises:
        SinkError: it cannot be written; an older file stays as it was.
    """
    from reenact.imaging import encoded  # loads cv2

    with atomic_write(path) as partial:
        partial.write_bytes(encoded(image, ".png"))


def _hidden_folder(
    path: Path, place: Path, error: type[ReenactError]
) -> tempfile.TemporaryDirectory[str]:
    if place.is_dir():
        raise error(f"{path} is a folder; give the name of a file to write.")
    if place.exists() and not place.is_file():
        raise error(f"{path} is not a regular file; choose another name.")
    return tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent)


def _flush(path: Path) -> None:
    """Bring what was written to a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder to write to, and those above it, unless it is there. Raises SinkError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SinkError(f"{folder} is a file; name a folder to write to.") from error
    except OSError as error:
        raise SinkError(refusal(folder, error)) from error


def refusal(path: Path, problem: Exception) -> str:
    """Return why a file cannot be written, and what to do about it."""
    number = getattr(problem, "errno", None)
    # Where folders were to be made, the first that is there refused.
    there = next((folder for folder in path.parents if os.path.isdir(folder)), path.parent)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} cannot be written: the disk is full; free some space."
    if number == errno.EFBIG:  # FAT32 ends at 4 GB; `ulimit -f` sets a limit as well
        return f"{path} cannot be written: it is too large for this disk; choose another."
    if number == errno.EROFS:
        return f"{path} cannot be written: {there} is on a read-only disk; choose another."
    if number == errno.EACCES and sys.platform == "win32" and path.is_file():
        return f"{path} cannot be written: another program may have it open; close that."
    if number in (errno.EACCES, errno.EPERM):
        return f"{path} cannot be written: you may not write to {there}; choose another."
    if there != path.parent:
        return f"{path} cannot be written: there is no folder {path.parent}."
    return f"{path} cannot be written: {getattr(problem, 'strerror', None) or problem}."
