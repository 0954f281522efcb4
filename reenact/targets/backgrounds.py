"""The user's own pictures for `output.background`, each named like its file.

They are in the folder `backgrounds` of the data folder. A setting names a picture and never a path,
so that a shared preset or a request to the panel can show no other file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.config import BACKGROUNDS
from reenact.errors import ConfigError, SourceError, TargetError
from reenact.sources.image_file import read_image
from reenact.storage import atomic_write, checked_name, data_folder
from reenact.types import Image

MAX_BYTES: Final = 64 << 20
"""Maximum size of a picture's file."""

SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".gif", ".bmp", ".tif", ".tiff", ".jp2"
)  # fmt: skip


def backgrounds_folder() -> Path:
    """Return the folder of the user's pictures."""
    return data_folder() / "backgrounds"


def background_names() -> list[str]:
    """Return the sorted names of the pictures."""
    return sorted(_files())


def check_background(background: str) -> None:
    """Raise ConfigError if `output.background` names a picture that is not there."""
    if background in BACKGROUNDS or background in _files():
        return
    known = ", ".join(background_names()) or "none yet"
    raise ConfigError(
        f"There is no background {background!r}: it is {', '.join(BACKGROUNDS)}, or the name of a "
        f"picture in {backgrounds_folder()}; there is {known}."
    )


def read_background(name: str, size: tuple[int, int]) -> Image:
    """Return a picture that covers (width, height) px; what does not fit is cut at both sides.

    Raises:
        ConfigError: there is no such picture.
        SourceError: it is damaged or too large, which is known before it is decoded.
    """
    check_background(name)
    path = _files()[name]
    check_size(path)
    picture = read_image(path)
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    part = [min(side, wanted / scale) for side, wanted in zip((width, height), size, strict=True)]
    left, top = (width - part[0]) / 2, (height - part[1]) / 2
    rows = slice(round(top), max(round(top + part[1]), round(top) + 1))
    columns = slice(round(left), max(round(left + part[0]), round(left) + 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture[rows, columns], size, interpolation=method), np.uint8)


def add_background(name: str, picture: Path) -> str:
    """Copy a picture into the folder; return its name there, with a number if it is taken.

    Raises:
        TargetError: the name is not allowed.
        SourceError: the file is not a picture, or too large.
        ConfigError: it cannot be written.
    """
    wanted = name = checked_name(name, "background")
    check_size(picture)
    read_image(picture)
    taken, number = {*BACKGROUNDS, *_files()}, 1
    while name in taken:
        number += 1
        name = f"{wanted[:44]} {number}"
    kind = picture.suffix.lower()
    # Pictures are read by their content, so one of another suffix may get any that is listed.
    path = backgrounds_folder() / f"{name}{kind if kind in SUFFIXES else SUFFIXES[0]}"
    with atomic_write(path, error=ConfigError, parents=True) as partial:
        shutil.copyfile(picture, partial)
    return name


def remove_background(name: str) -> None:
    """Delete a picture. Raises ConfigError if there is none, or it cannot be deleted."""
    path = _files().get(name)
    if path is None:
        raise ConfigError(f"There is no picture {name!r} in {backgrounds_folder()}.")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be deleted: {error.strerror}.") from error


def check_size(path: Path) -> None:
    """Raise SourceError if a picture's file is larger than `MAX_BYTES`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise SourceError(f"{path.name} is larger than {MAX_BYTES >> 20} MB; use a smaller copy.")


def _files() -> dict[str, Path]:
    """Return the file of each name; files that a setting cannot name are left out."""
    found: dict[str, Path] = {}
    try:
        paths = sorted(backgrounds_folder().iterdir())
    except OSError:  # usually there is none yet
        return found
    for path in paths:
        name = _name_of(path)
        if name and name not in BACKGROUNDS:
            found.setdefault(name, path)
    return found


def _name_of(path: Path) -> str:
    """Return the name of a picture's file; "" if it is none."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return ""
    try:
        return checked_name(path.stem, "background")
    except TargetError:
        return ""
