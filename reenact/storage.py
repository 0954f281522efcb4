"""Where the user's data lies, and report files that are written whole or not at all.

Any thread may call.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from reenact.errors import SinkError
from reenact.types import Image

_DATA_VARIABLE: Final = "REENACT_DATA"


def data_folder() -> Path:
    """Return where what the user makes is kept: REENACT_DATA, or the system's usual place."""
    chosen = os.environ.get(_DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("reenact", appauthor=False)


@contextmanager
def throwaway_user_data() -> Iterator[None]:
    """Let the whole process use an empty data folder, deleted at the end.

    A run finds its actor's neutral and stores it; a measurement must do neither with the user's.
    """
    before = os.environ.get(_DATA_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="reenact-") as folder:
        os.environ[_DATA_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_DATA_VARIABLE]
            else:
                os.environ[_DATA_VARIABLE] = before


def check_writable(path: Path) -> None:
    """Make sure that a report can be written there, before hours are spent on it.

    Raises:
        SinkError: the folder is missing or not writable, or the path is a folder.
    """
    if path.is_dir():
        raise SinkError(f"{path} is a folder; give the name of a file to write.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise SinkError(_refusal(path, error)) from error
    os.close(handle)
    os.unlink(name)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        SinkError: it cannot be written; an older file stays as it was.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    _replace(path, f"{text}\n".encode())


def write_png(path: Path, image: Image) -> None:
    """Write an RGB picture as PNG, whatever the ending of the name.

    Raises:
        SinkError: it cannot be written; an older file stays as it was.
    """
    # OpenCV's encoder takes the channels in the order blue, green, red.
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise SinkError(f"OpenCV could not encode the picture for {path}.")
    _replace(path, data.tobytes())


def _replace(path: Path, content: bytes) -> None:
    partial = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise SinkError(_refusal(path, error)) from error


def _refusal(path: Path, error: OSError) -> str:
    if not path.parent.is_dir():
        return f"{path} cannot be written: there is no folder {path.parent}."
    return f"{path} cannot be written: {error.strerror or error}."
