"""The input format of the live generator, without torch: map channels and the shipped weights."""

from __future__ import annotations

from enum import IntEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

SHIPPED_WEIGHTS: Final = "warp_unet.safetensors"
"""File name of the weights in the package's assets."""

NETWORK_PX: Final = 256
"""Side of the pictures that the network works on, whatever the size of the output."""

UNKNOWN_PERSON: Final = 0.5
"""Person mask passed to `WarpUNet.encode` when segmentation found nobody."""


class MapChannel(IntEnum):
    """Channels of `HeadMesh.maps`.

    The networks see all channels before `LIGHT`; the light is applied to the warped head only.
    """

    FLOW_X = 0
    """Source position in the reference minus the cell's own, in halves of the crop's side."""
    FLOW_Y = 1
    ATLAS_X = 2
    """Position on the canonical head, about -1 to 1."""
    ATLAS_Y = 3
    ATLAS_Z = 4
    SKIN = 5
    """Coverage, 0 to 1, by the face's mesh."""
    MOUTH = 6
    """Coverage, 0 to 1, by the inside of the mouth."""
    EYES = 7
    IRISES = 8
    UNSEEN_MOUTH = 9
    """Inside of the mouth that the reference does not show, 0 to 1."""
    LIGHT = 10
    """Relative change of brightness: 0.1 makes the head 10 % brighter, -0.1 darker."""


FLOW: Final = slice(MapChannel.FLOW_X, MapChannel.FLOW_Y + 1)
ATLAS: Final = slice(MapChannel.ATLAS_X, MapChannel.ATLAS_Z + 1)

MAP_CHANNELS: Final = len(MapChannel)

SEEN_CHANNELS: Final = int(MapChannel.LIGHT)
"""Number of leading channels that the networks see."""


def shipped_weights() -> Path:
    """Return the path of the weights inside the package."""
    return Path(str(files("reenact") / "assets" / SHIPPED_WEIGHTS))
