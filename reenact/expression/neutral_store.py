"""Neutral faces stored between runs, one file per actor.

The files are `actors/NAME.npz` in the user's data folder (`REENACT_DATA` overrides it), without
pickles. A neutral is a shape; it holds neither pose nor picture.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from reenact.errors import ReenactError
from reenact.face.topology import N_LANDMARKS
from reenact.storage import atomic_write, data_folder, npz_bytes, read_npz
from reenact.types import Array

_MAX_FILE_BYTES: Final = 200_000


class NeutralStore:
    """The neutrals of actors, one file for each.

    Args:
        folder: holds them; None: `actors` in the user's data folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = data_folder() / "actors" if folder is None else folder

    def path(self, name: str) -> Path:
        """Return the path of an actor's neutral; any name gives a safe file name."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40]
        if plain != name:
            plain = f"{plain or 'actor'}-{sha256(name.encode()).hexdigest()[:8]}"
        return self.folder / f"{plain}.npz"

    def load(self, name: str) -> Array | None:
        """Return an actor's (478, 3) neutral in the face frame, iod; None if there is none.

        Raises:
            ReenactError: the file exists but does not hold a neutral.
        """
        path = self.path(name)
        try:
            if path.stat().st_size > _MAX_FILE_BYTES:
                raise ValueError("too large")
            neutral = read_npz(path)["neutral"].astype(np.float32)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ReenactError(
                f"The stored neutral {path} is damaged; delete it, and a new one is estimated."
            ) from error
        if neutral.shape != (N_LANDMARKS, 3) or not np.isfinite(neutral).all():
            raise ReenactError(
                f"The stored neutral {path} is not a face; delete it, and a new one is estimated."
            )
        return neutral

    def save(self, name: str, neutral: Array) -> Path:
        """Store an actor's (478, 3) neutral atomically, and return the path of the file.

        Raises:
            ReenactError: the folder cannot be written.
        """
        path = self.path(name)
        with atomic_write(path, error=ReenactError, parents=True) as partial:
            partial.write_bytes(npz_bytes(neutral=neutral.astype(np.float32)))
        return path
