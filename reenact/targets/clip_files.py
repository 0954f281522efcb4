"""Reads a folder of clips: `NAME.mp4`, with the landmarks of its frames in `NAME.npz`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from reenact.errors import SourceError
from reenact.face.topology import N_LANDMARKS
from reenact.sinks.video_file import is_partial
from reenact.storage import read_npz
from reenact.types import Array

UNRELATED: Final = "unrelated"
"""Name of an array that marks a clip's NPZ file if its frames are separate pictures of a person."""


def clips_in(folder: Path) -> list[Path]:
    """Return the videos of a folder of clips, sorted by name.

    Files that a killed program left unfinished (a partial file's name, no landmarks) are skipped.
    Raises SourceError if the folder may not be read.
    """
    videos = files_in(folder, ".mp4")
    return [one for one in videos if one.with_suffix(".npz").is_file() or not is_partial(one)]


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Return a folder's files with a suffix, sorted by name; none if there is no such folder.

    Raises SourceError if the folder may not be read; `Path.glob` would find nothing in it.
    """
    try:
        return sorted(file for file in folder.iterdir() if file.suffix == suffix)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}.") from error


def person_of(name: str) -> str:
    """Return who is in a clip: the part of its name before `__`."""
    return name.partition("__")[0]


def decode_clip(path: Path, frames: int | None = None) -> NDArray[np.uint8]:
    """Decode a video or its first frames, uint8 (F, H, W, 3) RGB.

    Raises SourceError if it is damaged.
    """
    try:
        with av.open(str(path.absolute())) as container:  # FFmpeg reads a:b.mp4 as a protocol
            decoded = islice(container.decode(video=0), frames)
            return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise SourceError(f"{path} is damaged, or no video; make or copy it again.") from error


def load_landmarks(path: Path) -> Array:
    """Return the float32 (..., 478, 3) landmarks, px, of an .npz file.

    Raises SourceError if the file is missing or has none.
    """
    try:
        return np.ascontiguousarray(read_npz(path)["landmarks"]).astype(np.float32)
    except FileNotFoundError as error:
        raise SourceError(
            f"There is no landmark file {path}; `reenact train prepare` makes clips with landmarks."
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SourceError(f"{path} is not a landmark file (.npz with 'landmarks').") from error


def clip_landmarks(path: Path) -> Array:
    """Return the float32 (F, 478, 3) landmarks of a clip, px, NaN in frames without a face.

    `path` is the video or the file of landmarks beside it. Raises SourceError if that is missing or
    damaged, or holds something else.
    """
    file = path.with_suffix(".npz")
    landmarks = load_landmarks(file)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (N_LANDMARKS, 3):
        raise SourceError(
            f"{file.name} holds {landmarks.shape}; clips need (frames, 478, 3) landmarks."
        )
    return landmarks


def frames_with_face(landmarks: Array) -> NDArray[np.intp]:
    """Return the indices of the frames of `clip_landmarks` in which a face was found."""
    return np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))


def load_labels(path: Path, frames: int) -> NDArray[np.intp] | None:
    """Return the (frames,) labels in an .npz file, indices into EMOTIONS, -1 if unknown.

    None: the file has no labels. Raises SourceError if it is damaged, or has a different number.
    """
    try:
        arrays = read_npz(path)
        labels = arrays["emotions"].astype(np.intp) if "emotions" in arrays else None
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error
    if labels is not None and labels.shape != (frames,):
        raise SourceError(f"{path} has {labels.shape} labels, but landmarks for {frames} frames.")
    return labels
