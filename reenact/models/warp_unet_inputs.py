"""The live generator's sizes, inputs and shipped weights, without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from reenact.errors import ModelError
from reenact.models.weights import header_of
from reenact.storage import ASSETS

SHIPPED_WEIGHTS: Final = ASSETS / "warp_unet.safetensors"
"""The weights inside the package."""

VERSION: Final = 16
"""Part of the key under which converted networks are cached. Increase it whenever a change of
`models.warp_unet` changes the network's output."""

NETWORK_PX: Final = 256
"""Side of the usual crop in the network's px, for every output size."""

STEM: Final = 4
"""The network works on pictures unshuffled by this factor."""

MAP_STEM: Final = 2
"""The maps have half the picture's resolution."""

MAP_BLOCK: Final = 8
"""This many cells of the maps are a whole number of px in every output size."""

REPAIR_CELLS: Final = 40
"""Side, in cells of `STEM` px, of the box around the driven face that the network repairs."""

_MAX_LEVELS: Final = 4
"""`REPAIR_CELLS` can be halved three times."""

_MAX_CHANNELS: Final = 1024


class MapChannel(IntEnum):
    """Channels of `HeadMesh.maps`."""

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
    SHUT = 10
    """Coverage, 0 to 1, by lids and lips that have closed over what the reference shows of eyes and
    mouth."""
    SHADING = 11
    """Logarithm of the change of the skin's light, see `SkinShading`; 0 in mouth and eyes."""
    SHUT_LIDS = 12
    """Coverage, 0 to 1, by upper lids that have come down, from below the brows."""
    WHITES_X = 13
    """Flow of the whites of the eyes, which keep still as an iris moves."""
    WHITES_Y = 14
    IRIS_X = 15
    """Flow of an iris, which moves rigidly."""
    IRIS_Y = 16
    BESIDE_IRIS = 17
    """Distance from an iris' middle, in its radii."""
    MOVED_EYE = 18
    """How far an eye differs from the reference's, 0 to 1."""


FLOW: Final = slice(MapChannel.FLOW_X, MapChannel.FLOW_Y + 1)
ATLAS: Final = slice(MapChannel.ATLAS_X, MapChannel.ATLAS_Z + 1)

WHITES_FLOW: Final = slice(MapChannel.WHITES_X, MapChannel.WHITES_Y + 1)
IRIS_FLOW: Final = slice(MapChannel.IRIS_X, MapChannel.IRIS_Y + 1)

MAP_CHANNELS: Final = MapChannel.SHUT_LIDS
"""Number of channels that the network sees: the first ones."""


def network_side(extent: float) -> int:
    """Return the side, in the network's px, of a crop with this `Target.extent`."""
    step = MAP_STEM * MAP_BLOCK
    return step * round(NETWORK_PX * extent / step)


@dataclass(frozen=True, slots=True)
class WarpUNetConfig:
    """Widths of the U-net, from the finest level to the coarsest."""

    channels: tuple[int, ...] = (32, 64, 96, 128)

    def __post_init__(self) -> None:
        """Raise ValueError for widths that no network has, or that would take all memory."""
        counts = [n for n in self.channels if isinstance(n, int) and 0 < n <= _MAX_CHANNELS]
        if not (0 < len(self.channels) == len(counts) <= _MAX_LEVELS):
            raise ValueError(
                f"channels are up to {_MAX_LEVELS} whole numbers from 1 to {_MAX_CHANNELS}"
            )

    @classmethod
    def from_json(cls, text: str) -> WarpUNetConfig:
        """Read the JSON of `dataclasses.asdict`; raises ValueError or TypeError if invalid."""
        return cls(**{name: tuple(value) for name, value in json.loads(text).items()})


def read_config(path: Path) -> WarpUNetConfig:
    """Return the config in a weight file's header.

    Raises ModelError if the file is missing, damaged, of another architecture, or was written by
    another version of this program.
    """
    try:
        return WarpUNetConfig.from_json(header_of(path, "warp_unet").get("config", "{}"))
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} was written by another version of this program: train it again "
            "(`reenact target train NAME` for the weights of a target)."
        ) from error


def input_shapes() -> dict[str, tuple[int, int, int, int]]:
    """Return the input shapes of `WarpUNet.forward` for one picture, by name, in order."""
    side, cells = REPAIR_CELLS * STEM, REPAIR_CELLS * STEM // MAP_STEM
    return {"layered": (1, 3, side, side), "maps": (1, MAP_CHANNELS, cells, cells)}
