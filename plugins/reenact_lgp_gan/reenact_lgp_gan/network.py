"""The networks of LGP-GAN (Xia 2021, Tables II and III).

Two local generators draw the eyes and the mouth, which are pasted into the face; a global one then
draws the face. Each has its own critic. The paper cuts out the regions around landmarks. Here the
face is first aligned by its landmarks (`rendering.aligned_face`), so that the regions have fixed
positions, as an exported network requires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import (
    ConditionCritic,
    MaskedConfig,
    MaskedGenerator,
    blended,
    check_side,
)
from reenact.models.weights import NetworkConfig, builder
from reenact_lgp_gan import WEIGHTS

CONDITIONS: Final = len(EMOTIONS)
"""n, the length of the condition vector."""

LOCAL_BLOCKS: Final = 3
"""Residual blocks of a local generator."""

LOCAL_DEPTH: Final = 4
"""Layers of a local critic."""

PAPER_PX: Final = 128
"""Side of the paper's faces, in which `REGIONS` are given."""


class Region(NamedTuple):
    """A rectangle of the aligned face, px."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: Tensor) -> Tensor:
        """Return the region of (N, C, S, S) pictures, (N, C, height, width)."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


REGIONS: Final = {"eyes": Region(12, 16, 48, 96), "mouth": Region(60, 32, 48, 64)}
"""At 128 px. The sizes are the paper's. The positions are those of the canonical face's landmarks,
with room below the mouth for a jaw that drops."""


def region(name: str, size_px: int) -> Region:
    """Return a region at another side."""
    return Region(*(value * size_px // PAPER_PX for value in REGIONS[name]))


@dataclass(frozen=True, slots=True)
class LgpConfig(NetworkConfig):
    """Sizes of all networks.

    Attributes:
        size_px: S, side of the faces, a power of two from 32.
        width: channels of the first layers.
        blocks: residual blocks of the global generator.
        local_blocks: of each local one.
        windowed, residual: see `MaskedConfig`.
    """

    size_px: int = PAPER_PX
    width: int = 64
    blocks: int = 6
    local_blocks: int = LOCAL_BLOCKS
    windowed: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a side that the critics cannot halve."""
        check_side(self.size_px)

    def masked(self, blocks: int) -> MaskedConfig:
        """Return the sizes of one generator."""
        return MaskedConfig(
            self.size_px, CONDITIONS, self.width, blocks, self.windowed, self.residual
        )


class Drawn(NamedTuple):
    """The generators' pictures by region and `face`: I, its colours C and masks M."""

    pictures: dict[str, Tensor]
    colours: dict[str, Tensor]
    masks: dict[str, Tensor]


class LgpGenerator(nn.Module):
    """The cascade of two local generators and a global one."""

    def __init__(self, config: LgpConfig) -> None:
        super().__init__()
        self.config = config
        self.local = nn.ModuleDict(
            {name: MaskedGenerator(config.masked(config.local_blocks)) for name in REGIONS}
        )
        self.whole = MaskedGenerator(config.masked(config.blocks))

    def draw(self, picture: Tensor, condition: Tensor) -> Drawn:
        """Return the regions and the face I_y, all in -1..1, with their masks.

        Args:
            picture: (N, 3, S, S) aligned faces in -1..1.
            condition: (N, 8), the wanted emotion.
        """
        pictures, colours, masks = {}, {}, {}
        stage = picture.clone()
        for name, generator in self.local.items():
            place = region(name, self.config.size_px)
            own = place.cut(picture)
            assert isinstance(generator, MaskedGenerator)
            colours[name], masks[name] = generator.masks(own, condition)
            pictures[name] = blended(own, colours[name], masks[name])
            stage = _pasted(stage, pictures[name], place)
        colours["face"], masks["face"] = self.whole.masks(stage, condition)
        pictures["face"] = blended(stage, colours["face"], masks["face"])
        return Drawn(pictures, colours, masks)

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Return the face with the wanted emotion, (N, 3, S, S) in -1..1."""
        return self.draw(picture, condition).pictures["face"]


def _pasted(picture: Tensor, part: Tensor, place: Region) -> Tensor:
    """Return pictures with a region replaced."""
    top, left, height, width = place
    rows = picture[..., top : top + height, :]
    row = torch.cat([rows[..., :left], part, rows[..., left + width :]], dim=-1)
    return torch.cat([picture[..., :top, :], row, picture[..., top + height :, :]], dim=-2)


def critics(config: LgpConfig) -> dict[str, ConditionCritic]:
    """Return the three critics, D_eyes, D_mouth and D_global."""
    made = {
        name: ConditionCritic(
            region(name, config.size_px)[2:], CONDITIONS, config.width, LOCAL_DEPTH
        )
        for name in REGIONS
    }
    side = (config.size_px, config.size_px)
    return {**made, "face": ConditionCritic(side, CONDITIONS, config.width)}


def cut_out(picture: Tensor) -> dict[str, Tensor]:
    """Return the regions of faces (N, 3, S, S), and the faces themselves."""
    size = picture.shape[-1]
    return {name: region(name, size).cut(picture) for name in REGIONS} | {"face": picture}


build = builder(LgpConfig, LgpGenerator)
export = conditional_exporter("lgp_gan", build, EMOTIONS, WEIGHTS)
