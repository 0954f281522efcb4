"""The live generator's network: it repairs a warped person composited over a static background.

`rendering.layers` warps the person of the photo by the mesh's flow and composites it over the
static background. In a box around the face a U-net then adds a residual picture: eyelids, lips,
disoccluded cheek. The design follows the U-net of Fan 2023, eq. 2 and Table 1, the landmark flow of
MobilePortrait, and layered video models.
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reenact.face.skin_shading import CHANNELS, DARK
from reenact.models.warp_unet_inputs import MAP_CHANNELS, MAP_STEM, STEM, MapChannel, WarpUNetConfig

_COARSE: Final = 8
"""Outside the face, and on teeth that the photo shows, the residual is a low-pass of this width,
px. It corrects colours and seams there. Its detail would be the mean of all hair and all teeth,
which is blurred."""

_FADE_PX: Final = 16
"""Width of the margin of the repair box in which the residual fades out."""


class _Block(nn.Sequential):
    """Convolution, batch normalisation, SiLU; the normalisation is folded into the convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
        )


class _Join(_Block):
    """A 1×1 block over maps of several sizes, which are brought to one and concatenated.

    Each map has its own convolution before it is resized, and the results are added. That equals a
    convolution of the concatenated maps, but concatenation would take longer than the convolutions.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel=1)

    def forward(self, *parts: tuple[Tensor, float]) -> Tensor:
        """Map (N, C, f H, f W) with their factors f to (N, outputs, H, W).

        Maps of a factor above 1 are unshuffled, those of a factor of 0.5 are upsampled.
        """
        convolution, normalisation, activation = self
        assert isinstance(convolution, nn.Conv2d)
        strides = [max(1, int(factor)) for _, factor in parts]
        inputs = [part.shape[1] * n**2 for (part, _), n in zip(parts, strides, strict=True)]
        weights = torch.split(convolution.weight, inputs, dim=1)
        sums = []
        for (part, factor), weight, n in zip(parts, weights, strides, strict=True):
            found = F.conv2d(part, weight.reshape(weight.shape[0], -1, n, n), stride=n)
            sums.append(F.interpolate(found, scale_factor=1 / factor) if factor < 1 else found)
        result: Tensor = activation(normalisation(reduce(torch.add, sums)))
        return result


class _UNet(nn.Module):
    """A U-net whose skips are fused by 1×1 convolutions, which keeps the finest levels cheap."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Join(inputs, channels[0]), _Block(channels[0], channels[0]))
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(
            nn.Sequential(_Block(fine, coarse, stride=2), _Block(coarse, coarse))
            for fine, coarse in pairs
        )
        self.up = nn.ModuleList(
            nn.Sequential(_Join(fine + coarse, fine), _Block(fine, fine))
            for fine, coarse in reversed(pairs)
        )

    def forward(self, *parts: tuple[Tensor, float]) -> Tensor:
        """Map the parts of `_Join` to (N, channels[0], H, W); H and W divisible by 8."""
        join, refine_stem = self.stem
        x: Tensor = refine_stem(join(*parts))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        up: Any
        for up in self.up:
            fuse, refine = up
            x = refine(fuse((x, 0.5), (skips.pop(), 1)))
        return x


class WarpUNet(nn.Module):
    """The generator: `forward(layered, maps)` returns the residual (N, 3, B, B), about -1..1.

    The residual is added to the layers. It is the change of the skin's light
    (`face.skin_shading`) and the output of a U-net that sees the picture with that light. The
    latter is low-pass filtered outside the face and in a mouth that the photo shows, and zero in a
    drawn mouth (`rendering.mouth_interior`). Both fade out at the edges of the box.

    Args of `forward`:
        layered: (N, 3, B, B) RGB in -1..1, the box of the layers that `rendering.layers` composes.
        maps: (N, MAP_CHANNELS, B/2, B/2), the same box of `HeadMesh.maps`.
    """

    def __init__(self, config: WarpUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WarpUNetConfig()
        channels = self.config.channels
        # A buffer, because a captured CUDA graph cannot copy constants from the host.
        self.channel_shares: Tensor
        self.register_buffer(
            "channel_shares", torch.tensor(CHANNELS)[:, None, None], persistent=False
        )
        self.repair = _UNet(3 * STEM**2 + MAP_CHANNELS * MAP_STEM**2, channels)
        self.picture_head = nn.Conv2d(channels[0], 3 * STEM**2, 3, padding=1)
        nn.init.zeros_(self.picture_head.weight)
        assert self.picture_head.bias is not None
        nn.init.zeros_(self.picture_head.bias)

    def forward(self, layered: Tensor, maps: Tensor) -> Tensor:
        """Return the residual; see the class's docstring."""
        change = _enlarged(maps[:, MapChannel.SHADING, None], MAP_STEM)
        gain = torch.exp(change * self.channel_shares)
        shading = (gain - 1) * (layered + (1 + 2 * DARK))
        face, mouth, unseen = (
            maps[:, channel, None]
            for channel in (MapChannel.SKIN, MapChannel.MOUTH, MapChannel.UNSEEN_MOUTH)
        )
        fine = F.avg_pool2d(face, 5, stride=1, padding=2) * (1 - mouth)
        repair = self.repair((layered + shading, STEM), (maps, MAP_STEM))
        residual = F.pixel_shuffle(self.picture_head(repair).float(), STEM)
        coarse = _enlarged(F.avg_pool2d(residual, _COARSE), _COARSE)
        residual = coarse + _enlarged(fine, MAP_STEM) * (residual - coarse)
        residual = residual * (1 - _enlarged(unseen, MAP_STEM))
        return (shading + residual) * _fade(residual)


def _fade(box: Tensor) -> Tensor:
    """Return (H, H) weights for a box (N, C, H, H): 0 at the edges, 1 inside."""
    place = torch.arange(box.shape[-1], device=box.device) + 0.5
    edge = torch.clip(torch.minimum(place, place.flip(0)) / _FADE_PX, 0, 1)
    return edge[:, None] * edge


def _enlarged(x: Tensor, factor: int) -> Tensor:
    """Upsample (N, C, S, S) bilinearly by two small products, in half of `interpolate`'s time."""
    eye = torch.eye(x.shape[-1], device=x.device)[None]
    rows = F.interpolate(eye, scale_factor=float(factor), mode="linear", align_corners=False)[0].T
    with torch.autocast(x.device.type, enabled=False):
        return rows @ (x @ rows.T)
