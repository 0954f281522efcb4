"""The live generator's network: it repairs a moved person laid over a static background.

Once per target, an encoder computes features of the reference and fills in the background. For each
frame the mesh's flow moves the reference with the share that the person has of it, and a U-net adds
a residual picture to what that gives over the background: inside of the mouth, eyelids, disoccluded
cheek. Live it does so in a box around the face only. Parents: the U-net of Fan 2023, eq. 2 and
Table 1, the landmark flow of MobilePortrait, and layered video models.
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_CHANNELS,
    MAP_STEM,
    REPAIR_CELLS,
    STEM,
    MapChannel,
    WarpUNetConfig,
)

_CONTEXT_STEM: Final = 2
"""The encoder's context U-net works at half the networks' resolution, to see farther."""

_COARSE: Final = 8
"""Outside the face the repair is a low-pass of this width, px: it corrects colours and seams there,
but what it adds to hair in detail is the mean of all hair, which is a smear."""

_FADE_PX: Final = 16
"""Width of the edge of the repair's box in which the repair fades."""

_CAVITY: Final = (-0.5, -0.75, -0.75)
"""Initial RGB, -1..1, of the inside of a mouth that the reference does not show."""


class _Block(nn.Sequential):
    """Convolution, batch normalisation, SiLU; the normalisation is folded into the convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
        )


class _Stem(_Block):
    """A 1×1 block over maps side by side, each unshuffled by a factor of its own.

    Each map has a strided convolution of its own, which gives the same sum: putting them side by
    side in the layout of the convolutions takes longer than to convolve them.
    """

    def forward(self, *parts: tuple[Tensor, int]) -> Tensor:
        """Map (N, C, f H, f W) with their factors f to (N, outputs, H, W)."""
        convolution, normalisation, activation = self
        assert isinstance(convolution, nn.Conv2d)
        inputs = [part.shape[1] * factor**2 for part, factor in parts]
        sums = (
            F.conv2d(part, weight.reshape(weight.shape[0], -1, factor, factor), stride=factor)
            for weight, (part, factor) in zip(
                torch.split(convolution.weight, inputs, dim=1), parts, strict=True
            )
        )
        result: Tensor = activation(normalisation(reduce(torch.add, sums)))
        return result


class _Fuse(_Block):
    """A block of a 1×1 convolution over a coarse map, upsampled, and a fine one beside it.

    The coarse map is convolved before it is upsampled: the same sum on a quarter of the cells.
    """

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:  # type: ignore[override]
        """Map (N, C, H/2, W/2) and (N, D, H, W) to (N, outputs, H, W); inputs = C + D."""
        convolution, normalisation, activation = self
        assert isinstance(convolution, nn.Conv2d)
        of_coarse = convolution.weight[:, : coarse.shape[1]]
        of_fine = convolution.weight[:, coarse.shape[1] :]
        sums = F.interpolate(F.conv2d(coarse, of_coarse), scale_factor=2.0, mode="nearest")
        result: Tensor = activation(normalisation(sums + F.conv2d(fine, of_fine)))
        return result


class _UNet(nn.Module):
    """A U-net whose skips are fused by 1×1 convolutions, which keeps the finest levels cheap."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _Stem(inputs, channels[0], kernel=1), _Block(channels[0], channels[0])
        )
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(
            nn.Sequential(_Block(fine, coarse, stride=2), _Block(coarse, coarse))
            for fine, coarse in pairs
        )
        self.up = nn.ModuleList(
            nn.Sequential(_Fuse(fine + coarse, fine, kernel=1), _Block(fine, fine))
            for fine, coarse in reversed(pairs)
        )

    def forward(self, *parts: tuple[Tensor, int]) -> Tensor:
        """Map the parts of `_Stem` to (N, channels[0], H, W); H and W divisible by 8."""
        join, refine_stem = self.stem
        x: Tensor = refine_stem(join(*parts))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        up: Any
        for up in self.up:
            fuse, refine = up
            x = refine(fuse(x, skips.pop()))
        return x


class ReferenceEncoder(nn.Module):
    """Features and background of a reference, computed once per target."""

    def __init__(self, config: WarpUNetConfig) -> None:
        super().__init__()
        width, context = config.feature_channels, config.context_channels
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(STEM),
            _Block(7 * STEM**2, 48),
            _Block(48, 48),
            nn.Conv2d(48, width, 3, padding=1),
        )
        self.context = _UNet(width * _CONTEXT_STEM**2, context)
        self.feature_head = nn.Conv2d(context[0], width, 1)
        self.background_head = nn.Conv2d(context[0], 3 * (STEM * _CONTEXT_STEM) ** 2, 3, padding=1)
        _start_at_zero(self.feature_head, self.background_head)

    def forward(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Return background and features; see `WarpUNet.encode`."""
        near: Tensor = self.layers(torch.cat([reference, person * 2 - 1, scene], dim=1))
        context = self.context((near, _CONTEXT_STEM))
        fill = F.pixel_shuffle(self.background_head(context).float(), STEM * _CONTEXT_STEM)
        far = F.interpolate(self.feature_head(context), scale_factor=2.0, mode="nearest")
        return scene + fill, near + far


class WarpUNet(nn.Module):
    """The generator.

    `forward(reference, background, features, maps)`:
        reference: (N, 4, S, S) RGB in -1..1, and the person's share, 0..1 (`layers_of`).
        background, features: from `encode`.
        maps: (N, MAP_CHANNELS, S/2, S/2) from `HeadMesh.maps`.

    Returns (picture, layered): the repaired picture, and the warped person over the background,
    both (N, 3, S, S), about -1..1.
    """

    def __init__(self, config: WarpUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WarpUNetConfig()
        repair, width = self.config.repair_channels, self.config.feature_channels
        self.encoder = ReferenceEncoder(self.config)
        self.repair = _UNet(3 * STEM**2 + width + MAP_CHANNELS * MAP_STEM**2, repair)
        self.picture_head = nn.Conv2d(repair[0], 3 * STEM**2, 3, padding=1)
        self.cavity = nn.Parameter(torch.tensor(_CAVITY)[:, None, None])
        _start_at_zero(self.picture_head)

    def encode(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` needs of a reference: background and features (N, C, S/4, S/4).

        Args:
            reference: (N, 3, S, S) RGB in -1..1.
            person: (N, 1, S, S) coverage by the person, 0..1, or `UNKNOWN_PERSON` everywhere.
            scene: (N, 3, S, S) in -1..1, the reference without the person (`layers_of`).
        """
        encoded: tuple[Tensor, Tensor] = self.encoder(reference, person, scene)
        return encoded

    def forward(
        self, reference: Tensor, background: Tensor, features: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        layered = self.layered(reference, background, maps)
        return layered + self.residual(layered, features, maps), layered

    def layered(self, reference: Tensor, background: Tensor, maps: Tensor) -> Tensor:
        """Lay the warped person, with a dark mouth where it was shut, over the background."""
        moved = sample(reference, _upsampled(maps[:, FLOW], reference), bicubic=True)
        person, share = moved[:, :3], moved[:, 3:].clip(0, 1)
        unseen = _upsampled(maps[:, MapChannel.UNSEEN_MOUTH, None], person)
        person = person + unseen * (self.cavity - person)
        return background + share * (person - background)

    def residual(
        self, layered: Tensor, features: Tensor, maps: Tensor, corner: Tensor | None = None
    ) -> Tensor:
        """Return what the repair adds, coarse outside the face.

        Args:
            layered: (N, 3, S, S) of `layered`; of the repair's box alone, if there is one.
            features: from `encode`.
            maps: (N, MAP_CHANNELS, S/2, S/2).
            corner: (1, 2) first row and column, in cells of `STEM` px, of the box of `REPAIR_CELLS`
                in which the repair works; None: everywhere.
        """
        moved = _cut(sample(features, F.avg_pool2d(maps[:, FLOW], MAP_STEM)), corner)
        maps = _cut(maps, corner, MAP_STEM)
        face = F.avg_pool2d(maps[:, MapChannel.SKIN, None], 5, stride=1, padding=2)
        repair = self.repair((layered, STEM), (moved, 1), (maps, MAP_STEM))
        residual = F.pixel_shuffle(self.picture_head(repair).float(), STEM)
        coarse = _enlarged(F.avg_pool2d(residual, _COARSE), _COARSE)
        residual = coarse + _enlarged(face, MAP_STEM) * (residual - coarse)
        return residual if corner is None else residual * _fade(residual)


class Repair(nn.Module):
    """What the renderer needs of the network for a frame: `WarpUNet.residual` in the box."""

    def __init__(self, network: WarpUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, layered: Tensor, features: Tensor, maps: Tensor, corner: Tensor) -> Tensor:
        """Return the residual; arguments as of `WarpUNet.residual`."""
        return self.network.residual(layered, features, maps, corner)


def _cut(x: Tensor, corner: Tensor | None, per_cell: int = 1) -> Tensor:
    """Cut the repair's box out of (N, C, H, W) with this number of rows in a cell of `STEM` px."""
    if corner is None:
        return x
    within = torch.arange(REPAIR_CELLS * per_cell, device=x.device)
    top, left = (corner[0] * per_cell).long().unbind()
    return x.index_select(2, top + within).index_select(3, left + within)


def _fade(box: Tensor) -> Tensor:
    """Return (H, H) weights, 0 at the edges of a box (N, C, H, H), 1 inside."""
    place = torch.arange(box.shape[-1], device=box.device) + 0.5
    edge = torch.clip(torch.minimum(place, place.flip(0)) / _FADE_PX, 0, 1)
    return edge[:, None] * edge


def _start_at_zero(*heads: nn.Conv2d) -> None:
    for head in heads:
        nn.init.zeros_(head.weight)
        assert head.bias is not None
        nn.init.zeros_(head.bias)


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    size = [int(side) for side in like.shape[-2:]]  # tracing, they are tensors
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _enlarged(x: Tensor, factor: int) -> Tensor:
    """Enlarge (N, C, S, S) bilinearly by two small products, in half of `interpolate`'s time."""
    eye = torch.eye(x.shape[-1], device=x.device)[None]
    rows = F.interpolate(eye, scale_factor=float(factor), mode="linear", align_corners=False)[0].T
    with torch.autocast(x.device.type, enabled=False):
        return rows @ (x @ rows.T)


def sample(x: Tensor, displacement: Tensor, bicubic: bool = False) -> Tensor:
    """Sample (N, C, H, W) at each cell's own position plus (N, 2, H, W), in halves of the side.

    Always in single precision: a position in bfloat16 would be off by a pixel. Bilinear sampling
    blurs between pixels, bicubic sampling hardly does.
    """
    height, width = displacement.shape[-2:]
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * (2 / height) - 1
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * (2 / width) - 1
    own = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)])[None]
    grid = (displacement.float() + own).permute(0, 2, 3, 1)
    mode = "bicubic" if bicubic else "bilinear"
    return F.grid_sample(x.float(), grid, mode=mode, padding_mode="border", align_corners=False)
