"""What the live generator takes, said without torch: its maps' channels and its shipped weights."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

SHIPPED_WEIGHTS: Final = "warp_unet.safetensors"
"""Name of the weights in the package's assets."""

UNKNOWN_PERSON: Final = 0.5
"""What `WarpUNet.encode` takes for a person who was not cut out."""

MAP_CHANNELS: Final = 11
"""Channels of `HeadMesh.maps`."""

SEEN_CHANNELS: Final = 10
"""The first so many of them a generator's networks see; the light after them is only carried
out."""

TORN: Final = 0.036
"""A step of the mesh's flow from one cell to the next, in halves of the side, from which on one of
them hides the other: 4.6 px at 256. Less is a steep stretch, smooth on its way."""


def shipped_weights() -> Path:
    """Return the path of the weights inside the package."""
    return Path(str(files("reenact") / "assets" / SHIPPED_WEIGHTS))
