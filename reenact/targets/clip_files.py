"""The files of a folder of clips: `NAME.mp4` with the face's landmarks in `NAME.npz`."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from reenact.errors import SourceError
from reenact.sinks.video_file import is_partial
from reenact.types import Array


def clips_in(folder: Path) -> list[Path]:
    """Return the videos of a folder of clips in order of their names.

    Without what a killed program left half-written: a partial name and no landmarks.
    """
    videos = sorted(folder.glob("*.mp4"))
    return [one for one in videos if one.with_suffix(".npz").is_file() or not is_partial(one)]


def load_landmarks(path: Path) -> Array:
    """Return float32 (..., 478, 3) of an .npz file's `landmarks`.

    Raises:
        SourceError: it is missing, damaged, or holds none.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.ascontiguousarray(archive["landmarks"]).astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise SourceError(f"{path} is not a landmark file (.npz with 'landmarks').") from error
