"""Targets compared, and weights that they may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from reenact.types import Target


def same_target(first: Target, second: Target) -> bool:
    """Tell whether two targets show the same: pictures, landmarks and place, to the last bit."""
    arrays = ("references", "landmarks", "neutral", "plate", "crop_to_plate")
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        and getattr(first, name).dtype == getattr(second, name).dtype
        for name in arrays
    )


def write_weights(folder: Path) -> Path:
    """Write a small safetensors file and return its path."""
    path = folder / "trained.safetensors"
    save_file({"layer": np.arange(6, dtype=np.float32)}, path, {"architecture": "test"})
    return path
