"""The live generator: warp the reference to the landmarks, then repair and fill with a U-net.

Two small U-nets at a quarter of the picture's resolution. The first corrects the mesh's flow and
fades it out on the background; the second adds a residual picture to the warped reference: the
inside of the mouth, eyelids, disoccluded cheek, hair and background. Parents: the modified U-net
of Fan 2023, eq. 2 and Table 1 (landmarks and target picture in, picture out), and the
landmark flow with a learned residual of MobilePortrait.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reenact.warping import MAP_CHANNELS

STEM: Final = 4
"""The networks work on pictures unshuffled by this factor."""

MAP_STEM: Final = 2
"""The maps come at half the picture's resolution."""


@dataclass(frozen=True, slots=True)
class WarpUNetConfig:
    """Widths of the networks, from the finest level to the coarsest."""

    feature_channels: int = 32
    motion_channels: tuple[int, ...] = (32, 64, 96, 128)
    repair_channels: tuple[int, ...] = (48, 96, 128, 160)
    max_residual_flow: float = 0.25

    @classmethod
    def from_json(cls, text: str) -> WarpUNetConfig:
        """Read what `dataclasses.asdict` and JSON made of a config.

        Raises:
            ValueError, TypeError: the text is not such a config.
        """
        known: dict[str, Any] = json.loads(text)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in known.items()
        }
        return cls(**values)


class _Block(nn.Sequential):
    """Convolution, batch normalisation, SiLU; the normalisation folds away at run time."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
        )


class _UNet(nn.Module):
    """A U-net whose skips are fused by 1×1 convolutions, which keeps the fine levels cheap."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _Block(inputs, channels[0], kernel=1), _Block(channels[0], channels[0])
        )
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList(
            nn.Sequential(_Block(fine, coarse, stride=2), _Block(coarse, coarse))
            for fine, coarse in pairs
        )
        self.up = nn.ModuleList(
            nn.Sequential(_Block(fine + coarse, fine, kernel=1), _Block(fine, fine))
            for fine, coarse in reversed(pairs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, channels[0], H, W); H and W divisible by 8."""
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, skips.pop()], dim=1))
        return x


class ReferenceEncoder(nn.Module):
    """Features of a reference, computed once for a target."""

    def __init__(self, config: WarpUNetConfig) -> None:
        super().__init__()
        width = config.feature_channels
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(STEM),
            _Block(3 * STEM**2, 48),
            _Block(48, 48),
            nn.Conv2d(48, width, 3, padding=1),
        )

    def forward(self, reference: Tensor) -> Tensor:
        """Map (N, 3, S, S) in -1..1 to (N, feature_channels, S/4, S/4)."""
        features: Tensor = self.layers(reference)
        return features


class WarpUNet(nn.Module):
    """Flow correction and repair.

    `forward(reference, features, maps)`:
        reference: (N, 3, S, S) RGB in -1..1.
        features: (N, feature_channels, S/4, S/4) of `ReferenceEncoder`.
        maps: (N, MAP_CHANNELS, S/2, S/2) of `warping.HeadMesh.maps`.

    Returns (picture, warped), both (N, 3, S, S), about -1..1: the repaired picture and the
    reference under the corrected flow alone.
    """

    def __init__(self, config: WarpUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WarpUNetConfig()
        motion, repair = self.config.motion_channels, self.config.repair_channels
        maps = MAP_CHANNELS * MAP_STEM**2
        self.encoder = ReferenceEncoder(self.config)
        self.motion = _UNet(maps + self.config.feature_channels, motion)
        self.flow_head = nn.Conv2d(motion[0], 3, 3, padding=1)
        self.repair = _UNet(3 * STEM**2 + self.config.feature_channels + maps + motion[0], repair)
        self.picture_head = nn.Conv2d(repair[0], 3 * STEM**2, 3, padding=1)
        for head in (self.flow_head, self.picture_head):
            nn.init.zeros_(head.weight)
            assert head.bias is not None
            nn.init.zeros_(head.bias)

    def encode(self, reference: Tensor) -> Tensor:
        """Return the features of references (N, 3, S, S)."""
        features: Tensor = self.encoder(reference)
        return features

    def forward(self, reference: Tensor, features: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        packed = F.pixel_unshuffle(maps, MAP_STEM)
        mesh_flow = maps[:, :2]
        coarse_flow = F.avg_pool2d(mesh_flow, MAP_STEM)
        motion = self.motion(torch.cat([packed, _sample(features, coarse_flow)], dim=1))
        correction = self.flow_head(motion)
        # The flow of the mesh fades towards rest where the network finds background.
        keep = 1 - correction[:, 2:3].float().clamp(0, 1)
        residual = torch.tanh(correction[:, :2].float()) * self.config.max_residual_flow
        fine_flow = _upsample(mesh_flow, MAP_STEM) * _upsample(keep, STEM)
        warped = _sample(reference, fine_flow + _upsample(residual, STEM))
        warped_features = _sample(features, coarse_flow * keep + residual)
        seen = torch.cat([F.pixel_unshuffle(warped, STEM), warped_features, packed, motion], dim=1)
        picture = warped + F.pixel_shuffle(self.picture_head(self.repair(seen)).float(), STEM)
        return picture, warped


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def _sample(x: Tensor, displacement: Tensor) -> Tensor:
    """Sample (N, C, H, W) at each cell's own place plus (N, 2, H, W), in halves of the side.

    Always in single precision: a place in bfloat16 would be off by a pixel.
    """
    height, width = displacement.shape[-2:]
    places = displacement.float()
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * (2 / height) - 1
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * (2 / width) - 1
    grid = torch.stack(
        [places[:, 0] + xs.view(1, 1, width), places[:, 1] + ys.view(1, height, 1)], dim=-1
    )
    return F.grid_sample(
        x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
