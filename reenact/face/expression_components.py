"""Principal components of how expressions change a face's shape, and how far a change has each.

They are learned with the residual flow (`rendering.residual_flow`), whose asset holds them.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

from reenact.face.topology import N_SKIN
from reenact.types import Array

ASSET: Final = "residual_flow.npz"

MAX_CHANGE: Final = 2.0
"""Standard deviations that a component of expression tends to."""


@lru_cache(maxsize=1)
def expression_components() -> Array:
    """Return float32 (K, 468, 3), face frame, iod; read-only."""
    with (files("reenact") / "assets" / ASSET).open("rb") as handle, np.load(handle) as arrays:
        components: Array = arrays["components"].astype(np.float32)
    components.setflags(write=False)
    return components


def component_weights(change: Array, components: Array) -> Array:
    """Return how far (..., 468 and more, 3) changes of shape have each component, (..., K)."""
    flat = change[..., :N_SKIN, :].reshape(*change.shape[:-2], -1)
    found = flat @ components.reshape(len(components), -1).T
    return np.asarray(MAX_CHANGE * np.tanh(found / MAX_CHANGE), dtype=np.float32)
