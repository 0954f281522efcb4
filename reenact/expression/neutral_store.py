"""Neutral faces that are kept between runs, one file for each actor.

They lie in the user's data folder (`REENACT_DATA` overrides it) under `actors/`, as .npz without
pickles. A neutral is a shape without pose or picture.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from reenact.errors import ReenactError
from reenact.face.topology import N_LANDMARKS
from reenact.storage import atomic_write, data_folder
from reenact.types import Array

_LARGEST_FILE_BYTES: Final = 200_000


def neutral_path(name: str) -> Path:
    """Return where the neutral of that actor is kept; any name gives a safe file name."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40]
    if plain != name:
        plain = f"{plain or 'actor'}-{sha256(name.encode()).hexdigest()[:8]}"
    return data_folder() / "actors" / f"{plain}.npz"


def load_neutral(name: str) -> Array | None:
    """Return the stored (478, 3) neutral in the face frame, iod; None when there is none.

    Raises:
        ReenactError: the file is there and is not a neutral.
    """
    path = neutral_path(name)
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise ValueError("too large")
        with np.load(path, allow_pickle=False) as archive:
            neutral = archive["neutral"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ReenactError(
            f"The stored neutral {path} is damaged; delete it, and it will be found anew."
        ) from error
    if neutral.shape != (N_LANDMARKS, 3) or not np.isfinite(neutral).all():
        raise ReenactError(
            f"The stored neutral {path} is not a face; delete it, and it will be found anew."
        )
    return np.asarray(neutral, dtype=np.float32)


def save_neutral(name: str, neutral: Array) -> Path:
    """Store an actor's (478, 3) neutral, whole or not at all, and return the file.

    Raises:
        ReenactError: the folder cannot be written.
    """
    path = neutral_path(name)
    with atomic_write(path, error=ReenactError, parents=True) as partial:
        np.savez(partial, neutral=neutral.astype(np.float32))
    return path
