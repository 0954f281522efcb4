"""The principal components of how expressions change the shape of a face.

They are learned together with the skin's flow (`rendering.skin_flow`) and stored in its asset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from reenact.face.topology import N_SKIN
from reenact.storage import read_asset
from reenact.types import Array

ASSET: Final = "skin_flow.npz"

MAX_CHANGE: Final = 2.0
"""The bound of a component's weight, in standard deviations; approached, never reached."""


@lru_cache(maxsize=1)
def expression_components() -> Array:
    """Return the components, float32 (K, 468, 3), face frame, iod; read-only."""
    return read_asset(ASSET)["components"]


def component_weights(change: Array, components: Array) -> Array:
    """Return the weights (..., K) of the components in changes of shape (..., 468 or 478, 3).

    They are limited smoothly to `MAX_CHANGE`.
    """
    flat = change[..., :N_SKIN, :].reshape(*change.shape[:-2], -1)
    found = flat @ components.reshape(len(components), -1).T
    return np.asarray(MAX_CHANGE * np.tanh(found / MAX_CHANGE), dtype=np.float32)
