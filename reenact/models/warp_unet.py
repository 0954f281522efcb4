"""The live generator: a moving head over a static background, repaired and completed by a U-net.

Once per target, an encoder computes features of the reference and fills in the background. For each
frame a first small U-net, at a quarter of the resolution, moves the background and predicts where
the head's layer ends; the mesh's flow moves the head. A second U-net adds a residual picture to the
composed layers: inside of the mouth, eyelids, disoccluded cheek. Live it does so in a box around
the face only. Parents: the U-net of Fan 2023, eq. 2 and Table 1, the landmark flow of
MobilePortrait, and layered video models.
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any, Final, NamedTuple

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

_REST: Final = 0.024
"""A background motion of this size is halved, in halves of the side: 3 px at 256."""

_LAYER_STEM: Final = 2
"""The head's share is predicted at this multiple of the networks' resolution."""

_COARSE: Final = 8
"""Outside the face the repair is a low-pass of this width, px: it corrects colours and seams there,
but what it adds to hair in detail is the mean of all hair, which is a smear."""

_FADE_PX: Final = 16
"""Width of the edge of the repair's box in which the repair fades."""

_RIM_CELLS: Final = 2
"""Width of the face's rim, in cells of the maps, where the head's share is predicted; it is 1
inside."""

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


class Drawing(NamedTuple):
    """What the network computes for one frame. H = S, or the side of the repair's box.

    Attributes:
        layered: (N, 3, H, H) the warped head over the background, about -1..1.
        residual: (N, 3, H, H) what the repair adds to it, coarse outside the face.
        rest_flow: (N, 2, S/4, S/4) flow of the background, in halves of the side.
        share: (N, 1, S/2, S/2) share of the head's layer, 0..1.
    """

    layered: Tensor
    residual: Tensor
    rest_flow: Tensor
    share: Tensor


class WarpUNet(nn.Module):
    """The generator: motion, layers and repair.

    `forward(reference, background, features, maps)`:
        reference: (N, 3, S, S) RGB in -1..1.
        background, features: from `encode`.
        maps: (N, MAP_CHANNELS, S/2, S/2) from `HeadMesh.maps`.

    Returns (picture, layered, share): the repaired picture and the warped head over the background,
    both (N, 3, S, S), about -1..1; and the share of the head's layer, (N, 1, S, S), 0..1.
    """

    def __init__(self, config: WarpUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WarpUNetConfig()
        motion, repair = self.config.motion_channels, self.config.repair_channels
        maps, width = MAP_CHANNELS * MAP_STEM**2, self.config.feature_channels
        self.encoder = ReferenceEncoder(self.config)
        self.motion = _UNet(maps + 2 * width, motion)
        self.flow_head = nn.Conv2d(motion[0], 2, 3, padding=1)
        self.layer_head = nn.Conv2d(motion[0], _LAYER_STEM**2, 3, padding=1)
        self.repair = _UNet(3 * STEM**2 + width + maps + motion[0], repair)
        self.picture_head = nn.Conv2d(repair[0], 3 * STEM**2, 3, padding=1)
        self.cavity = nn.Parameter(torch.tensor(_CAVITY)[:, None, None])
        _start_at_zero(self.flow_head, self.layer_head, self.picture_head)

    def encode(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` needs of a reference: background and features (N, C, S/4, S/4).

        Args:
            reference: (N, 3, S, S) RGB in -1..1.
            person: (N, 1, S, S) coverage by the person, 0..1, or `UNKNOWN_PERSON` everywhere.
            scene: (N, 3, S, S) in -1..1, the reference without the head (`scene_behind`).
        """
        encoded: tuple[Tensor, Tensor] = self.encoder(reference, person, scene)
        return encoded

    def forward(
        self, reference: Tensor, background: Tensor, features: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        head = self.with_cavity(warped(reference, maps), maps)
        drawn = self.draw(head, background, features, maps)
        return drawn.layered + drawn.residual, drawn.layered, _enlarged(drawn.share, 2)

    def with_cavity(self, head: Tensor, maps: Tensor) -> Tensor:
        """Fill the mouth of a warped head, (N, 3, S, S), where the reference hides its inside."""
        unseen = _upsampled(maps[:, MapChannel.UNSEEN_MOUTH, None], head)
        return head + unseen * (self.cavity - head)

    def draw(
        self,
        head: Tensor,
        background: Tensor,
        features: Tensor,
        maps: Tensor,
        corner: Tensor | None = None,
    ) -> Drawing:
        """Compute the picture and the fields that it is composed of.

        Args:
            head: of `with_cavity`; of the repair's box alone, if there is one.
            background: from `encode`.
            features: from `encode`.
            maps: (N, MAP_CHANNELS, S/2, S/2).
            corner: (1, 2) first row and column, in cells of `STEM` px, of the box of `REPAIR_CELLS`
                in which the repair works; None: everywhere.
        """
        mesh_flow = maps[:, FLOW]
        moved = sample(features, F.avg_pool2d(mesh_flow, MAP_STEM))
        motion = self.motion((maps, MAP_STEM), (moved, 1), (features, 1))
        flow = _damped(torch.tanh(self.flow_head(motion).float()) * self.config.rest_flow)
        # A sigmoid that starts at one half: a share clipped to 0 or 1 would get no gradient.
        share = torch.sigmoid(F.pixel_shuffle(self.layer_head(motion).float(), _LAYER_STEM))
        share = torch.maximum(share, _without_rim(maps[:, MapChannel.SKIN, None]))
        fields = _cut(flow, corner), _cut(share, corner, _LAYER_STEM)
        maps, moved, motion = (
            _cut(maps, corner, MAP_STEM),
            _cut(moved, corner),
            _cut(motion, corner),
        )
        face = F.avg_pool2d(maps[:, MapChannel.SKIN, None], 5, stride=1, padding=2)
        enlarged = _enlarged(fields[0], STEM), _enlarged(fields[1], MAP_STEM)
        layered = compose(head, background, *enlarged, corner)
        repair = self.repair((layered, STEM), (moved, 1), (maps, MAP_STEM), (motion, 1))
        residual = F.pixel_shuffle(self.picture_head(repair).float(), STEM)
        coarse = _enlarged(F.avg_pool2d(residual, _COARSE), _COARSE)
        residual = coarse + _enlarged(face, MAP_STEM) * (residual - coarse)
        if corner is not None:
            residual = residual * _fade(residual)
        return Drawing(layered, residual, flow, share)


class Layers(nn.Module):
    """What `rendering.layers.compose` needs of the network."""

    def __init__(self, network: WarpUNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, head: Tensor, background: Tensor, features: Tensor, maps: Tensor, corner: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `residual`, `rest_flow` and `share` of the `Drawing`; arguments as of `draw`."""
        drawn = self.network.draw(head, background, features, maps, corner)
        return drawn.residual, drawn.rest_flow, drawn.share


def warped(reference: Tensor, maps: Tensor) -> Tensor:
    """Sample a reference, (N, 3, S, S), where the flow of maps, of any size, points to."""
    return sample(reference, _upsampled(maps[:, FLOW], reference), bicubic=True)


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


def _without_rim(face: Tensor) -> Tensor:
    """Erode a mask; inside a face the background must not show through."""
    return 1 - F.max_pool2d(1 - face, 2 * _RIM_CELLS + 1, stride=1, padding=_RIM_CELLS)


def _damped(flow: Tensor) -> Tensor:
    """Shrink small motions of the background to zero: a trembling background is conspicuous."""
    fourth = flow.square().sum(1, keepdim=True).square()
    return flow * (fourth / (fourth + _REST**4))


def compose(
    head: Tensor,
    background: Tensor,
    rest_flow: Tensor,
    share: Tensor,
    corner: Tensor | None = None,
) -> Tensor:
    """Lay a head over the background, both (N, 3, S, S), which moves by a flow (N, 2, S, S).

    With a corner all but the background is of the repair's box; see `WarpUNet.draw`.
    """
    rest = sample(background, rest_flow, corner=corner)
    return rest + share * (head - rest)


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    size = [int(side) for side in like.shape[-2:]]  # tracing, they are tensors
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _enlarged(x: Tensor, factor: int) -> Tensor:
    """Enlarge (N, C, S, S) bilinearly by two small products, in half of `interpolate`'s time."""
    eye = torch.eye(x.shape[-1], device=x.device)[None]
    rows = F.interpolate(eye, scale_factor=float(factor), mode="linear", align_corners=False)[0].T
    with torch.autocast(x.device.type, enabled=False):
        return rows @ (x @ rows.T)


def sample(
    x: Tensor, displacement: Tensor, bicubic: bool = False, corner: Tensor | None = None
) -> Tensor:
    """Sample (N, C, H, W) at each cell's own position plus (N, 2, H, W), in halves of the side.

    With a corner the displacement is that of the repair's box in a picture; see `WarpUNet.draw`.
    Always in single precision: a position in bfloat16 would be off by a pixel. Bilinear sampling
    blurs between pixels, bicubic sampling hardly does.
    """
    height, width = displacement.shape[-2:] if corner is None else x.shape[-2:]
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * (2 / height) - 1
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * (2 / width) - 1
    own = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)])[None]
    grid = (displacement.float() + _cut(own, corner, STEM)).permute(0, 2, 3, 1)
    mode = "bicubic" if bicubic else "bilinear"
    return F.grid_sample(x.float(), grid, mode=mode, padding_mode="border", align_corners=False)
