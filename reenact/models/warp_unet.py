"""The live generator: a moving head over a resting background, repaired and filled by a U-net.

Once for a target, an encoder makes features of the reference and a background with the head's
surroundings filled in. For each frame a first small U-net, at a quarter of the picture's
resolution, moves the background, says where the head ends and, where its config lets it, corrects
the mesh's flow of the head; the two layers are put together. A second one adds a residual picture:
the inside of the mouth, eyelids, disoccluded cheek. Parents: the modified U-net of Fan 2023, eq. 2
and Table 1 (landmarks and target picture in, picture out), the landmark flow with a learned
residual of MobilePortrait, and a moving layer over a still one.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reenact.errors import ModelError
from reenact.models.warp_unet_inputs import MAP_CHANNELS, SEEN_CHANNELS, TORN
from reenact.models.weights import header_of

STEM: Final = 4
"""The networks work on pictures unshuffled by this factor."""

MAP_STEM: Final = 2
"""The maps come at half the picture's resolution."""

_CONTEXT_STEM: Final = 2
"""What belongs to the head is seen from afar, at half the networks' resolution."""

_REST: Final = 0.024
"""A motion of the background that is halved, in halves of the side: 3 px at 256."""

_LAYER_STEM: Final = 2
"""The share of the head's layer is drawn at so many times the networks' resolution."""

_RIM_CELLS: Final = 2
"""So wide is the rim of the face, in cells of the maps, where the head's share is learned."""

_CAVITY: Final = (-0.5, -0.75, -0.75)
"""RGB of an opened mouth, -1..1, before anything was learned."""


@dataclass(frozen=True, slots=True)
class WarpUNetConfig:
    """Widths of the networks, from the finest level to the coarsest, and how far flows may go.

    Attributes:
        head_flow: the most that the mesh's flow of the head is corrected by, in halves of the side.
            Corrections that are learned from other people mislead on a new face, those that are
            learned from a target's footage on what comes later in it: the shipped weights and
            those of targets make none.
        rest_flow: the most that the background, with the shoulders, moves by.
        scene: whether the background begins as what is painted behind the head (`scene.py`);
            else, in files of earlier versions, as the reference.
    """

    feature_channels: int = 32
    motion_channels: tuple[int, ...] = (32, 64, 96, 128)
    repair_channels: tuple[int, ...] = (48, 96, 128, 160)
    context_channels: tuple[int, ...] = (48, 96, 128, 160)
    head_flow: float = 0.0
    rest_flow: float = 0.25
    scene: bool = True

    @classmethod
    def from_json(cls, text: str) -> WarpUNetConfig:
        """Read what `dataclasses.asdict` and JSON made of a config.

        Raises:
            ValueError, TypeError: the text is not such a config.
        """
        known: dict[str, Any] = {"scene": False} | json.loads(text)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in known.items()
        }
        return cls(**values)


def read_config(path: Path) -> WarpUNetConfig:
    """Return the config that stands in a weight file's header.

    Raises:
        ModelError: there is no such file, it is damaged, of another architecture, or another
            version of this program wrote it.
    """
    try:
        return WarpUNetConfig.from_json(header_of(path, "warp_unet").get("config", "{}"))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{path} was written by another version of this program: train it anew "
            "(`reenact target train NAME`, where they are a target's own weights)."
        ) from error


def input_shapes(config: WarpUNetConfig, size_px: int) -> dict[str, tuple[int, int, int, int]]:
    """Return the shapes of what `WarpUNet.forward` takes for one picture, by name, in order."""
    cells, coarse = size_px // MAP_STEM, size_px // STEM
    return {
        "reference": (1, 3, size_px, size_px),
        "background": (1, 3, size_px, size_px),
        "features": (1, config.feature_channels, coarse, coarse),
        "maps": (1, MAP_CHANNELS, cells, cells),
    }


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
    """Features and background of a reference, computed once for a target."""

    def __init__(self, config: WarpUNetConfig) -> None:
        super().__init__()
        width, context = config.feature_channels, config.context_channels
        self._scene = config.scene
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(STEM),
            _Block((7 if config.scene else 4) * STEM**2, 48),
            _Block(48, 48),
            nn.Conv2d(48, width, 3, padding=1),
        )
        self.context = _UNet(width * _CONTEXT_STEM**2, context)
        self.feature_head = nn.Conv2d(context[0], width, 1)
        self.background_head = nn.Conv2d(context[0], 3 * (STEM * _CONTEXT_STEM) ** 2, 3, padding=1)
        _start_at_zero(self.feature_head, self.background_head)

    def forward(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """See `WarpUNet.encode`; features first."""
        known = [reference, person * 2 - 1, *([scene] if self._scene else [])]
        near: Tensor = self.layers(torch.cat(known, dim=1))
        context = self.context(F.pixel_unshuffle(near, _CONTEXT_STEM))
        fill = F.pixel_shuffle(self.background_head(context).float(), STEM * _CONTEXT_STEM)
        far = F.interpolate(self.feature_head(context), scale_factor=2.0, mode="nearest")
        return near + far, (scene if self._scene else reference) + fill


class WarpUNet(nn.Module):
    """Layers, flow correction and repair.

    `forward(reference, background, features, maps)`:
        reference: (N, 3, S, S) RGB in -1..1.
        background, features: what `encode` answers.
        maps: (N, MAP_CHANNELS, S/2, S/2) of `warping.HeadMesh.maps`.

    Returns (picture, layered, share): the repaired picture, and the warped head over the background
    alone, both (N, 3, S, S), about -1..1; the head's share of each pixel, (N, 1, S, S), 0..1.
    """

    def __init__(self, config: WarpUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WarpUNetConfig()
        motion, repair = self.config.motion_channels, self.config.repair_channels
        maps, width = SEEN_CHANNELS * MAP_STEM**2, self.config.feature_channels
        self.encoder = ReferenceEncoder(self.config)
        self.motion = _UNet(maps + 2 * width, motion)
        self.flow_head = nn.Conv2d(motion[0], 4, 3, padding=1)
        self.layer_head = nn.Conv2d(motion[0], _LAYER_STEM**2, 3, padding=1)
        self.repair = _UNet(3 * STEM**2 + width + maps + motion[0], repair)
        self.picture_head = nn.Conv2d(repair[0], 3 * STEM**2, 3, padding=1)
        self.cavity = nn.Parameter(torch.tensor(_CAVITY)[:, None, None])
        _start_at_zero(self.flow_head, self.layer_head, self.picture_head)

    def extra_repr(self) -> str:
        """Tell what of the mesh is built in: converted networks are kept by this text."""
        return f"seen={SEEN_CHANNELS}, torn={TORN}"

    def encode(self, reference: Tensor, person: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` needs of a reference.

        Args:
            reference: (N, 3, S, S) RGB in -1..1.
            person: (N, 1, S, S), how far (0..1) each pixel belongs to the person; `UNKNOWN_PERSON`
                everywhere: not known.
            scene: (N, 3, S, S) RGB in -1..1, the reference with the head painted over
                (`scene.scene_behind`).

        Returns:
            Background (N, 3, S, S) in about -1..1, features (N, C, S/4, S/4).
        """
        features, background = self.encoder(reference, person, scene)
        return background, features

    def forward(
        self, reference: Tensor, background: Tensor, features: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        packed = F.pixel_unshuffle(maps[:, :SEEN_CHANNELS], MAP_STEM)
        mesh_flow = maps[:, :2]
        coarse_flow = F.avg_pool2d(mesh_flow, MAP_STEM)
        motion = self.motion(torch.cat([packed, _sample(features, coarse_flow), features], dim=1))
        flows = torch.tanh(self.flow_head(motion).float())
        correction = flows[:, :2] * self.config.head_flow
        residual = torch.cat([correction, _at_rest(flows[:, 2:] * self.config.rest_flow)], dim=1)
        residual = _upsample(residual)
        # A sigmoid, begun in the middle: a share that can be cut off at 0 or 1 never comes back.
        share = torch.sigmoid(F.pixel_shuffle(self.layer_head(motion).float(), _LAYER_STEM))
        if self.config.scene:
            share = torch.maximum(share, _inner(maps[:, 5:6]))
        head_flow, rest_flow = mesh_flow + residual[:, :2], residual[:, 2:]
        smooth = _upsample(torch.cat([head_flow, rest_flow, share, maps[:, 9:]], dim=1))
        head = _sample(reference, _torn(head_flow, smooth[:, :2], mesh_flow), sharp=True)
        head = head + smooth[:, 6:] * (head + 1)
        head = head + smooth[:, 5:6] * (self.cavity - head)
        rest = _sample(background, smooth[:, 2:4])
        layered = rest + smooth[:, 4:5] * (head - rest)
        moved = _sample(features, coarse_flow + correction)
        seen = torch.cat([F.pixel_unshuffle(layered, STEM), moved, packed, motion], dim=1)
        picture = layered + F.pixel_shuffle(self.picture_head(self.repair(seen)).float(), STEM)
        return picture, layered, smooth[:, 4:5]


def _start_at_zero(*heads: nn.Conv2d) -> None:
    for head in heads:
        nn.init.zeros_(head.weight)
        assert head.bias is not None
        nn.init.zeros_(head.bias)


def _inner(face: Tensor) -> Tensor:
    """Return a mask without its rim: within a face no sky behind it shines through."""
    return 1 - F.max_pool2d(1 - face, 2 * _RIM_CELLS + 1, stride=1, padding=_RIM_CELLS)


def _at_rest(flow: Tensor) -> Tensor:
    """Shrink small motions to nothing: a background that trembles is seen, and blurred."""
    fourth = flow.square().sum(1, keepdim=True).square()
    return flow * (fourth / (fourth + _REST**4))


def _tears(flow: Tensor) -> Tensor:
    """Return `warping.tears` of (N, 2, H, W) as (N, 1, H, W) of 0 and 1."""
    beside = (flow[..., :, 1:] - flow[..., :, :-1]).square().sum(1, keepdim=True) > TORN**2
    below = (flow[..., 1:, :] - flow[..., :-1, :]).square().sum(1, keepdim=True) > TORN**2
    across, down = beside.to(flow.dtype), below.to(flow.dtype)
    return torch.maximum(
        torch.maximum(F.pad(across, (1, 0)), F.pad(across, (0, 1))),
        torch.maximum(F.pad(down, (0, 0, 1, 0)), F.pad(down, (0, 0, 0, 1))),
    )


def _torn(flow: Tensor, smooth: Tensor, mesh_flow: Tensor) -> Tensor:
    """Return `smooth`, the flow at twice its resolution, but torn where the mesh is.

    Between a cheek and what it hides, a flow in the middle would point at a place that belongs to
    neither: there each pixel takes the flow of its own cell.
    """
    both = torch.cat([flow, _tears(mesh_flow)], dim=1)
    near = F.interpolate(both, scale_factor=2.0, mode="nearest")
    return smooth + near[:, 2:] * (near[:, :2] - smooth)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _sample(x: Tensor, displacement: Tensor, sharp: bool = False) -> Tensor:
    """Sample (N, C, H, W) at each cell's own place plus (N, 2, H, W), in halves of the side.

    Always in single precision: a place in bfloat16 would be off by a pixel. Bilinear, which blurs
    what lies between pixels; sharp: bicubic.
    """
    height, width = displacement.shape[-2:]
    ys = (torch.arange(height, device=x.device, dtype=torch.float32) + 0.5) * (2 / height) - 1
    xs = (torch.arange(width, device=x.device, dtype=torch.float32) + 0.5) * (2 / width) - 1
    own = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)])
    grid = (displacement.float() + own).permute(0, 2, 3, 1)
    mode = "bicubic" if sharp else "bilinear"
    return F.grid_sample(x.float(), grid, mode=mode, padding_mode="border", align_corners=False)
